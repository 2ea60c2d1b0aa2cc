package table

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/sstable"
)

func write(t *testing.T, o WriterOptions, rows []row) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Add([]byte(r.key), []byte(r.value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) < w.Size() {
		t.Fatalf("Size says %d of %d bytes", w.Size(), b.Len())
	}
	return b.Bytes()
}

// sorted are n rows of random keys and values.
func sorted(n, value int) []row {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	seen := map[string]bool{}
	var rows []row
	for len(rows) < n {
		k := fmt.Sprintf("%c%d", rune('a'+rnd.IntN(3)), rnd.IntN(10*n))
		if !seen[k] {
			seen[k] = true
			rows = append(rows, row{k, strings.Repeat(fmt.Sprint(rnd.IntN(100)), rnd.IntN(value+1)), false})
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.key, b.key) })
	return rows
}

// What is written is read back, also by Pebble's reader, which knows the format on its own.
func TestWritten(t *testing.T) {
	for _, c := range []Compression{NoCompression, Snappy, Zstd} {
		for _, n := range []int{1, 2, 17, 3000} {
			rows := sorted(n, 50)
			b := write(t, WriterOptions{Compression: c, BlockSize: 1000}, rows)
			r, err := open("w.sst", b)
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(r)
			if err != nil {
				t.Fatalf("%s, %d rows: %v", c, n, err)
			}
			same(t, got, rows)
			p := r.Properties()
			if !p.external || p.externalVersion != 2 || p.Entries != uint64(n) || p.DataBlocks == 0 || (n > 1000 && p.DataBlocks < 10) {
				t.Fatalf("%s: %+v", c, p)
			}
			it := r.NewIter(t.Context())
			for _, at := range []int{0, n / 2, n - 1} {
				if !it.Seek([]byte(rows[at].key)) || string(it.Key().User) != rows[at].key {
					t.Fatalf("row %d isn't found: %v", at, it.Err())
				}
			}
			it.Close()
			if c != Snappy {
				continue
			}
			pr, err := sstable.NewMemReader(b, sstable.ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			pit, err := pr.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			for kv := pit.First(); kv != nil; kv = pit.Next() {
				v, _, err := kv.Value(nil)
				if err != nil || string(kv.K.UserKey) != rows[i].key || string(v) != rows[i].value {
					t.Fatalf("Pebble reads row %d as %s: %v", i, kv.K, err)
				}
				i++
			}
			if i != n {
				t.Fatalf("Pebble reads %d rows of %d: %v", i, n, pit.Error())
			}
			pit.Close()
			pr.Close()
		}
	}
}

type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFullDisk
	}
	return len(p), nil
}

var errFullDisk = errors.New("no space left")

func TestWriterRefuses(t *testing.T) {
	if _, err := NewWriter(nil, WriterOptions{Compression: LZ4}); err == nil {
		t.Error("LZ4 is accepted")
	}
	for _, second := range []string{"a", "b"} {
		w, _ := NewWriter(&bytes.Buffer{}, WriterOptions{})
		w.Add([]byte("b"), nil)
		if err := w.Add([]byte(second), nil); err == nil {
			t.Errorf("%q after \"b\" is accepted", second)
		}
		if err := w.Close(); err == nil {
			t.Error("a table that lacks a row is written")
		}
	}
	w, _ := NewWriter(&bytes.Buffer{}, WriterOptions{})
	if err := w.Close(); err == nil {
		t.Error("an empty table is written")
	}
	rows := sorted(300, 30)
	whole := len(write(t, WriterOptions{}, rows))
	for left := 0; left < whole; left += 97 {
		w, _ := NewWriter(&full{left}, WriterOptions{})
		for _, r := range rows {
			w.Add([]byte(r.key), []byte(r.value))
		}
		if err := w.Close(); !errors.Is(err, errFullDisk) {
			t.Fatalf("with room for %d of %d bytes: %v", left, whole, err)
		}
	}
}
