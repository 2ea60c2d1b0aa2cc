package table

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// A file of any bytes gives rows that rise, or an error; checksums aren't compared, so that what lies behind them is reached.
func FuzzTable(f *testing.F) {
	for _, name := range made(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte("k00400"))
	}
	f.Fuzz(func(t *testing.T, b, key []byte) {
		r, err := Open(context.Background(), memory(b), int64(len(b)), Options{Name: "x", MaxBlock: 1 << 20, ReadAhead: 1024, trust: true})
		if err != nil {
			return
		}
		it := r.NewIter(context.Background())
		defer it.Close()
		check := func(from []byte) {
			last, n := Key{User: bytes.Clone(from), Sequence: MaxSequence, Type: 0xff}, 0
			for more := it.Seek(from); more; more = it.Next() {
				k := it.Key()
				if bytes.Compare(from, k.User) > 0 || n > 0 && last.Compare(k) >= 0 {
					t.Fatalf("%x@%d comes after %x@%d", k.User, k.Sequence, last.User, last.Sequence)
				}
				last = Key{User: bytes.Clone(k.User), Sequence: k.Sequence, Type: k.Type}
				if n++; n > 10000 { // an index may lead to the same block again; keys that don't rise end it long before
					t.Fatal("there is no end")
				}
			}
		}
		check(nil)
		check(key)
	})
}

// A block of any bytes has an end, however it is coded.
func FuzzBlock(f *testing.F) {
	for _, name := range made(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		r, err := open(name, b)
		if err != nil {
			continue
		}
		it := r.NewIter(context.Background())
		if it.First() {
			raw, err := it.files.raw(context.Background(), it.at)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(bytes.Clone(raw), []byte("k00035"), false, false, false)
		}
		f.Add(append(bytes.Clone(r.index.entries), append(bytes.Clone(r.index.restarts), byte(r.index.numRestarts()), 0, 0, 0)...),
			[]byte("k00400"), r.coding.handles, r.coding.firstKey, r.coding.userKeys)
	}
	f.Fuzz(func(t *testing.T, b, key []byte, handles, firstKey, userKeys bool) {
		bl, err := parseBlock(b)
		if err != nil {
			return
		}
		var c cursor
		k := coding{handles: handles, firstKey: firstKey, userKeys: userKeys}
		c.reset(bl, k)
		n := 0
		for c.step() {
			if _, err := c.indexHandle(); err != nil && handles {
				t.Fatal(err)
			}
			if n++; n > len(b) {
				t.Fatal("there is no end")
			}
		}
		c.reset(bl, k)
		if c.seek(key) {
			if u, ok := c.userKey(); !ok || bytes.Compare(u, key) < 0 {
				t.Fatalf("seek %x found %x", key, u)
			}
		}
	})
}

// Compressed data of any bytes becomes no more than is allowed, and a decoder that met damage still decodes.
func FuzzDecompress(f *testing.F) {
	kinds := []Compression{Snappy, Zlib, LZ4, LZ4HC, Zstd, zstdOld, bzip2, xpress, 0x33}
	good := map[Compression][]byte{}
	want := map[Compression][]byte{}
	for _, name := range made(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		r, err := open(name, b)
		if err != nil || r.dict != nil {
			continue
		}
		it := r.NewIter(context.Background())
		if !it.First() {
			continue
		}
		stored := b[it.at.offset : it.at.offset+it.at.size+1]
		c := Compression(stored[len(stored)-1])
		if c == NoCompression {
			continue
		}
		raw, err := it.files.raw(context.Background(), it.at)
		if err != nil {
			f.Fatal(err)
		}
		good[c], want[c] = stored[:len(stored)-1], bytes.Clone(raw)
		f.Add(good[c], uint8(bytes.IndexByte([]byte{1, 2, 4, 5, 7}, byte(c))), []byte(nil))
		f.Add(good[c], uint8(bytes.IndexByte([]byte{1, 2, 4, 5, 7}, byte(c))), []byte("value of row"))
	}
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, dict []byte) {
		c := kinds[int(kind)%len(kinds)]
		d := decompressor{limit: 1 << 20}
		if len(dict) > 0 {
			d.dict = dict
		}
		defer d.close()
		out, err := d.decompress(nil, b, c)
		if err == nil && len(out) > d.limit {
			t.Fatalf("%d bytes", len(out))
		}
		if good[c] == nil || d.dict != nil {
			return
		}
		out, err = d.decompress(out, good[c], c)
		if err != nil || !bytes.Equal(out, want[c]) {
			t.Fatalf("after damage, a good %s block: %v", c, err)
		}
	})
}
