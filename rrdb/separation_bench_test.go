package rrdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/gen/value"
)

// countingFS counts the bytes that are written to its files.
type countingFS struct {
	vfs.FS
	written *atomic.Int64
}

func (c countingFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := c.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return countingFile{f, c.written}, nil
}

type countingFile struct {
	vfs.File
	written *atomic.Int64
}

func (f countingFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written.Add(int64(n))
	return n, err
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkValueSeparation fills a store, overwrites it twice in random order, and reads, with
// values beside their keys and apart from them. PEGASUS_BENCH_MB is how much it holds. Run it
// with -benchtime 1x; what counts are its own figures:
//
//   - write-amp: bytes of files written for each byte of rows;
//   - space-amp: bytes of files at the end for each byte of live rows;
//   - get-us, scan-us-row: CPU time of the process for a random get, and for a row of a scan.
func BenchmarkValueSeparation(b *testing.B) {
	data := int64(32)
	if v := os.Getenv("PEGASUS_BENCH_MB"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n <= 0 {
			b.Fatalf("PEGASUS_BENCH_MB is %q", v)
		}
		data = n
	}
	data <<= 20
	for _, size := range []int{100, 1 << 10, 10 << 10, 100 << 10, 1 << 20} {
		for _, apart := range []bool{false, true} {
			name := fmt.Sprintf("value=%d/apart=%t", size, apart)
			b.Run(name, func(b *testing.B) {
				for range b.N {
					separate(b, data, size, apart)
				}
			})
		}
	}
}

func separate(b *testing.B, data int64, size int, apart bool) {
	var written atomic.Int64
	dir := b.TempDir()
	cfg := smallConfig()
	cfg.Engine.BlockCacheBytes, cfg.MemtableBytes, cfg.Engine.OpenFiles = data/8, 16<<20, 4096
	if apart {
		cfg.SeparateValues = 64
	}
	shared := cfg.shared(b, SharedOptions{})
	defer shared.Close()
	s, err := Open(cfg.store(Options{Dir: filepath.Join(dir, "store"), FS: countingFS{vfs.Default, &written}, Shared: shared, Gpid: base.Gpid{AppID: 1}, Create: true}))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	}()
	rows := data / int64(size)
	random := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, size)
	var payload []byte
	var user, decree int64
	put := func(i int64) {
		for k := 0; k+8 <= size; k += 8 {
			binary.LittleEndian.PutUint64(buf[k:], random.Uint64())
		}
		before := len(payload)
		payload = appendRowOp(payload, fmt.Appendf(nil, "user%012d", i), []byte("s"), Op{Value: buf})
		user += int64(len(payload) - before)
	}
	flush := func(least int) {
		if len(payload) <= least {
			return
		}
		decree++
		if err := s.Apply(decree, decree, payload); err != nil {
			b.Fatal(err)
		}
		payload = payload[:0]
	}
	for i := range rows {
		put(i)
		flush(64 << 10)
	}
	for range 2 * rows {
		put(random.Int64N(rows))
		flush(64 << 10)
	}
	flush(0)
	if err := s.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	// Until Pebble has nothing to do any more.
	for quiet, last := time.Now(), int64(-1); time.Since(quiet) < 3*time.Second; {
		if n := written.Load(); n != last || shared.Metrics().CompactionsRunning > 0 {
			quiet, last = time.Now(), n
		}
		<-time.After(50 * time.Millisecond)
	}
	b.ReportMetric(float64(written.Load())/float64(user), "write-amp")
	b.ReportMetric(float64(s.Size())/float64(user/3), "space-amp")

	gets := min(20000, 4*rows)
	read := func(n int64) {
		for range n {
			key := value.Blob(base.AppendKey(nil, fmt.Appendf(nil, "user%012d", random.Int64N(rows)), []byte("s")))
			res, err := s.Read(&ReadRequest{Code: base.RPCGet, Arg: argReader(&key)})
			if err != nil || res.Touched().Status != 0 {
				b.Fatalf("get: %v", err)
			}
			res.Release()
		}
	}
	read(gets / 4)
	before := cpuTime(b)
	read(gets)
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(gets), "get-us")
	before = cpuTime(b)
	sum, err := s.Digest(context.Background(), 1)
	if err != nil || sum.Rows != rows {
		b.Fatalf("%d rows, want %d: %v", sum.Rows, rows, err)
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(rows), "scan-us-row")
	b.ReportMetric(0, "ns/op")
}
