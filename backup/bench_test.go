package backup

import (
	"context"
	"os"
	"testing"
	"time"
)

// benchRows are about 512 MiB of rows of a kilobyte that can't be compressed. PEGASUS_BACKUP_BENCH says where: a directory on the disk to be measured.
const benchRows = 500_000

func benchDir(b *testing.B) string {
	dir := os.Getenv("PEGASUS_BACKUP_BENCH")
	if dir == "" {
		return b.TempDir()
	}
	d, err := os.MkdirTemp(dir, "bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(d) })
	return d
}

// fixed is n rows of the same random value, but for their first bytes.
type fixed struct {
	made
	random []byte
}

func (f *fixed) Next() bool {
	if f.random == nil {
		m := &made{n: 1, fill: 1 << 20}
		m.Next()
		f.random = m.v.Data
	}
	f.fill = 0
	if !f.made.Next() {
		return false
	}
	at := f.i * 769 % (len(f.random) - 1000)
	f.v.Data = append(f.v.Data, f.random[at:at+1000]...)
	f.v.ExpireTS = 0
	return true
}

// BenchmarkPartition writes and reads a partition: MB/s of rows (stored keys and values).
func BenchmarkPartition(b *testing.B) {
	ctx := context.Background()
	s := openStore(b, benchDir(b))
	for b.Loop() {
		o := options(0)
		o.TableSize = 0
		begin := time.Now()
		m, err := WritePartition(ctx, s, &fixed{made: made{n: benchRows}}, o)
		if err != nil {
			b.Fatal(err)
		}
		wrote := time.Since(begin)
		begin = time.Now()
		p, err := OpenPartition(ctx, s, ourTable.Partition(0), OpenOptions{})
		if err != nil {
			b.Fatal(err)
		}
		rows, err := p.Rows(ctx)
		if err != nil {
			b.Fatal(err)
		}
		for rows.Next() {
		}
		if err := rows.Close(); err != nil {
			b.Fatal(err)
		}
		read := time.Since(begin)
		rate := func(d time.Duration) float64 { return float64(m.RowBytes) / 1e6 / d.Seconds() }
		b.ReportMetric(rate(wrote), "write-MB/s")
		b.ReportMetric(rate(read), "read-MB/s")
		b.Logf("%d bytes of rows, %d of files", m.RowBytes, p.Metadata.Bytes)
		if err := s.DeleteTree(ctx, ourTable.Partition(0)); err != nil {
			b.Fatal(err)
		}
	}
}
