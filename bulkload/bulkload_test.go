package bulkload

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/blob/stores"
	"pegasus/internal/repo"
	"pegasus/rocks/pegasus"
	"pegasus/rocks/remote"
	"pegasus/rocks/table"
)

func store(t testing.TB, root string) *blob.Store {
	t.Helper()
	c := config.DefaultBlob()
	c.Path = root
	s, err := stores.New(nil, nil).Make(t.Context(), "s", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

type plain struct {
	Partition int32  `json:"partition"`
	HashKey   []byte `json:"hash_key"`
	SortKey   []byte `json:"sort_key"`
	Value     []byte `json:"value"`
	TTL       bool   `json:"ttl"`
}

func (p plain) String() string {
	return fmt.Sprintf("%d %x %x %x %v", p.Partition, p.HashKey, p.SortKey, p.Value, p.TTL)
}

// readAll reads all partitions.
func readAll(t testing.TB, s *blob.Store, p Place, count int32) (rows []string, err error) {
	t.Helper()
	for i := range count {
		part, err := OpenPartition(t.Context(), s, p, i, count)
		if err != nil {
			return nil, err
		}
		var bytesRead int64
		it, err := part.Rows(t.Context(), func(n int64) { bytesRead += n })
		if err != nil {
			return nil, err
		}
		var last []byte
		for it.Next() {
			r := it.Row()
			if last != nil && bytes.Compare(last, r.Key) >= 0 {
				t.Fatalf("key %x comes after %x", r.Key, last)
			}
			last = append(last[:0], r.Key...)
			rows = append(rows, plain{i, r.HashKey, r.SortKey, r.Data, r.ExpireTS > 0}.String())
		}
		if err := it.Close(); err != nil {
			return nil, err
		}
		if bytesRead != part.Metadata.Bytes {
			t.Fatalf("partition %d: %d bytes were told, of %d", i, bytesRead, part.Metadata.Bytes)
		}
	}
	slices.Sort(rows)
	return rows, nil
}

// The recorded files have exactly the rows that a C++ server had after it loaded them.
func TestRecorded(t *testing.T) {
	dir := filepath.Join(repo.Golden(t), "bulk-load-source")
	s := store(t, dir)
	p := Place{"/bulk_root/", "onebox", "bl"}
	info, err := ReadInfo(t.Context(), s, p)
	if err != nil || info != (Info{1, "bl", 4}) {
		t.Fatalf("%+v: %v", info, err)
	}
	if err := info.CheckTable(s, p, 1, 4); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range bytes.Lines(b) {
		var r plain
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		want = append(want, r.String())
	}
	slices.Sort(want)
	got, err := readAll(t, s, p, 4)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) || len(want) != 215 {
		t.Fatalf("%d rows are read, %d expected", len(got), len(want))
	}
}

var place = Place{"root", "c1", "shop"}

// entry is a row of a table that is made by hand.
type entry struct{ key, value string }

func valueOf(data string) string {
	return string(pegasus.AppendValue(nil, pegasus.Value{Data: []byte(data)}))
}

// hashKeys are n hash keys of a partition.
func hashKeys(n int, index, count int32) []string {
	var keys []string
	for i := 0; len(keys) < n; i++ {
		k := fmt.Sprintf("key%06d", i)
		if base.InPartition(base.HashOf([]byte(k), nil), index, count) {
			keys = append(keys, k)
		}
	}
	return keys
}

func storedKey(hash string) string { return string(base.AppendKey(nil, []byte(hash), nil)) }

func tableOf(t testing.TB, rows []entry) []byte {
	var b bytes.Buffer
	w, err := table.NewWriter(&b, table.WriterOptions{})
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
	return b.Bytes()
}

// put writes the files of a partition by hand.
func put(t testing.TB, s *blob.Store, index int32, tables ...[]byte) Metadata {
	var m Metadata
	for i, b := range tables {
		sum := md5.Sum(b)
		f := remote.File{Name: fmt.Sprintf("%d.sst", i+1), Size: int64(len(b)), MD5: strings.ToUpper(hex.EncodeToString(sum[:]))}
		if _, err := s.PutBytes(t.Context(), blob.Join(place.Partition(index), f.Name), b); err != nil {
			t.Fatal(err)
		}
		m.Files = append(m.Files, f)
		m.Bytes += f.Size
	}
	if err := write(t.Context(), s, place.MetadataFile(index), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Of a key that several files have, the row of the last file counts. RocksDB does the same (tried with rocksdict 0.3.29).
func TestOverlap(t *testing.T) {
	s := store(t, t.TempDir())
	k := hashKeys(5, 0, 1)
	row := func(i int, v string) entry { return entry{storedKey(k[i]), valueOf(v)} }
	put(t, s, 0,
		tableOf(t, []entry{row(1, "first"), row(2, "first"), row(4, "first")}),
		tableOf(t, []entry{row(0, "second"), row(2, "second"), row(3, "second")}),
		tableOf(t, []entry{row(2, "third")}),
		tableOf(t, []entry{{"", valueOf("")}}))
	got, err := readAll(t, s, place, 1)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, v := range []string{"second", "first", "third", "second", "first"} {
		want = append(want, plain{0, []byte(k[i]), nil, []byte(v), false}.String())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// Whatever is wrong with the files is an error of its kind, which names the file.
func TestBadFiles(t *testing.T) {
	k, foreign := hashKeys(40, 1, 4), hashKeys(1, 2, 4)[0]
	good := func() []entry {
		var rows []entry
		for _, h := range k {
			rows = append(rows, entry{storedKey(h), valueOf(strings.Repeat(h, 30))})
		}
		return rows
	}
	with := func(e entry) []entry {
		rows := append(good(), e)
		slices.SortFunc(rows, func(a, b entry) int { return strings.Compare(a.key, b.key) })
		return rows
	}
	ctx := context.Background()
	file := func(name string) string { return blob.Join(place.Partition(1), name) }
	for _, tc := range []struct {
		name string
		rows []entry
		then func(t *testing.T, s *blob.Store, m Metadata)
		kind error
		text string
	}{
		{"a table that isn't there", nil, func(t *testing.T, s *blob.Store, _ Metadata) { s.Delete(ctx, file("1.sst")) }, ErrMissing, "root/c1/shop/1/1.sst: "},
		{"no metadata", nil, func(t *testing.T, s *blob.Store, _ Metadata) { s.Delete(ctx, place.MetadataFile(1)) }, ErrMissing, "bulk_load_metadata: "},
		{"metadata that is cut off", nil, func(t *testing.T, s *blob.Store, _ Metadata) {
			s.PutBytes(ctx, place.MetadataFile(1), []byte(`{"files":[{"name":"1.ss`))
		}, ErrDamaged, "bulk_load_metadata: it is no JSON"},
		{"no files", nil, func(t *testing.T, s *blob.Store, _ Metadata) {
			s.PutBytes(ctx, place.MetadataFile(1), []byte(`{"files":[],"file_total_size":0}`))
		}, ErrDamaged, "file_total_size is 0"},
		{"a table that is cut off", nil, func(t *testing.T, s *blob.Store, _ Metadata) {
			b, _ := s.Get(ctx, file("1.sst"), 1<<20)
			s.PutBytes(ctx, file("1.sst"), b[:len(b)-1])
		}, ErrDamaged, `1/1.sst: it has \d+ bytes, bulk_load_metadata says`},
		{"another MD5 in the store", nil, func(t *testing.T, s *blob.Store, _ Metadata) {
			b, _ := s.Get(ctx, file("1.sst"), 1<<20)
			b[100] ^= 1
			s.PutBytes(ctx, file("1.sst"), b)
		}, ErrDamaged, "1/1.sst: it was stored with MD5"},
		{"a row of another partition", with(entry{storedKey(foreign), valueOf("x")}), nil, ErrOther, "belongs to partition 2 of 4, and lies in the files of partition 1"},
		{"a key that is too short", with(entry{"\xff", valueOf("x")}), nil, ErrDamaged, "isn't that of a row"},
		{"a hash key of the reserved length", with(entry{"\xff\xff" + strings.Repeat("x", 65535), valueOf("x")}), nil, ErrDamaged, "isn't that of a row"},
		{"a value of an unknown version", with(entry{storedKey(k[0]) + "s", "\x83" + valueOf("x")}), nil, ErrFormat, "data version is 3"},
		{"a value that is too short", with(entry{storedKey(k[0]) + "s", "short"}), nil, ErrFormat, "data version 1 needs 12"},
		{"no table", nil, func(t *testing.T, s *blob.Store, _ Metadata) { put(t, s, 1, []byte(strings.Repeat("x", 1000))) }, ErrDamaged, "1/1.sst: 1.sst is damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := store(t, t.TempDir())
			rows := tc.rows
			if rows == nil {
				rows = good()
			}
			m := put(t, s, 1, tableOf(t, rows))
			if tc.then != nil {
				tc.then(t, s, m)
			}
			part, err := OpenPartition(ctx, s, place, 1, 4)
			if err == nil {
				var it *Rows
				if it, err = part.Rows(ctx, nil); err == nil {
					for it.Next() {
					}
					err = it.Close()
				}
			}
			if !errors.Is(err, tc.kind) || !Bad(err) || !matches(err.Error(), tc.text) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// Where the place knows no MD5, as HDFS, it is found out when the files were read; and blocks have checksums of their own.
func TestFlippedBits(t *testing.T) {
	root := t.TempDir()
	s := store(t, root)
	var rows []entry
	for _, h := range hashKeys(40, 0, 1) {
		rows = append(rows, entry{storedKey(h), valueOf(h)})
	}
	m := put(t, s, 0, tableOf(t, rows))
	path := filepath.Join(root, place.Partition(0), "1.sst")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 13 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readAll(t, s, place, 1); !Bad(err) {
			t.Fatalf("byte %d of %d is another one: %v", at, m.Bytes, err)
		}
	}
}

func TestWriter(t *testing.T) {
	s := store(t, t.TempDir())
	ctx := t.Context()
	w, err := Create(ctx, s, WriterOptions{Place: place, AppID: 7, Partitions: 4, TableSize: 2000})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, i := range []int32{0, 3} { // 1 and 2 have no rows
		for _, h := range hashKeys(200, i, 4) {
			if err := w.Add(i, []byte(storedKey(h)), pegasus.Value{Data: []byte("v" + h), ExpireTS: uint32(i), Timetag: 5 << 8}); err != nil {
				t.Fatal(err)
			}
			want = append(want, plain{i, []byte(h), nil, []byte("v" + h), i > 0}.String())
		}
	}
	if _, err := s.Stat(ctx, place.InfoFile()); !errors.Is(err, blob.ErrNotFound) {
		t.Fatalf("bulk_load_info is there before the end: %v", err)
	}
	written, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if written.Rows != 400 || written.Files < 6 || written.Bytes < 2000 {
		t.Fatalf("%+v", written)
	}
	info, err := ReadInfo(ctx, s, place)
	if err != nil || info != (Info{7, "shop", 4}) {
		t.Fatalf("%+v: %v", info, err)
	}
	got, err := readAll(t, s, place, 4)
	if slices.Sort(want); err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d rows, want %d: %v", len(got), len(want), err)
	}
	for _, tc := range []struct {
		id, count int32
		text      string
	}{{8, 4, "a table with id 7, table shop has 8"}, {7, 8, "for 4 partitions, table shop has 8"}} {
		if err := info.CheckTable(s, place, tc.id, tc.count); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := Create(ctx, s, WriterOptions{Place: place, AppID: 7, Partitions: 4}); !errors.Is(err, ErrThere) {
		t.Fatalf("files are written over others: %v", err)
	}
	if err := w.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadInfo(ctx, s, place); !errors.Is(err, ErrMissing) {
		t.Fatalf("after Abort: %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	s := store(t, t.TempDir())
	ctx := t.Context()
	for _, o := range []WriterOptions{
		{Place: Place{"", "c/d", "t"}, AppID: 1, Partitions: 4}, {Place: Place{"", "c", ""}, AppID: 1, Partitions: 4}, {Place: Place{"../x", "c", "t"}, AppID: 1, Partitions: 4},
		{Place: place, AppID: 0, Partitions: 4}, {Place: place, AppID: 1, Partitions: 0},
	} {
		if _, err := Create(ctx, s, o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	k := hashKeys(2, 1, 4)
	for name, add := range map[string]func(w *Writer) error{
		"another partition": func(w *Writer) error { return w.Add(2, []byte(storedKey(k[0])), pegasus.Value{}) },
		"a key twice":       func(w *Writer) error { return w.Add(1, []byte(storedKey(k[1])), pegasus.Value{}) },
		"an expiry too far": func(w *Writer) error { return w.Add(1, []byte(storedKey(k[1])+"z"), pegasus.Value{ExpireTS: 1 << 31}) },
		"an earlier partition": func(w *Writer) error {
			return w.Add(0, []byte(storedKey(hashKeys(1, 0, 4)[0])), pegasus.Value{})
		},
	} {
		w, err := Create(ctx, s, WriterOptions{Place: place, AppID: 1, Partitions: 4})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(1, []byte(storedKey(k[1])), pegasus.Value{}); err != nil {
			t.Fatal(err)
		}
		if err := add(w); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := w.Close(); err == nil {
			t.Errorf("%s: written all the same", name)
		}
		if err := w.Abort(ctx); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(ctx, place.Dir()); !errors.Is(err, blob.ErrNotFound) && len(list) > 0 {
			t.Errorf("%s: %v is left", name, list)
		}
	}
}
