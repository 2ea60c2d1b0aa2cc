package wal

import (
	"fmt"
	"sync"
	"testing"

	"pegasus/base"
)

func benchOptions(b *testing.B, sync string) Options {
	return Options{Dir: b.TempDir(), Logger: quiet(), Sync: sync, SegmentBytes: 64 << 20, MaxBytes: 1 << 30, KeepBytes: 128 << 20}
}

// BenchmarkAppend measures writers that each wait for their entry before the next one.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []string{syncAlways, syncOS} {
		for _, writers := range []int{1, 64} {
			for _, size := range []int{200, 4096} {
				b.Run(fmt.Sprintf("sync=%s/writers=%d/payload=%d", sync, writers, size), func(b *testing.B) {
					benchmarkAppend(b, sync, writers, size)
				})
			}
		}
	}
}

func benchmarkAppend(b *testing.B, mode string, writers, size int) {
	l, err := Open(benchOptions(b, mode))
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	payload := make([]byte, size)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			g := base.Gpid{AppID: 1, PartitionIndex: int32(w)}
			done := make(chan error, 1)
			cb := func(err error) { done <- err }
			es := make([]Entry, 1)
			n := b.N / writers
			if w < b.N%writers {
				n++
			}
			for d := int64(1); d <= int64(n); d++ {
				es[0] = Entry{Gpid: g, Ballot: 3, Decree: d, Committed: d - 1, Timestamp: 1, Payload: payload}
				l.Append(es, cb)
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
				if d%1024 == 0 {
					// As a replica that flushes: segments are recycled.
					l.SetRetention(g, d)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s := l.Stats()
	b.ReportMetric(float64(s.Syncs)/float64(b.N), "syncs/op")
	b.ReportMetric(float64(s.Bytes)/float64(b.N), "logbytes/op")
	b.ReportMetric(float64(s.Recycled), "recycled")
	if s.Syncs > 0 {
		b.ReportMetric(float64(s.SyncTime.Microseconds())/float64(s.Syncs), "us/sync")
	}
	if mode == syncAlways && writers == 64 && b.N > 1000 && float64(s.Syncs)/float64(b.N) >= 0.2 {
		b.Errorf("%d fdatasyncs for %d entries", s.Syncs, b.N)
	}
}

// sharedLog fills a log with n entries of 200 bytes for each of 64 replicas.
func sharedLog(b *testing.B, o Options, n int64) *Log {
	b.Helper()
	l := mustOpen(b, o)
	payload := make([]byte, 200)
	for d := int64(1); d <= n; d++ {
		var es []Entry
		for w := range 64 {
			es = append(es, Entry{Gpid: g(w), Ballot: 1, Decree: d, Committed: d - 1, Payload: payload})
		}
		mustAppend(b, l, es...)
	}
	return l
}

// BenchmarkOpen measures recovery, by the bytes of the log.
func BenchmarkOpen(b *testing.B) {
	o := benchOptions(b, syncOS)
	l := sharedLog(b, o, 4000)
	b.SetBytes(l.Stats().TotalBytes)
	mustClose(b, l)
	b.ReportAllocs()
	for b.Loop() {
		l := mustOpen(b, o)
		b.StopTimer()
		if got := l.State(g(5)).Last; got != 4000 {
			b.Fatalf("last is %d", got)
		}
		mustClose(b, l)
		b.StartTimer()
	}
}

// BenchmarkReplay reads the entries of one replica out of a log that 64 share.
func BenchmarkReplay(b *testing.B) {
	o := benchOptions(b, syncOS)
	const n = 4000
	l := sharedLog(b, o, n)
	defer l.Close()
	b.SetBytes(n * 200)
	b.ReportAllocs()
	for b.Loop() {
		if es, err := readAll(l, g(5), 1); err != nil || len(es) != n {
			b.Fatalf("%d entries, %v", len(es), err)
		}
	}
}
