package rocks

import (
	"context"
	"math/rand/v2"
	"testing"

	"pegasus/rocks/table"
)

// nowhere is a Sink that keeps nothing.
type nowhere struct{}

func (nowhere) Create(ctx context.Context, name string) (SinkFile, error) { return nowhere{}, nil }
func (nowhere) Write(p []byte) (int, error)                               { return len(p), nil }
func (nowhere) Commit(context.Context) error                              { return nil }
func (nowhere) Abort()                                                    {}

// benchRows gives n rows of 22-byte keys and 100-byte values, half of which compresses.
func benchRows(n int, add func(key, value []byte)) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 1<<16)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	key := []byte("\x00\x08hash0000sort00000000")
	value := make([]byte, 100)
	for i := range n {
		for j, m := 21, i; j >= 14; j, m = j-1, m/10 { // the last digits of the sort key rise
			key[j] = byte('0' + m%10)
		}
		copy(value[:50], noise[i*50%(len(noise)-50):])
		add(key, value)
	}
}

var benchCompressions = []table.Compression{table.NoCompression, table.Snappy, table.Zstd}

// BenchmarkWrite counts bytes of rows. Allocations are per row.
func BenchmarkWrite(b *testing.B) {
	for _, c := range benchCompressions {
		b.Run(c.String(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(122)
			w, err := Create(context.Background(), nowhere{}, WriterOptions{Families: []string{"default"}, Compression: c})
			if err != nil {
				b.Fatal(err)
			}
			benchRows(b.N, func(k, v []byte) {
				if err := w.Add(0, k, v); err != nil {
					b.Fatal(err)
				}
			})
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRead counts bytes of rows. Allocations are per row.
func BenchmarkRead(b *testing.B) {
	for _, c := range benchCompressions {
		b.Run(c.String(), func(b *testing.B) {
			const rows = 200_000
			dir := Local(b.TempDir())
			w, err := Create(context.Background(), dir, WriterOptions{Families: []string{"default"}, Compression: c, TableSize: 8 << 20})
			if err != nil {
				b.Fatal(err)
			}
			benchRows(rows, func(k, v []byte) {
				if err := w.Add(0, k, v); err != nil {
					b.Fatal(err)
				}
			})
			if _, err := w.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(122)
			b.ResetTimer()
			for n := 0; n < b.N; {
				db, err := Open(context.Background(), dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				it, err := db.NewIter(context.Background(), "default", Bounds{})
				if err != nil {
					b.Fatal(err)
				}
				for n < b.N && it.Next() {
					n++
				}
				if err := it.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
