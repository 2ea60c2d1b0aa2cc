package manifest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
)

// Of a manifest in which a byte is another one, or that is cut off, all edits are told but those that the byte may be in, and the place is told.
func TestScan(t *testing.T) {
	edits := []*Edit{begin()}
	for i := range 40 {
		edits = append(edits, &Edit{Added: []File{file(uint64(10+i), 1, fmt.Sprintf("k%03d", i), strings.Repeat("x", 100*i))}})
	}
	b := write(t, edits...)
	scan := func(b []byte) (numbers map[uint64]bool, bad int) {
		numbers = map[uint64]bool{}
		last := int64(-1)
		err := Scan("M", bytes.NewReader(b), func(at int64, rec []byte, err error) error {
			if at < last {
				t.Fatalf("%d after %d", at, last)
			}
			last = at
			if err != nil {
				bad++
				return nil
			}
			e, err := DecodeEdit(rec)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range e.Added {
				numbers[f.Number] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return numbers, bad
	}
	whole, bad := scan(b)
	if len(whole) != 40 || bad != 0 || len(b) < 2*blockSize {
		t.Fatal(len(whole), bad, len(b))
	}
	for at := 0; at < len(b); at += 53 {
		c := bytes.Clone(b)
		c[at] ^= 0x10
		got, bad := scan(c)
		if bad == 0 {
			t.Fatalf("a flip at %d isn't told", at)
		}
		block := at / blockSize * blockSize
		n := strings.Count(string(b[block:min(block+blockSize, len(b))]), "k0") // edits of other blocks are there
		if len(got) < len(whole)-n-2 {
			t.Fatalf("a flip at %d: %d edits, %d are in its block", at, len(got), n)
		}
	}
	for n := 0; n < len(b); n += 101 {
		if got, _ := scan(b[:n]); len(got) < strings.Count(string(b[:n]), "k0")-1 {
			t.Fatalf("cut at %d: %d edits", n, len(got))
		}
	}
	if err := Scan("M", io.MultiReader(bytes.NewReader(b[:100]), broken{}), func(int64, []byte, error) error { return nil }); err == nil {
		t.Error("a file that can't be read is no error")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, fmt.Errorf("broken") }

// A file of any bytes has an end.
func FuzzScan(f *testing.F) {
	for _, b := range manifests(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if err := Scan("M", bytes.NewReader(b), func(int64, []byte, error) error { n++; return nil }); err != nil || n > len(b) {
			t.Fatal(n, err)
		}
	})
}
