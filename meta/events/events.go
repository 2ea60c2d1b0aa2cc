package events

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
)

const (
	// Kept is how many events are in memory.
	Kept = 5000
	// fileBytes is how long a file becomes before the next one is begun; the one before is kept.
	fileBytes = 1 << 20
	maxText   = 1000 // bytes of one event
	queued    = 1000 // events that wait for the disk
	// former is behind the name of the file before.
	former = ".1"
)

// Event is one line.
type Event struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"` // info, warning, error, fatal
	What  string    `json:"what"`
}

// Log keeps events. Make it with Open.
type Log struct {
	path    string
	dropped atomic.Int64

	mu   sync.Mutex
	ring []Event // the oldest first, from next on once it is full
	next int
	stop bool

	queue chan Event
	done  chan struct{}
}

// Open returns a Log with the events of the file at path, and of the one before it. Neither need be there. It
// writes to path until Close.
func Open(path string) *Log {
	l := &Log{path: path, queue: make(chan Event, queued), done: make(chan struct{})}
	for _, p := range []string{path + former, path} {
		f, err := os.Open(p)
		if err != nil {
			continue
		}
		read(f, l.keep)
		f.Close()
	}
	go l.write()
	return l
}

// read calls each with the events of a file. Lines that aren't events are left out.
func read(r io.Reader, each func(Event)) {
	b := bufio.NewReader(io.LimitReader(r, 4*fileBytes))
	for {
		line, err := b.ReadBytes('\n')
		var e Event
		if json.Unmarshal(bytes.TrimSpace(line), &e) == nil && e.What != "" && !e.Time.IsZero() {
			e.What = text(e.What)
			each(e)
		}
		if err != nil {
			return
		}
	}
}

// text bounds an event.
func text(s string) string {
	if len(s) <= maxText {
		return s
	}
	s = s[:maxText]
	for len(s) > 0 && !utf8.ValidString(s[len(s)-min(len(s), utf8.UTFMax):]) {
		s = s[:len(s)-1]
	}
	return s + "..."
}

func (l *Log) keep(e Event) {
	if len(l.ring) < Kept {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[l.next] = e
	l.next = (l.next + 1) % Kept
}

// Add keeps an event.
func (l *Log) Add(e Event) {
	e.What = text(e.What)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop {
		return
	}
	l.keep(e)
	select {
	case l.queue <- e:
	default:
		l.dropped.Add(1)
	}
}

// Last returns the last n events, the newest first, of level "warning" and worse if worse is set.
func (l *Log) Last(n int, worse bool) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Event, 0, min(n, len(l.ring)))
	for i := range l.ring {
		if len(list) == n {
			break
		}
		e := &l.ring[(l.next+len(l.ring)-1-i)%len(l.ring)]
		if worse && e.Level == logrus.InfoLevel.String() {
			continue
		}
		list = append(list, *e)
	}
	return list
}

// Dropped counts the events that are in no file, because the disk was too slow or failed.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Close writes what waits for the disk, and ends.
func (l *Log) Close() {
	l.mu.Lock()
	if !l.stop {
		l.stop = true
		close(l.queue)
	}
	l.mu.Unlock()
	<-l.done
}

// write appends events to the file, and begins a new one when it is long.
func (l *Log) write() {
	defer close(l.done)
	var f *os.File
	var size int64
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	for e := range l.queue {
		b, err := json.Marshal(e)
		if err == nil && f == nil {
			if f, err = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err == nil {
				if size, err = f.Seek(0, io.SeekEnd); err == nil && size > 0 {
					size++
					_, err = f.Write([]byte{'\n'}) // the last line may be cut short
				}
			}
		}
		if err == nil {
			var n int
			n, err = f.Write(append(b, '\n'))
			size += int64(n)
		}
		if err != nil {
			l.dropped.Add(1)
		}
		if f != nil && (err != nil || size >= fileBytes) {
			f.Close()
			f = nil
			if err == nil {
				if err = os.Rename(l.path, l.path+former); err != nil && !errors.Is(err, os.ErrNotExist) {
					os.Remove(l.path) // better without than without bound
				}
			}
		}
	}
}

// Levels implements logrus.Hook.
func (l *Log) Levels() []logrus.Level {
	return []logrus.Level{logrus.InfoLevel, logrus.WarnLevel, logrus.ErrorLevel, logrus.FatalLevel}
}

// Fire implements logrus.Hook.
func (l *Log) Fire(e *logrus.Entry) error {
	l.Add(Event{Time: e.Time.UTC().Truncate(time.Millisecond), Level: e.Level.String(), What: strings.TrimSpace(e.Message)})
	return nil
}
