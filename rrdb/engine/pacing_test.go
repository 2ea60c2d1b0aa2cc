package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// spend writes chunks for d, as fast as the pacing lets it, and returns the bytes.
func spend(c *clock, p *compactionPacer, d time.Duration) (bytes int64) {
	for end := c.t.Add(d); c.t.Before(end); {
		c.t = c.t.Add(p.wait(fileChunk, false) + 100*time.Microsecond)
		bytes += fileChunk
	}
	return bytes
}

func TestCompactionRateFollowsTheWork(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	p := newCompactionPacer(c.now)

	c.t = c.t.Add(time.Hour)
	if n := spend(c, &p, time.Second); n < minRate || n > 2*minRate {
		t.Errorf("after a pause %d MiB in a second, want about %d", n>>20, minRate>>20)
	}
	// Work that doesn't end gets faster.
	before := spend(c, &p, time.Second)
	spend(c, &p, 19*time.Second)
	if after := spend(c, &p, time.Second); after < 2*before {
		t.Errorf("%d MiB a second, and %d after 20 s in which the work didn't end", before>>20, after>>20)
	}
	// 20 MiB each second: about half of the time is work.
	var busy time.Duration
	for i := range 100 {
		begin := c.t
		for n := 0; n < 20<<20; n += fileChunk {
			c.t = c.t.Add(p.wait(fileChunk, false))
		}
		if i >= 60 {
			busy += c.t.Sub(begin)
		}
		c.t = begin.Add(max(time.Second, c.t.Sub(begin)))
	}
	if share := busy.Seconds() / 40; share < 0.35 || share > 0.65 {
		t.Errorf("steady work takes %.2f of the time, want about half", share)
	}
}

func TestUrgentCompactionsDontWait(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	p := newCompactionPacer(c.now)
	for range 1000 {
		if w := p.wait(fileChunk, true); w != 0 {
			t.Fatalf("urgent work waits %v", w)
		}
	}
	if w := p.wait(fileChunk, false); w > 0 {
		t.Errorf("other work waits %v for urgent work", w)
	}
}

func TestFlushRate(t *testing.T) {
	var p flushPacer
	now := time.Unix(1e9, 0)
	p.begin(now, 16<<20)
	if w := p.wait(now, 16<<20) + p.wait(now, 1); w > 0 {
		t.Errorf("the first flush waits %v: nobody knows how fast memtables are filled", w)
	}
	// A memtable filled in 10 s is flushed in 4.
	now = now.Add(10 * time.Second)
	p.begin(now, 16<<20)
	at := now
	for range (16 << 20) / fileChunk {
		at = at.Add(p.wait(at, fileChunk))
	}
	if d := at.Sub(now); d < 3500*time.Millisecond || d > 4*time.Second {
		t.Errorf("the flush takes %v, want almost 4 s", d)
	}
	// One filled in a day isn't flushed for hours.
	now = now.Add(24 * time.Hour)
	p.begin(now, 16<<20)
	p.wait(now, 16<<20)
	if w := p.wait(now, 1); w < 11*time.Second || w > 12*time.Second {
		t.Errorf("the flush takes %v, want 12 s", w)
	}
}

// fakeStore has memtables only in name.
type fakeStore struct {
	closing chan struct{}
	metrics pebble.Metrics
}

func (s *fakeStore) Metrics() *pebble.Metrics { return &s.metrics }
func (s *fakeStore) FlushEarly() error        { return nil }
func (s *fakeStore) Closing() <-chan struct{} { return s.closing }

// flushTime writes a table of n bytes, for which a memtable was filled in fill, and returns how
// long that takes.
func flushTime(t *testing.T, n int, fill time.Duration, change func(m *Member, s *fakeStore)) time.Duration {
	t.Helper()
	var took time.Duration
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{MemtablesBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		s := &fakeStore{closing: make(chan struct{})}
		m := e.Join(s, MemberOptions{FS: vfs.NewMem(), MemtableBytes: 16 << 20})
		m.Opened(nil)
		m.FlushBegan()
		time.Sleep(fill)
		m.Applied(int64(n))
		m.FlushBegan()
		synctest.Wait() // the engine has looked at the store
		change(m, s)
		began := time.Now()
		f, err := m.FS().Create("1.sst", "pebble-memtable-flush")
		if err != nil {
			t.Fatal(err)
		}
		for range n / (8 << 10) { // in blocks, as Pebble does
			if _, err := f.Write(make([]byte, 8<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		took = time.Since(began)
		if w := e.Metrics().FlushWaits; w != took {
			t.Errorf("a flush of %v is counted as held up for %v", took, w)
		}
		m.Leave()
		e.Close()
	})
	return took
}

func TestFlushesAreHeldUp(t *testing.T) {
	none := func(*Member, *fakeStore) {}
	if d := flushTime(t, 4<<20, 10*time.Second, none); d < 3*time.Second || d > 4*time.Second {
		t.Errorf("a flush of a memtable that was filled in 10 s takes %v, want almost 4 s", d)
	}
	for name, change := range map[string]func(m *Member, s *fakeStore){
		"awaited":          func(m *Member, _ *fakeStore) { m.AwaitFlush() },
		"stalled":          func(m *Member, _ *fakeStore) { m.StallBegan() },
		"next one filling": func(m *Member, _ *fakeStore) { m.Applied(10 << 20) },
		"memory short":     func(m *Member, _ *fakeStore) { m.engine.memory.active.Add(60 << 20) },
		"being closed":     func(_ *Member, s *fakeStore) { close(s.closing) },
		"failed":           func(m *Member, _ *fakeStore) { m.failed = make(chan struct{}); close(m.failed) },
	} {
		if d := flushTime(t, 4<<20, 10*time.Second, change); d > time.Second {
			t.Errorf("%s: a flush takes %v", name, d)
		}
	}
	// What becomes urgent on the way goes on at once.
	later := func(m *Member, _ *fakeStore) {
		go func() {
			time.Sleep(time.Second)
			m.AwaitFlush()
		}()
	}
	if d := flushTime(t, 4<<20, 10*time.Second, later); d < time.Second || d > time.Second+2*urgencyCheck {
		t.Errorf("a flush that is awaited after a second takes %v", d)
	}
}
