package logging

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"gopkg.in/natefinch/lumberjack.v2"

	"pegasus/base/config"
)

const (
	// maxWaiting is how many bytes of lines may wait for the disk.
	maxWaiting = 4 << 20
	// flushTime is how long Flush waits for the disk.
	flushTime = 2 * time.Second
	mebibyte  = 1 << 20
)

// File is the log's file. It is an io.Writer that never waits for the disk. Make it with Open.
type File struct {
	out  *lumberjack.Logger
	errw io.Writer // gets the lines that the file doesn't take
	log  *logrus.Logger

	mu      sync.Mutex
	wait    [][]byte
	bytes   int // of wait, and of what is being written
	busy    bool
	reopen  bool
	closed  bool
	lost    int64 // lines for which there was no room
	changed *sync.Cond
	done    chan struct{}
}

// Open returns a log that writes to the file of cfg, and to errw what the file doesn't take; without
// a file it writes to errw, and the File is nil.
func Open(cfg config.Logging, errw io.Writer) (*logrus.Entry, *File) {
	e := New(cfg, errw)
	if cfg.File == "" {
		return e, nil
	}
	f := &File{log: e.Logger, errw: errw, done: make(chan struct{}), out: &lumberjack.Logger{Filename: cfg.File, LocalTime: true, Compress: cfg.FileCompress,
		MaxSize: int((cfg.FileMaxBytes + mebibyte - 1) / mebibyte), MaxBackups: cfg.FileMaxCount, MaxAge: cfg.FileMaxDays}}
	f.changed = sync.NewCond(&f.mu)
	e.Logger.SetOutput(f)
	go f.run()
	return e, f
}

// Write implements io.Writer. It takes one line, and always succeeds.
func (f *File) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.bytes+len(b) > maxWaiting {
		f.lost++
		return len(b), nil
	}
	f.wait = append(f.wait, bytes.Clone(b))
	f.bytes += len(b)
	f.changed.Broadcast()
	return len(b), nil
}

// Reopen has the file opened anew: whoever rotates logs has moved it away.
func (f *File) Reopen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reopen = true
	f.changed.Broadcast()
}

// Flush waits until the lines that wait are written, flushTime at most.
func (f *File) Flush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	late := false
	t := time.AfterFunc(flushTime, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		late = true
		f.changed.Broadcast()
	})
	defer t.Stop()
	for (f.busy || len(f.wait) > 0 || f.reopen) && !late {
		f.changed.Wait()
	}
}

// Close writes what waits, as Flush does, and ends.
func (f *File) Close() {
	f.Flush()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.changed.Broadcast()
}

// run is the goroutine that writes.
func (f *File) run() {
	defer close(f.done)
	defer f.out.Close()
	for {
		f.mu.Lock()
		f.busy = false
		f.changed.Broadcast()
		for len(f.wait) == 0 && !f.reopen && !f.closed {
			f.changed.Wait()
		}
		if f.closed {
			f.mu.Unlock()
			return
		}
		list, reopen, lost := f.wait, f.reopen, f.lost
		f.wait, f.reopen, f.lost, f.busy = nil, false, 0, true
		f.mu.Unlock()
		if reopen {
			f.out.Close() // the next line opens it
		}
		for _, line := range list {
			if _, err := f.out.Write(line); err != nil {
				f.errw.Write(line)
			}
			f.mu.Lock()
			f.bytes -= len(line)
			f.mu.Unlock()
		}
		if lost > 0 {
			f.log.Warnf("%d lines of the log were lost: its disk was too slow, or hung", lost)
		}
	}
}
