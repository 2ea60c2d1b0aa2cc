package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// life is a log under concurrent writers: each has a replica and appends in order, and
// gives up what is old.
type life struct {
	l *Log
	// sent, acked and retained are the greatest decrees of each writer.
	sent, acked, retained []atomic.Int64
	stop                  chan struct{}
	done                  sync.WaitGroup
}

func startLife(l *Log, retained []int64, seed uint64) *life {
	writers := len(retained)
	f := &life{l: l, stop: make(chan struct{}),
		sent: make([]atomic.Int64, writers), acked: make([]atomic.Int64, writers), retained: make([]atomic.Int64, writers)}
	for w := range writers {
		st := l.State(g(w))
		f.sent[w].Store(st.Last)
		f.acked[w].Store(st.Last)
		f.retained[w].Store(retained[w])
		f.done.Go(func() { f.write(w, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	return f
}

func (f *life) write(w int, rng *rand.Rand) {
	for d := f.sent[w].Load() + 1; ; d++ {
		select {
		case <-f.stop:
			return
		default:
		}
		f.sent[w].Store(d)
		if err := appendEntries(f.l, entry(g(w), 1, d, 10+rng.IntN(300))); err != nil {
			return
		}
		f.acked[w].Store(d)
		// One writer is idle most of the time, and its old entries are in the way.
		if w == 0 && d > 3 {
			<-f.stop
			return
		}
		if d > 5 && rng.IntN(20) == 0 {
			f.retained[w].Store(d - 5)
			f.l.SetRetention(g(w), d-5)
		}
	}
}

func (f *life) end() {
	close(f.stop)
	f.done.Wait()
}

// check verifies a log that came out of a crash: a replica has what was acknowledged
// before (from acked on, as it was then) and is still needed, nothing that wasn't sent,
// and no holes.
func checkAfterCrash(l *Log, acked, retained []int64, sent func(w int) int64) error {
	if d := l.Damaged(); len(d) > 0 {
		return fmt.Errorf("damaged: %+v", d)
	}
	for w := range acked {
		st := l.State(g(w))
		if st.Last < acked[w] || st.Last > sent(w) {
			return fmt.Errorf("%s: last is %d, acknowledged %d, sent %d", g(w), st.Last, acked[w], sent(w))
		}
		for d := retained[w] + 1; d <= st.Last; {
			es, err := l.Read(g(w), d, 1<<20)
			if err != nil {
				return fmt.Errorf("%s: read from %d of %d to %d: %w", g(w), d, retained[w]+1, st.Last, err)
			}
			for _, e := range es {
				if want := entry(g(w), 1, e.Decree, len(e.Payload)); e.Decree != d || !sameEntry(e, want) {
					return fmt.Errorf("%s: decree %d is %+v", g(w), d, e)
				}
				d++
			}
		}
	}
	return nil
}

func loadAll(vs []atomic.Int64) []int64 {
	out := make([]int64, len(vs))
	for i := range vs {
		out[i] = vs[i].Load()
	}
	return out
}

// TestCrash lets the machine die at random moments under load, losing any part of what
// wasn't synced, again and again. With "always" all that was acknowledged is there; with
// "os" each replica keeps a prefix.
func TestCrash(t *testing.T) {
	const writers = 6
	seeds := uint64(6)
	if raceEnabled || testing.Short() {
		seeds = 2
	}
	for _, mode := range []string{syncAlways, syncOS} {
		for seed := range seeds {
			rng := rand.New(rand.NewPCG(seed, 4))
			fs := vfs.NewCrashableMem()
			o := testOptions(fs)
			o.Sync = mode
			o.SegmentBytes = 2000 + rng.Int64N(20000)
			o.MaxBytes = 20000 + rng.Int64N(60000)
			// What a replica has elsewhere it has after a crash, too.
			retained := make([]int64, writers)
			for generation := range 8 {
				l := mustOpen(t, o)
				f := startLife(l, retained, seed*100+uint64(generation))
				batches := l.Stats().Batches + 5 + rng.Uint64N(200)
				eventually(t, "some batches", func() bool { return l.Stats().Batches > batches })
				acked := loadAll(f.acked)
				clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				// What the clone may be without grows until it is made.
				retained = loadAll(f.retained)
				sent := loadAll(f.sent)
				f.end()
				mustClose(t, l)
				if mode == syncOS {
					clear(acked)
				}
				fs, o.FS = clone, clone
				l = mustOpen(t, o)
				if mode == syncOS {
					for w := range retained {
						retained[w] = min(retained[w], l.State(g(w)).Last)
					}
				}
				if err := checkAfterCrash(l, acked, retained, func(w int) int64 { return sent[w] }); err != nil {
					t.Fatalf("%s seed %d generation %d: %v", mode, seed, generation, err)
				}
				mustClose(t, l)
			}
		}
	}
}

// TestTornWrites cuts the file of a process that died in every place of the last batches:
// what was written before is there, and the log goes on.
func TestTornWrites(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs)
	l := mustOpen(t, o)
	ends := map[int64]int{0: len(files(t, fs)[segmentName(1)])}
	for d := int64(1); d <= 6; d++ {
		mustAppend(t, l, entry(g(1), 1, d, 40))
		ends[d] = len(files(t, fs)[segmentName(1)])
	}
	m := files(t, fs)
	mustClose(t, l)
	whole := m[segmentName(1)]
	for n := ends[0]; n <= len(whole); n += sample() {
		for _, tail := range [][]byte{nil, make([]byte, 100), slices.Repeat([]byte{0xa5}, 300)} {
			m[segmentName(1)] = append(slices.Clone(whole[:n]), tail...)
			o.FS = memFS(t, m)
			l := mustOpen(t, o)
			var want int64
			for d, end := range ends {
				if end <= n {
					want = max(want, d)
				}
			}
			for range 2 {
				if st := l.State(g(1)); st.Last != want || len(l.Damaged()) > 0 {
					t.Fatalf("%d of %d bytes: last is %d, want %d; damaged %v", n, len(whole), st.Last, want, l.Damaged())
				}
				want++
				mustAppend(t, l, entry(g(1), 1, want, 40))
				if got := decrees(t, l, g(1)); !slices.Equal(got, upTo(1, want)) {
					t.Fatalf("%d of %d bytes: %v", n, len(whole), got)
				}
				mustClose(t, l)
				l = mustOpen(t, o)
			}
			mustClose(t, l)
		}
	}
}

// TestFailedIO makes the n-th I/O fail, for each n: nothing that was acknowledged is
// lost, a write that failed is told, and the log takes no more writes after it.
func TestFailedIO(t *testing.T) {
	for _, mode := range []string{syncAlways, syncOS} {
		failed := 0
		for n := int32(0); ; n += int32(min(sample(), 3)) {
			mem := vfs.NewCrashableMem()
			hit := &errorfs.Counter{Injector: errorfs.OnIndex(n)}
			o := testOptions(errorfs.Wrap(mem, hit))
			o.Sync = mode
			o.SegmentBytes = 1000
			told := failingLife(t, o, mem, mode, n)
			if hit.Load() == 0 {
				if n < 100 {
					t.Errorf("%s: only %d operations", mode, n)
				}
				break
			}
			if told {
				failed++
			}
		}
		if failed < 20 {
			t.Errorf("%s: only %d failures were told", mode, failed)
		}
	}
}

// failingLife runs a short life on a file system of which one operation fails, then
// verifies what a restart and a crash leave. It tells whether an error came to light.
func failingLife(t *testing.T, o Options, mem *vfs.MemFS, mode string, n int32) (told bool) {
	t.Helper()
	acked, sent := make([]int64, 3), make([]int64, 3)
	retained := make([]int64, 3)
	for range 2 {
		l, err := Open(o)
		if err != nil {
			told = true
			if !errors.Is(err, errorfs.ErrInjected) {
				t.Fatalf("operation %d: open: %v", n, err)
			}
			// The lock may be held still, as after a crash.
			break
		}
		for i := range 24 {
			w := i % 3
			if w == 0 && i > 3 {
				continue
			}
			sent[w]++
			err := appendEntries(l, entry(g(w), 1, sent[w], 80))
			if err == nil {
				acked[w] = sent[w]
			} else {
				told = true
				if !errors.Is(err, errorfs.ErrInjected) || l.Failed() == nil {
					t.Fatalf("operation %d: append: %v, failed: %v", n, err, l.Failed())
				}
				if err := appendEntries(l, entry(g(w), 1, sent[w]+1, 80)); !errors.Is(err, errorfs.ErrInjected) {
					t.Fatalf("operation %d: append to a failed log: %v", n, err)
				}
				break
			}
			if i%6 == 5 && w > 0 {
				retained[w] = sent[w] - 1
				l.SetRetention(g(w), retained[w])
			}
			if _, err := l.Read(g(w), sent[w], 1); err != nil && !errors.Is(err, errorfs.ErrInjected) {
				t.Fatalf("operation %d: read: %v", n, err)
			}
		}
		if err := l.Close(); err != nil {
			told = true
			if !errors.Is(err, errorfs.ErrInjected) {
				t.Fatalf("operation %d: close: %v", n, err)
			}
			break
		}
	}
	rng := rand.New(rand.NewPCG(uint64(n), 5))
	for _, percent := range []int{0, 50, 100} {
		clone := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		must := acked
		if mode == syncOS && percent < 100 {
			must = make([]int64, 3)
		}
		o.FS = clone
		l := mustOpen(t, o)
		keep := slices.Clone(retained)
		if mode == syncOS {
			for w := range keep {
				keep[w] = min(keep[w], l.State(g(w)).Last)
			}
		}
		if err := checkAfterCrash(l, must, keep, func(w int) int64 { return sent[w] + 1 }); err != nil {
			t.Fatalf("%s: operation %d failed, %d%% of unsynced data kept: %v", mode, n, percent, err)
		}
		mustClose(t, l)
	}
	return told
}
