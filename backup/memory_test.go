package backup

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/blob"
)

// sponge is a place that takes files and forgets them, but for small ones. It is slow at first, so that memory fills if it can.
type sponge struct {
	blob.Driver
	taken atomic.Int64
}

func (s *sponge) Put(_ context.Context, name string, src *blob.Source) (blob.Info, error) {
	time.Sleep(10 * time.Millisecond)
	n, err := io.Copy(io.Discard, src)
	s.taken.Add(n)
	return blob.Info{Name: name, Size: n}, err
}

func (s *sponge) Stat(context.Context, string) (blob.Info, error) {
	return blob.Info{}, blob.Failf(blob.ErrNotFound, "forgotten")
}

func (s *sponge) DeleteTree(context.Context, string) error { return nil }

// TestMemory: a large partition takes no more memory than a small one.
func TestMemory(t *testing.T) {
	rows := 3_000_000 // 3 GB
	if testing.Short() {
		rows = 600_000
	}
	var most atomic.Uint64
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan bool)
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			}
		}
	}()
	place := &sponge{}
	o := options(0)
	o.TableSize = 0
	m, err := WritePartition(context.Background(), blob.NewStore("s", place, blob.Options{}), &fixed{made: made{n: rows}}, o)
	close(done)
	<-ended
	if err != nil {
		t.Fatal(err)
	}
	if m.RowBytes < int64(rows)*1000 || place.taken.Load() < m.RowBytes/2 {
		t.Fatalf("%d bytes of rows, %d of files", m.RowBytes, place.taken.Load())
	}
	if used := int64(most.Load() - before.HeapInuse); used > 128<<20 {
		t.Errorf("%d MiB of memory for %d MiB of rows", used>>20, m.RowBytes>>20)
	} else {
		t.Logf("%d MiB of memory for %d MiB of rows", used>>20, m.RowBytes>>20)
	}
}
