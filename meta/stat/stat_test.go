package stat

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/meta/probe"
	"pegasus/meta/service"
)

type world struct {
	service.Leader
	mu   sync.Mutex
	rows map[string]string
	fail error
	ttl  int
	ends int
}

func (*world) Log() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

func (w *world) Set(ctx context.Context, hashKey, sortKey, value []byte, ttl int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		return errors.New("no deadline")
	}
	if w.fail == nil {
		w.rows[string(hashKey)+"|"+string(sortKey)], w.ttl = string(value), ttl
	}
	return w.fail
}

// The rows have the form of those that upstream's collector writes (src/server/available_detector.cpp, src/shell/command_helper.h).
func TestRows(t *testing.T) {
	zone := time.FixedZone("z", 3600)
	at := time.Date(2026, 11, 30, 9, 5, 7, 0, zone)
	for kind, want := range map[int]row{
		probe.Minute: {"detect_available_minute", "2026-11-30 09:05", "3,2,666666"},
		probe.Hour:   {"detect_available_hour", "2026-11-30 09", "3,2,666666"},
		probe.Day:    {"detect_available_day", "2026-11-30", "3,2,666666"},
	} {
		if got := available(probe.Period{Kind: kind, Began: at, Counts: probe.Counts{Probes: 3, Failed: 1}}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if got := available(probe.Period{Began: at}); got.value != "0,0,0" {
		t.Errorf("without a probe: %+v", got)
	}
	if got, err := units(at, "127.0.0.1:34801", map[int32][2]int64{1: {5, 6}, 2: {}, 12: {0, 1}}); err != nil || got != (row{"2026-11-30 09:05:07", "cu@127.0.0.1:34801", `{"1":[5,6],"12":[0,1]}`}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := sizes(at, map[int32]Size{1: {8, 7, 5<<20 + 1}, 2: {8, 0, 0}}); err != nil || got != (row{"2026-11-30 09:05:07", "ss", `{"1":[8,7,5]}`}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWrites(t *testing.T) {
	w := &world{rows: map[string]string{}}
	now := time.Date(2026, 11, 30, 9, 5, 7, 0, time.UTC)
	s := New(w, Options{Table: "stat", Now: func() time.Time { return now }, Sizes: func() map[int32]Size { return map[int32]Size{1: {4, 4, 9 << 20}} }})
	node, err := base.ParseAddr("127.0.0.1:34801")
	if err != nil {
		t.Fatal(err)
	}
	s.unitsT, s.sizesT = now, now.Add(unitsEvery-sizesEvery)
	step := func(d time.Duration) {
		t.Helper()
		now = now.Add(d)
		if err := s.gather(now); err != nil {
			t.Fatal(err)
		}
	}
	s.Used(node, 1, [2]int64{5, 1})
	s.Used(node, 1, [2]int64{5, 1})
	step(time.Second)
	if s.waiting() {
		t.Errorf("rows after a second: %+v", s.queue)
	}
	step(time.Minute)
	s.Ended(probe.Period{Began: now, Counts: probe.Counts{Probes: 1}})
	w.fail = errors.New("no such table")
	if err := s.write(t.Context(), w); !errors.Is(err, w.fail) || len(s.queue) != 3 {
		t.Errorf("%v, %d rows wait", err, len(s.queue))
	}
	w.fail = nil
	if err := s.write(t.Context(), w); err != nil || s.waiting() {
		t.Errorf("%v, %d rows wait", err, len(s.queue))
	}
	if len(w.rows) != 3 || w.ttl != 90*86400 || w.rows["2026-11-30 09:06:08|cu@127.0.0.1:34801"] != `{"1":[10,2]}` || w.rows["2026-11-30 09:06:08|ss"] != `{"1":[4,4,9]}` || w.rows["detect_available_minute|2026-11-30 09:06"] != "1,1,1000000" {
		t.Errorf("ttl %d, rows %v", w.ttl, w.rows)
	}
	step(time.Minute)
	if s.waiting() {
		t.Errorf("nothing was used, and sizes are told each hour: %+v", s.queue)
	}

	// What can't be written for long is given up, the oldest first.
	for range maxQueued + 5 {
		s.Ended(probe.Period{Began: now})
		now = now.Add(time.Minute)
	}
	if len(s.queue) != maxQueued || s.lost != 5 || !strings.HasPrefix(s.queue[0].sortKey, "2026-11-30 09:12") {
		t.Errorf("%d rows wait, %d are lost, the first is of %s", len(s.queue), s.lost, s.queue[0].sortKey)
	}
}

// The table is opened when there is something to write, again until it is there, and closed at the end.
func TestLead(t *testing.T) {
	off := New(&world{}, Options{})
	off.Lead(t.Context()) // returns at once
	off.Ended(probe.Period{})
	off.Used(1, 1, [2]int64{1, 1})
	if off.waiting() || len(off.used) != 0 {
		t.Error("without a table rows are kept")
	}

	w := &world{rows: map[string]string{}}
	s := New(w, Options{Table: "stat", Tick: time.Millisecond, Open: func(_ context.Context, name string) (Table, func(), error) {
		if name != "stat" {
			t.Errorf("opens %q", name)
		}
		return w, func() { w.ends++ }, nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Lead(ctx) }()
	s.Ended(probe.Period{Kind: probe.Day, Began: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), Counts: probe.Counts{Probes: 2}})
	end := time.Now().Add(30 * time.Second)
	for {
		w.mu.Lock()
		v := w.rows["detect_available_day|2026-11-30"]
		w.mu.Unlock()
		if v == "2,2,1000000" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the row isn't written")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if w.ends != 1 {
		t.Errorf("the table was closed %d times", w.ends)
	}
}
