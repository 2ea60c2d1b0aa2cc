package table

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func dumpAll(t testing.TB, r *Reader) (rows []row, blocks map[uint64]int, bad []error) {
	t.Helper()
	blocks = map[uint64]int{}
	err := r.Dump(t.Context(), func(e Entry) error {
		rows = append(rows, row{string(e.Key.User), string(e.Value), e.Key.Type == Deletion})
		blocks[e.Block]++
		return nil
	}, func(err error) error {
		bad = append(bad, err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, blocks, bad
}

// Dump tells what an iterator does. Of a table in which a byte is another one it tells all rows but those of that block, and which it is; or the table isn't opened.
func TestDump(t *testing.T) {
	for _, name := range made(t) {
		if n := filepath.Base(name); strings.HasPrefix(n, "refused-") || strings.Contains(n, "-bz2") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := open(name, b)
		if err != nil {
			t.Fatal(err)
		}
		want, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		rows, blocks, bad := dumpAll(t, r)
		same(t, rows, want)
		if len(bad) > 0 || len(blocks) < 4 {
			t.Fatal(len(blocks), bad)
		}
		most := 0
		for _, n := range blocks {
			most = max(most, n)
		}
		if strings.Contains(name, "no_checksum") {
			continue
		}
		for at := 0; at < len(b); at += 29 {
			c := bytes.Clone(b)
			c[at] ^= 1 << (at % 8)
			r, err := open(name, c)
			if err != nil {
				continue
			}
			rows, _, bad := dumpAll(t, r)
			part := 0 // an index of two levels loses all that a part of it has
			if r.twoLevels() {
				part = len(want)
			}
			if len(rows) < len(want) && len(bad) == 0 || len(rows) < len(want)-max(most, part) {
				t.Fatalf("%s, byte %d: %d rows of %d, %v", name, at, len(rows), len(want), bad)
			}
			i := 0 // what is told is what was written
			for _, x := range rows {
				for i < len(want) && want[i] != x {
					i++
				}
				if i == len(want) {
					t.Fatalf("%s, byte %d: %v", name, at, x)
				}
			}
		}
	}
}

func TestDumpEnds(t *testing.T) {
	name := made(t)[0]
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := open(name, b)
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	if err := r.Dump(t.Context(), func(Entry) error { return enough }, func(err error) error { return err }); err != enough {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Dump(ctx, func(Entry) error { return nil }, func(err error) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What a table of any bytes tells is bounded.
func FuzzTableDump(f *testing.F) {
	for _, name := range made(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Open(context.Background(), memory(b), int64(len(b)), Options{Name: "x", MaxBlock: 1 << 20, ReadAhead: 1024, trust: true})
		if err != nil {
			return
		}
		blocks := map[uint64]bool{}
		var last uint64
		bad := 0
		err = r.Dump(t.Context(), func(e Entry) error {
			if e.Block < last {
				t.Fatalf("block %d after %d", e.Block, last)
			}
			last, blocks[e.Block] = e.Block, true
			return nil
		}, func(error) error { bad++; return nil })
		if err != nil || len(blocks) > len(b) {
			t.Fatal(err, len(blocks))
		}
	})
}
