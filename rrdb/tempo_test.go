package rrdb

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pegasus/base/config"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

// spend writes chunks for d, as who keeps the tempo, and returns the bytes.
func spend(c *clock, t *tempo, d time.Duration, hurried bool) (bytes int64) {
	for end := c.t.Add(d); c.t.Before(end); {
		c.t = c.t.Add(t.reserve(fileChunk, hurried) + 100*time.Microsecond)
		bytes += fileChunk
	}
	return bytes
}

func TestTempoFollowsTheWork(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	tp := newTempo(c.now)

	c.t = c.t.Add(time.Hour)
	if n := spend(c, tp, time.Second, false); n < tempoLeast || n > 2*tempoLeast {
		t.Errorf("after a pause %d MiB in a second, want about %d", n>>20, tempoLeast>>20)
	}
	// Work that doesn't end gets faster.
	before := spend(c, tp, time.Second, false)
	spend(c, tp, 19*time.Second, false)
	if after := spend(c, tp, time.Second, false); after < 2*before {
		t.Errorf("%d MiB a second, and %d after 20 s in which the work didn't end", before>>20, after>>20)
	}
	// 20 MiB each second: about half of the time is work.
	var busy time.Duration
	for i := range 100 {
		begin := c.t
		for n := 0; n < 20<<20; n += fileChunk {
			c.t = c.t.Add(tp.reserve(fileChunk, false))
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

func TestTempoHurried(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	tp := newTempo(c.now)
	for range 1000 {
		if w := tp.reserve(fileChunk, true); w != 0 {
			t.Fatalf("who is hurried waits %v", w)
		}
	}
	if w := tp.reserve(fileChunk, false); w > 0 {
		t.Errorf("others wait %v for who was hurried", w)
	}
}

func TestFlushTempo(t *testing.T) {
	var f flushTempo
	now := time.Unix(1e9, 0)
	f.begin(now, 16<<20)
	if w := f.reserve(now, 16<<20) + f.reserve(now, 1); w > 0 {
		t.Errorf("the first flush waits %v: nobody knows how fast memtables are filled", w)
	}
	// A memtable filled in 10 s is flushed in 4.
	now = now.Add(10 * time.Second)
	f.begin(now, 16<<20)
	at := now
	for range (16 << 20) / fileChunk {
		at = at.Add(max(f.reserve(at, fileChunk), 0))
	}
	if d := at.Sub(now); d < 3500*time.Millisecond || d > 4*time.Second {
		t.Errorf("the flush takes %v, want almost 4 s", d)
	}
	// One filled in a day isn't flushed for hours.
	now = now.Add(24 * time.Hour)
	f.begin(now, 16<<20)
	f.reserve(now, 16<<20)
	if w := f.reserve(now, 1); w < 11*time.Second || w > 12*time.Second {
		t.Errorf("the flush takes %v, want 12 s", w)
	}
}

// memtableOf2MiB returns a store whose only memtable holds that, and has room for more.
func memtableOf2MiB(t *testing.T) *harness {
	h := newHarness(t, func(c *config.Storage) { c.MemtableBytes, c.MemtablesBytes = 16<<20, 64<<20 })
	value := make([]byte, fileChunk)
	rng := rand.NewChaCha8([32]byte{})
	fill := func(bytes int) {
		for i := range bytes / fileChunk {
			_, _ = rng.Read(value) // what compresses well is hardly written
			h.put("h", fmt.Sprint(i), string(value), 0)
		}
	}
	fill(8 << 20) // the first memtables are small
	h.flush()
	waitFor(t, "flushes to be done", func() bool { return !h.store.mem.crowded.Load() })
	fill(2 << 20)
	return h
}

// TestFlushAwaited: a flush that somebody waits for isn't held up.
func TestFlushAwaited(t *testing.T) {
	h := memtableOf2MiB(t)
	f := &h.store.mem.flushing
	// As if the memtable had taken a day to fill: its flush may take 12 s.
	f.mu.Lock()
	f.began = time.Now().Add(-24 * time.Hour)
	f.mu.Unlock()
	began := time.Now()
	h.flush()
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("a flush that was waited for took %v", d)
	}
}

// TestFlushHeldUp: a flush that nobody waits for is, and that is counted.
func TestFlushHeldUp(t *testing.T) {
	h := memtableOf2MiB(t)
	f := &h.store.mem.flushing
	f.mu.Lock()
	f.began = time.Now().Add(-time.Second)
	f.mu.Unlock()
	h.store.applyMu.Lock()
	done, err := h.store.rotate()
	h.store.applyMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the flush doesn't end")
	}
	if w := h.store.shared.Metrics().FlushWaits; w < 50*time.Millisecond || w > 30*time.Second {
		t.Errorf("a flush of 2 MiB that might take 0.4 s was held up for %v", w)
	}
}

// TestGatheringMemtablesAreCalm: the engine lets a young store's small memtables gather until a
// flush of them is worth it. That isn't being behind.
func TestGatheringMemtablesAreCalm(t *testing.T) {
	h := newHarness(t, func(c *config.Storage) { c.MemtableBytes, c.MemtablesBytes = 16<<20, 64<<20 })
	value := string(make([]byte, 4<<10))
	for i := range 500 {
		h.put("h", fmt.Sprint(i), value, 0)
	}
	if n := h.store.db.Metrics().MemTable.Count; n < 3 {
		t.Fatalf("%d memtables, so nothing is tested", n)
	}
	h.store.shared.memory.measure(h.store)
	if !h.store.Calm() || h.store.hurried(true) {
		t.Errorf("2 MB of 16 in small memtables: calm %v, hurried %v", h.store.Calm(), h.store.hurried(true))
	}
}
