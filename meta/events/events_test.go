package events

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"
)

func at(n int) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(n) * time.Second)
}

// What a log says is kept, the newest first, and outlasts the process; a line that was cut short costs only itself.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	l := Open(path)
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.DebugLevel)
	log.AddHook(l)
	log.Debug("not an event")
	log.Info("a node joins")
	log.Warn("a node is dead")
	check := func(l *Log, worse bool, want ...string) {
		t.Helper()
		var have []string
		for _, e := range l.Last(100, worse) {
			have = append(have, e.Level+" "+e.What)
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("have %q, want %q", have, want)
		}
	}
	check(l, false, "warning a node is dead", "info a node joins")
	check(l, true, "warning a node is dead")
	l.Close()
	l.Close()
	l.Add(Event{What: "after the end"})
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"time":"2026-01-02T03:04:05Z","level":"info","what":"cut sh`)
	f.Close()
	l = Open(path)
	l.Add(Event{Time: at(1), Level: "error", What: "after"})
	check(l, false, "error after", "warning a node is dead", "info a node joins")
	l.Close()
	l = Open(path)
	defer l.Close()
	check(l, false, "error after", "warning a node is dead", "info a node joins")
	if l.Dropped() != 0 {
		t.Errorf("%d dropped", l.Dropped())
	}
}

// Neither memory nor the files grow without bound.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	l := Open(path)
	long := strings.Repeat("ä", maxText)
	total := 0
	for round := range 6 {
		for i := range queued {
			l.Add(Event{Time: at(i), Level: "info", What: fmt.Sprint(round, ".", i, long)})
			total++
		}
		l.Close()
		l = Open(path)
	}
	for range Kept {
		l.Add(Event{Time: at(0), Level: "info", What: "x"})
	}
	list := l.Last(2*Kept, false)
	if len(list) != Kept || list[0].What != "x" {
		t.Errorf("%d events, the last %q", len(list), list[0].What)
	}
	l.Close()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		i, err := f.Info()
		if err != nil || i.Size() > fileBytes+2*maxText {
			t.Errorf("%s has %d bytes, %v", f.Name(), i.Size(), err)
		}
	}
	if len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	if s := text(long); !utf8.ValidString(s) || len(s) > maxText+3 {
		t.Errorf("%d bytes, %q", len(s), s[len(s)-8:])
	}
}

// Where nothing can be written, events are in memory, and what is lost is counted.
func TestNoDisk(t *testing.T) {
	l := Open(filepath.Join(t.TempDir(), "missing", "events.jsonl"))
	l.Add(Event{Time: at(1), Level: "info", What: "kept"})
	l.Close()
	if e := l.Last(1, false); len(e) != 1 || e[0].What != "kept" || l.Dropped() != 1 {
		t.Errorf("%v, %d dropped", e, l.Dropped())
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-02T03:04:05Z","level":"info","what":"x"}` + "\n"))
	f.Add([]byte("\n{}\n[1]\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		read(bytes.NewReader(b), func(e Event) {
			if e.What == "" || e.Time.IsZero() || len(e.What) > maxText+3 {
				t.Errorf("%+v", e)
			}
		})
	})
}
