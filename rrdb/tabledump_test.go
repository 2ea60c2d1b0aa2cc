package rrdb

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
)

// tableFiles returns the table files of a checkpoint of the store, whose files stand still.
func (h *harness) tableFiles() map[string][]byte {
	h.t.Helper()
	const dir = "data/1.2/copy"
	if _, err := h.store.Checkpoint(dir); err != nil {
		h.t.Fatal(err)
	}
	names, err := h.fs.List(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, n := range names {
		if filepath.Ext(n) != ".sst" {
			continue
		}
		f, err := h.fs.Open(h.fs.PathJoin(dir, n))
		if err != nil {
			h.t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			h.t.Fatal(err)
		}
		out[n] = b
		f.Close()
	}
	return out
}

// dumpTable tells the entries of a table by key, and what was bad.
func dumpTable(t testing.TB, b []byte) (rows map[string]TableEntry, bad []error, err error) {
	t.Helper()
	fsys := vfs.NewMem()
	f, err := fsys.Create("t.sst", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	table, err := OpenTableFile(fsys, "t.sst")
	if err != nil {
		return nil, nil, err
	}
	rows = map[string]TableEntry{}
	err = table.Dump(t.Context(), func(e TableEntry) error {
		rows[string(e.Key)] = e
		return nil
	}, func(err error) error {
		bad = append(bad, err)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	return rows, bad, nil
}

// A table file by itself tells its rows, what its store knows of itself, and where values are that it hasn't. If a byte of it is another one, it
// tells all rows but those of that block, and its place.
func TestTableFile(t *testing.T) {
	h := newHarness(t, func(c *testConfig) { c.SeparateValues = 500 })
	for i := range 400 {
		h.put(fmt.Sprintf("h%d", i%7), fmt.Sprintf("s%03d", i), strings.Repeat(fmt.Sprint(i), 50), uint32(5000+i))
	}
	h.put("large", "s", strings.Repeat("x", 1000), 0)
	h.flush()
	all := map[string]bool{}
	for name, b := range h.tableFiles() {
		want, bad, err := dumpTable(t, b)
		if err != nil || len(bad) > 0 || len(want) == 0 {
			t.Fatalf("%d entries, %v, %v", len(want), bad, err)
		}
		blocks := map[uint64]int{}
		for key, e := range want {
			blocks[e.Block]++
			all[key] = true
			if text, ok := DescribeRecord(e.Key, e.Value); ok {
				// A flush may come before the first row.
				if text != "last decree 0, at 1970-01-01T00:00:00Z" && (!strings.HasPrefix(text, "last decree ") || !strings.Contains(text, ", at 2023-11-14T22:13:20.000")) {
					t.Errorf("%q", text)
				}
				continue
			}
			hk, sk, ok := base.SplitKey(e.Key)
			if string(hk) == "large" {
				if !e.Outside || !strings.Contains(string(e.Value), "len1012") {
					t.Errorf("%+v, %s", e, e.Value)
				}
				continue
			}
			var i int
			if _, err := fmt.Sscanf(string(sk), "s%d", &i); err != nil || !ok || e.Outside || e.Kind != "put" {
				t.Fatalf("%q: %+v", key, e)
			}
			if expire, _, data, ok := SplitValue(e.Value); !ok || expire != uint32(5000+i) || string(data) != strings.Repeat(fmt.Sprint(i), 50) || string(hk) != fmt.Sprintf("h%d", i%7) {
				t.Fatalf("%q: %d %q", key, expire, data)
			}
		}
		most := 0
		for _, n := range blocks {
			most = max(most, n)
		}
		opened := 0
		for at := 0; at < len(b); at += 61 {
			c := bytes.Clone(b)
			c[at] ^= 1 << (at % 8)
			got, bad, err := dumpTable(t, c)
			if err != nil {
				continue
			}
			opened++
			if len(got) < len(want) && len(bad) == 0 || len(bad) == 0 && len(got) != len(want) || len(bad) > 0 && len(got) > 0 && len(got) < len(want)-most {
				t.Fatalf("%s, byte %d: %d rows of %d, %v", name, at, len(got), len(want), bad)
			}
			for k, e := range got {
				if w := want[k]; !bytes.Equal(e.Value, w.Value) || e.Kind != w.Kind {
					t.Fatalf("%s, byte %d: %q is %+v, was %+v", name, at, k, e, w)
				}
			}
		}
		if opened < len(b)/61/3 && len(want) > 300 { // a small table is a footer and little else
			t.Errorf("of %d damaged tables %d were opened", len(b)/61, opened)
		}
		for n := 0; n < len(b); n += 97 {
			if _, _, err := dumpTable(t, b[:n]); err == nil {
				t.Fatalf("cut at %d: no error", n)
			}
		}
	}
	if len(all) != 402 {
		t.Errorf("%d entries", len(all))
	}
}

// Bytes of any kind are an error, or entries.
func FuzzTableFile(f *testing.F) {
	h := newHarness(f, func(c *testConfig) { c.SeparateValues = 100 })
	for i := range 200 {
		h.put("h", fmt.Sprintf("s%03d", i), strings.Repeat("v", i), uint32(5000+i))
	}
	h.flush()
	for _, b := range h.tableFiles() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = dumpTable(t, b)
	})
}
