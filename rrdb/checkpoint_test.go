package rrdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// copier takes a store through states, and copies it in each of them.
type copier struct {
	*harness
	hist   history
	copies int
}

// state is something that happens to a store between copies.
type state struct {
	name string
	do   func(c *copier, rng *rand.Rand)
}

var states = []state{
	{"nothing", func(*copier, *rand.Rand) {}},
	{"writes", func(c *copier, rng *rand.Rand) { c.write(rng, 1+rng.IntN(20)) }},
	{"an empty mutation", func(c *copier, _ *rand.Rand) { c.add(nil) }},
	{"many writes", func(c *copier, rng *rand.Rand) { c.write(rng, 200) }},
	{"removes", func(c *copier, _ *rand.Rand) {
		for k := range c.hist.at(int64(len(c.hist))) {
			c.add(AppendOp(nil, Op{Key: []byte(k), Delete: true}))
		}
	}},
	{"flush", func(c *copier, _ *rand.Rand) { c.flush() }},
	{"reopened", func(c *copier, _ *rand.Rand) {
		c.close()
		c.open(false)
		c.replay()
	}},
	{"reopened before the log is replayed", func(c *copier, _ *rand.Rand) {
		c.close()
		c.open(false)
		c.copy()
		c.replay()
	}},
	{"crashed", func(c *copier, rng *rand.Rand) {
		clone := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		c.close()
		c.fs = clone
		c.open(false)
		if rng.IntN(2) == 0 {
			c.copy()
		}
		c.replay()
	}},
	{"installed", func(c *copier, _ *rand.Rand) {
		dir := c.copy()
		c.close()
		if err := c.fs.RemoveAll(c.options().Dir); err != nil {
			c.t.Fatal(err)
		}
		if err := c.fs.Rename(dir, c.options().Dir); err != nil {
			c.t.Fatal(err)
		}
		c.sync("data/1.2")
		c.open(false)
		c.replay()
	}},
	{"reads", func(c *copier, _ *rand.Rand) {
		for range 20 {
			compareContent(c.t, c.store, c.hist.at(c.store.LastApplied()))
		}
	}},
	{"sweep", func(c *copier, _ *rand.Rand) {
		if _, err := c.store.Sweep(c.t.Context(), 0, 0, nil); err != nil {
			c.t.Fatal(err)
		}
	}},
	{"compact", func(c *copier, _ *rand.Rand) {
		if err := c.store.Compact(c.t.Context(), 0); err != nil {
			c.t.Fatal(err)
		}
	}},
}

func (c *copier) add(payload []byte) {
	c.t.Helper()
	c.hist = append(c.hist, payload)
	d := int64(len(c.hist))
	if err := c.store.Apply(d, d, payload); err != nil {
		c.t.Fatal(err)
	}
}

func (c *copier) write(rng *rand.Rand, n int) {
	for range n {
		c.add(randomPayload(rng))
	}
}

// replay brings what the log has, and the store lost.
func (c *copier) replay() {
	c.t.Helper()
	for d := c.store.LastApplied() + 1; d <= int64(len(c.hist)); d++ {
		if err := c.store.Apply(d, d, c.hist[d-1]); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *copier) sync(dir string) {
	c.t.Helper()
	f, err := c.fs.OpenDir(dir)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// copy makes a copy and opens it, as it is and as a crash would leave it: it holds the decree
// that it was said to, and the rows of that decree.
func (c *copier) copy() (dir string) {
	c.t.Helper()
	c.copies++
	dir = fmt.Sprint("data/copies/", c.copies)
	d, err := c.store.Checkpoint(dir)
	if err != nil {
		c.t.Fatal(err)
	}
	if d != c.store.LastApplied() {
		c.t.Fatalf("the copy has decree %d, the store %d", d, c.store.LastApplied())
	}
	// A copy of its own for who looks: the first one is as it was made.
	for _, cfg := range []vfs.CrashCloneCfg{{}, {UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}} {
		o := c.options()
		o.Dir, o.FS = dir, c.fs.CrashClone(cfg)
		s, err := Open(o)
		if err != nil {
			c.t.Fatalf("the copy of decree %d: %v", d, err)
		}
		if s.LastApplied() != d || s.LastFlushed() != d || s.LastTimestamp() != c.store.LastTimestamp() {
			c.t.Errorf("the copy of decree %d says %d, %d flushed, time %d", d, s.LastApplied(), s.LastFlushed(), s.LastTimestamp())
		}
		compareContent(c.t, s, c.hist.at(d))
		if err := s.Close(); err != nil {
			c.t.Error(err)
		}
	}
	return dir
}

func newCopier(t *testing.T) *copier {
	return &copier{harness: newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })}
}

// TestCheckpointOfAnyState: whatever happened to a store before, it can be copied, once and
// again, and the copy is whole.
func TestCheckpointOfAnyState(t *testing.T) {
	for _, s := range states {
		for _, rows := range []int{0, 1, 100} {
			t.Run(fmt.Sprint(s.name, " ", rows), func(t *testing.T) {
				c, rng := newCopier(t), rand.New(rand.NewPCG(uint64(rows), 1))
				c.write(rng, rows)
				for range 3 {
					s.do(c, rng)
					c.copy()
				}
			})
		}
	}
}

// TestCheckpointOfRandomStates does what TestCheckpointOfAnyState does in random sequences.
func TestCheckpointOfRandomStates(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c, rng := newCopier(t), rand.New(rand.NewPCG(seed, 2))
			var done []string
			defer func() {
				if t.Failed() {
					t.Log(done)
				}
			}()
			for range 25 {
				s := pick(rng, states)
				done = append(done, s.name)
				s.do(c, rng)
				if rng.IntN(2) == 0 {
					done = append(done, "copy")
					c.copy()
				}
			}
		})
	}
}

// TestReadingNeedsNoFlush: a store that is opened writes nothing until somebody wants a copy.
func TestReadingNeedsNoFlush(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h", "s", "v", 0)
	h.flush()
	h.close()
	h.open(false)
	if n := h.store.Metrics().Flush.Count; n != 0 {
		t.Errorf("%d flushes of a store that was opened", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 {
		if err := h.store.beginManifest(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.store.Metrics().Flush.Count; n != 1 {
		t.Errorf("%d flushes to begin a manifest", n)
	}
}
