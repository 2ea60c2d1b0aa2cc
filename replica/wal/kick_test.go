package wal

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestKick mixes callers that write themselves with ones that don't, with jobs of the
// background goroutine, and closes the log under them.
func TestKick(t *testing.T) {
	for _, mode := range []string{syncAlways, syncOS} {
		o := testOptions(vfs.NewMem())
		o.Sync = mode
		var batches atomic.Int64
		o.AfterBatch = func() { batches.Add(1) }
		l := mustOpen(t, o)
		const writers, each = 8, 300
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				var order []int64
				var acked sync.WaitGroup
				acked.Add(each)
				for d := int64(1); d <= each; d++ {
					done := func(err error) {
						if err != nil {
							t.Error(err)
						}
						order = append(order, d)
						acked.Done()
					}
					if es := []Entry{entry(g(w), 1, d, 40)}; w%4 == 0 {
						l.Append(es, done)
					} else {
						l.AppendHeld(es, done)
						if d%3 == 0 || d == each {
							l.Kick()
						}
					}
					if d%50 == 0 && w > 0 {
						l.SetRetention(g(w), l.State(g(w)).Last)
					}
				}
				acked.Wait()
				if !slices.Equal(order, upTo(1, each)) {
					t.Errorf("%s: callbacks of %s came as %v", mode, g(w), order)
				}
			})
		}
		all.Wait()
		if mode == syncAlways && batches.Load() == 0 {
			t.Error("AfterBatch was never called")
		}
		// What is held is written by Close.
		var held error = errors.New("not told")
		l.AppendHeld([]Entry{entry(g(1), 1, each+1, 10)}, func(err error) { held = err })
		mustClose(t, l)
		l.Kick()
		if held != nil {
			t.Errorf("%s: held while closing: %v", mode, held)
		}
		l = mustOpen(t, o)
		for w := range writers {
			want := int64(each)
			if w == 1 {
				want++
			}
			if got := l.State(g(w)).Last; got != want {
				t.Errorf("%s: %s: last is %d, want %d", mode, g(w), got, want)
			}
		}
		if d := l.Damaged(); len(d) > 0 {
			t.Errorf("%s: damaged: %v", mode, d)
		}
		mustClose(t, l)
	}
}

// TestKickFails: an error of a write in Kick fails the log as any other.
func TestKickFails(t *testing.T) {
	broken := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite {
			return errorfs.ErrInjected
		}
		return nil
	})}
	o := testOptions(errorfs.Wrap(vfs.NewMem(), broken))
	o.Sync = syncOS
	l := mustOpen(t, o)
	mustAppend(t, l, entry(g(1), 1, 1, 10))
	broken.On()
	for d := int64(2); d < 4; d++ {
		err := Wait(func(done func(error)) {
			l.AppendHeld([]Entry{entry(g(1), 1, d, 10)}, done)
			l.Kick()
		})
		if !errors.Is(err, errorfs.ErrInjected) || !errors.Is(l.Failed(), errorfs.ErrInjected) {
			t.Errorf("decree %d: %v, failed: %v", d, err, l.Failed())
		}
	}
	if got := l.State(g(1)).Last; got != 1 {
		t.Errorf("last is %d", got)
	}
	if err := l.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("close: %v", err)
	}
}
