package replica

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/bulkload"
	"pegasus/gen/loading"
	"pegasus/rocks/pegasus"
)

// BenchmarkLoad loads 120 MB into a partition with three members under writes. held-ms is for how long writes waited while it was taken, slowest-ms the
// slowest write from the taking to a second later.
func BenchmarkLoad(b *testing.B) {
	const rows, size = 120_000, 1000
	l := newLoadTest(b, 3, func(c *config.Config) { c.Storage.MemtableBytes = config.Default().Storage.MemtableBytes })
	keys := make([]string, rows)
	for i := range keys {
		keys[i] = string(rowKey(fmt.Sprintf("loaded%d", i)))
	}
	slices.Sort(keys)
	var held, slowest time.Duration
	took := time.Duration(0)
	for n := range b.N {
		load := int64(n + 1)
		w, err := bulkload.Create(b.Context(), l.store, bulkload.WriterOptions{Place: bulkload.Place{Cluster: fmt.Sprint("c", load), Table: "temp"}, AppID: 1, Partitions: 1})
		if err != nil {
			b.Fatal(err)
		}
		for i, k := range keys {
			v := make([]byte, size)
			for j := range v {
				v[j] = byte(i*j + i>>8 + j>>4)
			}
			if err := w.Add(0, []byte(k), pegasus.Value{Data: v}); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for i := range 3 {
			l.send(i, l.request(load, loading.LOAD_PREPARE))
		}
		digest := l.prepare(load, 0, 1, 2)
		took += time.Since(began)
		var watch atomic.Bool
		stop, ended := make(chan struct{}), make(chan struct{})
		var worst atomic.Int64
		for w := range 8 {
			go func() {
				defer func() { ended <- struct{}{} }()
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					at := time.Now()
					if err := l.put(0, fmt.Sprintf("other%d.%d", w, i), "x"); err != nil {
						b.Error(err)
						return
					}
					if t := int64(time.Since(at)); watch.Load() && t > worst.Load() {
						worst.Store(t)
					}
				}
			}()
		}
		time.Sleep(time.Second) // of writes
		watch.Store(true)
		a := l.take(0, load, digest)
		time.Sleep(time.Second)
		close(stop)
		for range 8 {
			<-ended
		}
		held, slowest = max(held, time.Duration(a.HeldMs)*time.Millisecond), max(slowest, time.Duration(worst.Load()))
	}
	b.ReportMetric(float64(held.Milliseconds()), "held-ms")
	b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
	b.ReportMetric(took.Seconds()/float64(b.N), "prepare-s")
}
