package table

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/rocks/damage"
)

// memory is a File.
type memory []byte

func (m memory) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return bytes.NewReader(m).ReadAt(p, off)
}

type row struct {
	key, value string
	deleted    bool
}

// madeRows are the rows that testdata/make.py writes.
func madeRows(deletions bool) []row {
	var rows []row
	for i := range 120 {
		k := fmt.Sprintf("k%05d", 7*i)
		switch {
		case i%10 != 9:
			rows = append(rows, row{k, strings.Repeat(fmt.Sprintf("value of row %d. ", i), i%5+1), false})
		case deletions:
			rows = append(rows, row{k, "", true})
		}
	}
	return rows
}

func made(t testing.TB) []string {
	names, err := filepath.Glob("testdata/*.sst")
	if err != nil || len(names) < 40 {
		t.Fatalf("tables in testdata: %d, %v", len(names), err)
	}
	return names
}

func open(name string, b []byte) (*Reader, error) {
	return Open(context.Background(), memory(b), int64(len(b)), Options{Name: filepath.Base(name), ReadAhead: 1024})
}

func readAll(r *Reader) ([]row, error) {
	it := r.NewIter(context.Background())
	var rows []row
	for it.Next() {
		k := it.Key()
		rows = append(rows, row{string(k.User), string(it.Value()), k.Type == Deletion})
	}
	return rows, it.Close()
}

func same(t *testing.T, got, want []row) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("row %d is %v, want %v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
}

// Each table that RocksDB made has the rows that it was given, in order, and a seek finds each of them and what lies between.
func TestRocksDBTables(t *testing.T) {
	for _, name := range made(t) {
		base := strings.TrimSuffix(filepath.Base(name), ".sst")
		t.Run(base, func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := madeRows(strings.HasPrefix(base, "flush-"))
			r, err := open(name, b)
			if strings.HasPrefix(base, "refused-") || strings.HasSuffix(base, "-bz2") {
				var u *damage.Unsupported
				if err == nil {
					_, err = readAll(r)
				}
				if !errors.As(err, &u) || !strings.Contains(err.Error(), base) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := readAll(r)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
			if p := r.Properties(); p.Entries != uint64(len(want)) || p.DataBlocks < 4 {
				t.Errorf("properties: %+v", p)
			}
			it := r.NewIter(context.Background())
			for i, w := range want {
				for _, key := range []string{w.key, w.key[:5] + string(w.key[5]-1) + "~"} {
					if !it.Seek([]byte(key)) || string(it.Key().User) != w.key || string(it.Value()) != w.value {
						t.Fatalf("seek %q: %q, %v; want row %d, %q", key, it.Key().User, it.Err(), i, w.key)
					}
				}
				if i+1 < len(want) {
					if !it.Next() || string(it.Key().User) != want[i+1].key {
						t.Fatalf("after %q comes %q, %v", w.key, it.Key().User, it.Err())
					}
				}
			}
			if it.Seek([]byte("l")) || it.Err() != nil || it.Next() {
				t.Fatalf("found %q after the end, %v", it.Key().User, it.Err())
			}
			if !it.First() || string(it.Key().User) != want[0].key || it.Close() != nil {
				t.Fatalf("first: %q, %v", it.Key().User, it.Err())
			}
		})
	}
}

// Names say what a table is made of: without this a table might not be of the format that it is here for.
func TestTablesAreWhatTheyAreNamed(t *testing.T) {
	var checksums, versions, kinds = map[string]int{}, map[uint32]int{}, map[Compression]int{}
	indexes := map[uint32]int{}
	for _, name := range made(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := open(name, b)
		if err != nil {
			continue
		}
		checksums[r.footer.checksum.String()]++
		versions[r.footer.version]++
		indexes[r.props.indexType]++
		it := r.NewIter(context.Background())
		if it.First() {
			kinds[Compression(b[it.at.offset+it.at.size])]++
		}
		if strings.Contains(name, "-dictionary") != (r.dict != nil) {
			t.Errorf("%s: a dictionary of %d bytes", name, len(r.dict))
		}
	}
	for _, c := range []Compression{NoCompression, Snappy, Zlib, LZ4, LZ4HC, Zstd} {
		if kinds[c] == 0 {
			t.Errorf("no table has %s blocks: %v", c, kinds)
		}
	}
	if len(checksums) != 5 || len(versions) != 5 || indexes[indexTwoLevel] < 5 || indexes[indexHash] == 0 {
		t.Errorf("checksums %v, versions %v, indexes %v", checksums, versions, indexes)
	}
}

// Each single flipped bit and each cut of a table is an error, or changes nothing that is read. Nobody gets other rows.
func TestDamageIsFound(t *testing.T) {
	for _, name := range made(t) {
		base := filepath.Base(name)
		if strings.Contains(base, "no_checksum") || strings.Contains(base, "refused") || strings.Contains(base, "bz2") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := madeRows(strings.HasPrefix(base, "flush-"))
		found := 0
		try := func(b []byte, what string) {
			r, err := open(name, b)
			var got []row
			if err == nil {
				got, err = readAll(r)
			}
			if err == nil {
				same(t, got, want)
				return
			}
			found++
			var d *damage.Error
			var u *damage.Unsupported
			if !errors.As(err, &d) && !errors.As(err, &u) || !strings.Contains(err.Error(), base) {
				t.Fatalf("%s, %s: the error is %q", base, what, err)
			}
		}
		step := 13
		if testing.Short() {
			step = 101
		}
		n := 0
		for i := 0; i < len(b); i += step {
			c := bytes.Clone(b)
			c[i] ^= 1 << (i % 8)
			try(c, fmt.Sprintf("byte %d", i))
			n++
		}
		if found < n*8/10 { // the filter, padding of the footer, and dead properties aren't read
			t.Errorf("%s: %d of %d flips were found", base, found, n)
		}
		for i := 0; i < len(b); i += 97 {
			try(b[:i], fmt.Sprintf("cut at %d", i))
		}
	}
}

func TestDamageNamesThePlace(t *testing.T) {
	name := "testdata/v5-crc32c-none.sst"
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := open(name, b)
	if err != nil {
		t.Fatal(err)
	}
	it := r.NewIter(context.Background())
	if !it.Seek([]byte("k00400")) {
		t.Fatal(it.Err())
	}
	b[it.at.offset+20] ^= 1
	_, err = readAll(r)
	var d *damage.Error
	if !errors.As(err, &d) || d.File != "v5-crc32c-none.sst" || d.Offset != int64(it.at.offset) || d.Kind != damage.Checksum {
		t.Fatalf("got %v", err)
	}
	if !it.Seek([]byte("k00000")) || it.Seek([]byte("k00400")) || it.Err() == nil {
		t.Fatalf("a seek into the damaged block says %v", it.Err())
	}
}

// A table of another order, type of index or kind of entry is refused.
func TestUnknownIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte)
		want   string
	}{
		{"format version 7", func(b []byte) { binary.LittleEndian.PutUint32(b[len(b)-12:], 7) }, "table format version 7"},
		{"format version 0", func(b []byte) { binary.LittleEndian.PutUint64(b[len(b)-8:], legacyMagic) }, "format version 0"},
		{"no table", func(b []byte) { b[len(b)-1]++ }, "cut off or no table"},
		{"checksum", func(b []byte) { b[len(b)-footerSize] = 9 }, "checksum type 9"},
	} {
		b, err := os.ReadFile("testdata/v5-crc32c-none.sst")
		if err != nil {
			t.Fatal(err)
		}
		c.change(b)
		if _, err := open("x.sst", b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := open("x.sst", nil); err == nil {
		t.Error("an empty file is a table")
	}
}

// A table that was ingested has one sequence number, which the manifest knows.
func TestIngestedSequence(t *testing.T) {
	b, err := os.ReadFile("testdata/v5-crc32c-none.sst")
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint64{0, 1234} {
		r, err := Open(context.Background(), memory(b), int64(len(b)), Options{LargestSequence: &seq})
		if err != nil {
			t.Fatal(err)
		}
		it := r.NewIter(context.Background())
		for it.Next() {
			if it.Key().Sequence != seq {
				t.Fatalf("%q has sequence number %d, want %d", it.Key().User, it.Key().Sequence, seq)
			}
		}
		if it.Close() != nil {
			t.Fatal(it.Err())
		}
	}
}

// Opening a table takes few reads: it may lie behind a network.
func TestOpenReadsOnce(t *testing.T) {
	b, err := os.ReadFile("testdata/flush-v6-xxh3-snappy-restarts.sst")
	if err != nil {
		t.Fatal(err)
	}
	f := &countedReads{memory: b}
	if _, err := Open(context.Background(), f, int64(len(b)), Options{}); err != nil || f.n != 1 {
		t.Fatalf("%d reads, %v", f.n, err)
	}
}

type countedReads struct {
	memory
	n int
}

func (c *countedReads) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	c.n++
	return c.memory.ReadAt(ctx, p, off)
}

func TestReadIsCancelled(t *testing.T) {
	b, err := os.ReadFile("testdata/v5-crc32c-none.sst")
	if err != nil {
		t.Fatal(err)
	}
	r, err := open("x.sst", b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	it := r.NewIter(ctx)
	if it.Next() || !errors.Is(it.Err(), context.Canceled) {
		t.Fatalf("got %v", it.Err())
	}
}
