package rrdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/time/rate"

	"pegasus/base/appenv"
)

// blocks is what a store's files take on a disk that gives out blocks of 4 KiB.
func (h *harness) blocks() (n int64) {
	h.t.Helper()
	dir := h.options().Dir
	names, err := h.fs.List(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range names {
		if st, err := h.fs.Stat(h.fs.PathJoin(dir, name)); err == nil {
			n += (st.Size() + 4095) / 4096
		}
	}
	return n
}

// TestEmptiedStoreIsAsSmallAsANewOne: rows that expired leave nothing behind, neither tables
// nor files of separate values nor long lists of files.
func TestEmptiedStoreIsAsSmallAsANewOne(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testConfig)
	}{
		{"one table after the other", func(c *testConfig) { c.MemtableBytes = 256 << 10 }},
		{"values apart", func(c *testConfig) { c.MemtableBytes, c.SeparateValues = 256<<10, 500 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, c.change)
			empty := h.blocks()
			h.fill(20000, func(i int) uint32 { return 1100 + uint32(i/7)%100 })
			h.flush()
			if full := h.blocks(); full < 1000*empty {
				t.Fatalf("%d blocks when empty, and %d full", empty, full)
			}
			h.clock.set(1400)
			h.sweep()
			// Nothing comes any more that would make Pebble write something.
			small := func() bool { return h.blocks()*10 <= empty*12 }
			waitFor(t, fmt.Sprintf("%d blocks again", empty), small)
			decree := h.store.LastApplied()
			h.crash()
			if got := h.store.LastApplied(); got != decree {
				t.Errorf("the decree was %d, and is %d after a crash", decree, got)
			}
			waitFor(t, fmt.Sprintf("%d blocks after a restart", empty), small)
		})
	}
}

// TestRemainsOfALaterFlush: what Pebble writes when a sweep has merged what remains is merged by the next one,
// and a store that is small then is left alone.
func TestRemainsOfALaterFlush(t *testing.T) {
	h := newHarness(t, nil)
	empty := h.blocks()
	h.fill(200, func(int) uint32 { return 1100 })
	h.clock.set(1400)
	if st := h.sweep(); st.Rows != 200 {
		t.Fatalf("%d rows swept", st.Rows)
	}
	live := func() {
		h.payload = appendRowOp(h.payload, []byte("h"), []byte("s"), Op{Value: []byte("v")})
		h.propose()
		h.apply()
		h.flush()
	}
	live()
	waitFor(t, fmt.Sprintf("%d blocks again", empty), func() bool {
		h.sweep()
		return h.blocks() <= empty
	})
	h.sweep() // finds nothing to merge
	live()
	before := h.store.db.Metrics().Flush.Count
	h.sweep()
	if n := h.store.db.Metrics().Flush.Count - before; n > 0 {
		t.Errorf("a store from which nothing was swept has %d flushes by a sweep", n)
	}
}

// TestSpaceComesBackAfterAFailure: if what a sweep left can't be merged, the next sweep merges it, though it finds
// no expired row any more.
func TestSpaceComesBackAfterAFailure(t *testing.T) {
	h := newHarness(t, nil)
	h.fill(2000, func(i int) uint32 { return uint32(i%2) * 1100 })
	h.flush()
	h.clock.set(1400)
	enough := rate.NewLimiter(0, 1_900_000)                    // to read the rows, not to write a half of them again
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // the limiter refuses what would take longer
	defer cancel()
	if st, err := h.store.Sweep(ctx, 10*time.Second, 1<<40, enough); err == nil || st.Rows != 1000 {
		t.Fatalf("a sweep that may not merge: %d rows, error %v", st.Rows, err)
	}
	if st := h.sweep(); st.Rows != 0 {
		t.Errorf("%d rows are swept twice", st.Rows)
	}
	waitFor(t, "the space of 1000 of 2000 rows", func() bool { return h.tableBytes() < 1_300_000 })
}

// TestSweepOfAStoreInUse: what is swept, merged and copied meanwhile can't be told from
// reads, from copies, or from what a crash leaves.
func TestSweepOfAStoreInUse(t *testing.T) {
	const keys = 50
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes = 256 << 10 })
	h.payload = nil
	row := func(i int) []byte { return rowKey("h", fmt.Sprint(i%keys)) }
	apply := func(decree int64) error {
		var p []byte
		p = AppendOp(p, Op{Key: row(int(decree)), Value: fmt.Append(nil, decree)})
		for i := range 40 {
			p = AppendOp(p, Op{Key: rowKey("gone", fmt.Sprint(decree, i)), Value: make([]byte, 100), ExpireTS: 500})
		}
		return h.store.Apply(decree, h.timestamp(decree), p)
	}
	for d := int64(1); d <= keys; d++ {
		if err := apply(d); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	swept := make(chan struct{}, 1)
	wg.Go(func() {
		for d := int64(keys + 1); ctx.Err() == nil; d++ {
			if d%4000 == 0 { // on a slow machine writes would outrun the sweeps for ever
				select {
				case <-swept:
				case <-ctx.Done():
				}
			}
			if err := apply(d); err != nil {
				t.Errorf("decree %d: %v", d, err)
				return
			}
		}
	})
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, closer, err := h.store.db.Get(row(i)); err != nil {
				t.Errorf("row %d: %v", i%keys, err)
				return
			} else if err := closer.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	var sweeps, crashes atomic.Int64
	wg.Go(func() {
		for ctx.Err() == nil {
			st, err := h.store.Sweep(ctx, 10*time.Second, 1<<40, nil)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
			sweeps.Add(min(st.Rows, 1))
			select {
			case swept <- struct{}{}:
			default:
			}
		}
	})
	copies := 0
	wg.Go(func() {
		pace := time.NewTicker(time.Millisecond) // a single processor has more to do than copies
		defer pace.Stop()
		for ; ctx.Err() == nil; copies++ {
			<-pace.C
			dir := fmt.Sprint("data/copies/", copies)
			before := h.store.LastApplied()
			decree, err := h.store.Checkpoint(dir)
			if err != nil || decree < before {
				t.Errorf("copy of decree %d: %d, %v", before, decree, err)
				return
			}
			if err := h.fs.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(1, 1))
		for ; ctx.Err() == nil; crashes.Add(1) {
			flushed := h.store.LastFlushed()
			o := h.options()
			o.FS = h.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
			s, err := Open(o)
			if err != nil {
				t.Errorf("after a crash: %v", err)
				return
			}
			sum, err := s.Digest(t.Context(), 1000)
			if got := s.LastApplied(); err != nil || got < flushed || got >= keys && sum.Rows != keys {
				t.Errorf("decree %d was flushed, and after a crash there is %d, %+v, %v", flushed, got, sum, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	<-time.After(2 * time.Second)
	waitFor(t, "a sweep and a crash", func() bool { return sweeps.Load() > 0 && crashes.Load() > 0 || t.Failed() })
	cancel()
	wg.Wait()
	t.Logf("%d decrees, %d sweeps, %d copies, %d crashes", h.store.LastApplied(), sweeps.Load(), copies, crashes.Load())
}

// TestManifestBeforeStaysForACopy: the list of files that a copy may be reading isn't removed,
// and goes with the next one. Nothing is compacted in the background: then a flush that has
// begun a manifest has also removed what that removes, and no other is begun.
func TestManifestBeforeStaysForACopy(t *testing.T) {
	h := newHarness(t, nil)
	h.close()
	o := h.options()
	o.Tuning.Scenario = appenv.BulkLoad
	var err error
	if h.store, err = Open(o); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		names, err := h.fs.List(h.options().Dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasPrefix(name, "MANIFEST-") {
				n++
			}
		}
		return n
	}
	i := 0
	roll := func() {
		t.Helper()
		before := h.store.manifests.current
		for deadline := i + 2000; h.store.manifests.current == before; i++ {
			if i == deadline {
				t.Fatal("no new manifest")
			}
			h.put("h", fmt.Sprint(i), strings.Repeat("x", 100), 0)
			h.flush()
		}
	}
	roll()
	if n := count(); n != 1 {
		t.Errorf("%d manifests", n)
	}
	done := h.store.manifests.copying()
	roll()
	if n := count(); n != 2 {
		t.Errorf("%d manifests while a copy is made", n)
	}
	done()
	roll()
	if n := count(); n != 1 {
		t.Errorf("%d manifests after the copy", n)
	}
	h.crash()
	if n := h.store.LastApplied(); n != int64(i) {
		t.Errorf("%d decrees after a crash, not %d", n, i)
	}
}

// TestCompactLetsWritesThrough: memtables are looked after with writes shut out, and while a
// compaction waits for its turn they are not.
func TestCompactLetsWritesThrough(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h", "1", "x", 0)
	free := sync.OnceFunc(takeSlots(h))
	defer free()
	done := make(chan error, 1)
	go func() { done <- h.store.compact(t.Context(), notBefore(nil), metaEnd) }()
	waitFor(t, "its turn to be waited for", func() bool { return h.shared.Metrics().StoresWaiting == 1 })
	h.put("h", "2", "x", 0)
	select {
	case err := <-done:
		t.Errorf("the compaction ended: %v", err)
	default:
	}
	free()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := h.physical(); n != 2 {
		t.Errorf("%d rows", n)
	}
}
