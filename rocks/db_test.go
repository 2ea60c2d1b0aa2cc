package rocks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pegasus/rocks/damage"
)

// memoryDir is a Dir.
type memoryDir map[string][]byte

func (m memoryDir) List(ctx context.Context) (map[string]int64, error) {
	sizes := map[string]int64{}
	for name, b := range m {
		sizes[name] = int64(len(b))
	}
	return sizes, ctx.Err()
}

func (m memoryDir) Open(ctx context.Context, name string) (File, error) {
	b, ok := m[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return memoryFile{bytes.NewReader(b)}, ctx.Err()
}

type memoryFile struct{ r *bytes.Reader }

func (f memoryFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return f.r.ReadAt(p, off)
}

func (f memoryFile) Close() error { return nil }

func load(t testing.TB, dir string) memoryDir {
	t.Helper()
	m := memoryDir{}
	sizes, err := Local(dir).List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name := range sizes {
		if m[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

type row struct{ Family, Key, Value string }

func expectedRows(t testing.TB, file string) []row {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []row
	s := bufio.NewScanner(f)
	for s.Scan() {
		var r row
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if s.Err() != nil || len(rows) == 0 {
		t.Fatalf("%d rows, %v", len(rows), s.Err())
	}
	return rows
}

func readFamily(db *DB, family string, b Bounds) ([]row, error) {
	it, err := db.NewIter(context.Background(), family, b)
	if err != nil {
		return nil, err
	}
	var rows []row
	for it.Next() {
		rows = append(rows, row{family, string(it.Key()), string(it.Value())})
	}
	return rows, it.Close()
}

func readDB(dir Dir) ([]row, error) {
	db, err := Open(context.Background(), dir, Options{})
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, f := range db.Families() {
		r, err := readFamily(db, f, Bounds{})
		if err != nil {
			return nil, err
		}
		rows = append(rows, r...)
	}
	return rows, nil
}

// Rows of a database that RocksDB wrote are those that RocksDB shows.
func TestMergedView(t *testing.T) {
	want := expectedRows(t, "testdata/mixed.jsonl")
	got, err := readDB(Local("testdata/mixed"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	db, err := Open(context.Background(), Local("testdata/mixed"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := db.Families(); !slices.Equal(got, []string{"default", "other"}) {
		t.Errorf("families %q", got)
	}
	levels := map[int]int{}
	for _, f := range db.Tables("default") {
		levels[f.Level]++
	}
	if levels[0] < 5 || levels[6] < 2 {
		t.Errorf("the database has %v tables by level: it tests too little", levels)
	}
	if _, err := db.NewIter(context.Background(), "gone", Bounds{}); !errors.Is(err, ErrNoFamily) {
		t.Errorf("a dropped family: %v", err)
	}
}

func TestBounds(t *testing.T) {
	var all []row
	for _, r := range expectedRows(t, "testdata/mixed.jsonl") {
		if r.Family == "default" {
			all = append(all, r)
		}
	}
	db, err := Open(context.Background(), load(t, "testdata/mixed"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"", "key0000", "key0000\x00", "key0123", "key0200~", "key0399", "l"}
	for _, lower := range keys {
		for _, upper := range keys {
			b := Bounds{Lower: []byte(lower), Upper: []byte(upper)}
			var want []row
			for _, r := range all {
				if r.Key >= lower && r.Key < upper {
					want = append(want, r)
				}
			}
			got, err := readFamily(db, "default", b)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("from %q below %q: %d rows, want %d, %v", lower, upper, len(got), len(want), err)
			}
		}
	}
}

// What could hide or change rows is refused, by the name of its file.
func TestRefused(t *testing.T) {
	for dir, want := range map[string]string{
		"range": "000009.sst has range tombstones",
		"blob":  "MANIFEST-000005 has blob files",
		"log":   "000008.log has a write-ahead log",
	} {
		_, err := readDB(Local("testdata/" + dir))
		var u *damage.Unsupported
		if !errors.As(err, &u) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

// A directory that isn't whole is an error that names the file.
func TestDamagedDirectory(t *testing.T) {
	whole := load(t, "testdata/mixed")
	db, err := Open(context.Background(), whole, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tables := db.Tables("default")
	a, b := tableName(tables[0].Number), tableName(tables[1].Number)
	for name, c := range map[string]struct {
		change func(m memoryDir)
		file   string
		kind   damage.Kind
	}{
		"no CURRENT":        {func(m memoryDir) { delete(m, "CURRENT") }, "CURRENT", damage.Files},
		"empty CURRENT":     {func(m memoryDir) { m["CURRENT"] = nil }, "CURRENT", damage.Files},
		"CURRENT elsewhere": {func(m memoryDir) { m["CURRENT"] = []byte("MANIFEST-../x\n") }, "CURRENT", damage.Files},
		"CURRENT no end":    {func(m memoryDir) { m["CURRENT"] = []byte("MANIFEST-000005") }, "CURRENT", damage.Files},
		"no manifest":       {func(m memoryDir) { delete(m, "MANIFEST-000005") }, "MANIFEST-000005", damage.Files},
		"empty manifest":    {func(m memoryDir) { m["MANIFEST-000005"] = nil }, "MANIFEST-000005", damage.Record},
		"manifest cut":      {func(m memoryDir) { m["MANIFEST-000005"] = m["MANIFEST-000005"][:700] }, "MANIFEST-000005", damage.Record},
		"manifest flipped":  {func(m memoryDir) { m["MANIFEST-000005"][700] ^= 4 }, "MANIFEST-000005", damage.Checksum},
		"table gone":        {func(m memoryDir) { delete(m, a) }, a, damage.Files},
		"table cut":         {func(m memoryDir) { m[a] = m[a][:len(m[a])-1] }, a, damage.Files},
		"tables exchanged":  {func(m memoryDir) { m[a], m[b] = m[b], m[a] }, "", damage.Files},
	} {
		m := memoryDir{}
		for name, b := range whole {
			m[name] = bytes.Clone(b)
		}
		c.change(m)
		_, err := readDB(m)
		var d *damage.Error
		if !errors.As(err, &d) || c.file != "" && d.File != c.file || d.Kind != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Each flipped byte of a table is found, wherever it lies in the database.
	for _, f := range tables {
		m := maps.Clone(whole)
		name := tableName(f.Number)
		m[name] = bytes.Clone(m[name])
		m[name][100] ^= 0x10
		if _, err := readDB(m); err == nil || !strings.HasPrefix(err.Error(), name+" is damaged at offset 0 (checksum)") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, Local("testdata/mixed"), Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, err := Open(context.Background(), Local("testdata/nowhere"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

// counting is a Dir that notes how many files are open at once, and how much is read at once.
type counting struct {
	Dir
	open, most, largest int
}

type countingFile struct {
	File
	c *counting
}

func (c *counting) Open(ctx context.Context, name string) (File, error) {
	f, err := c.Dir.Open(ctx, name)
	if err == nil {
		c.open++
		c.most = max(c.most, c.open)
	}
	return countingFile{f, c}, err
}

func (f countingFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.c.largest = max(f.c.largest, len(p))
	return f.File.ReadAt(ctx, p, off)
}

func (f countingFile) Close() error {
	f.c.open--
	return f.File.Close()
}

// Of tables that don't overlap one is open at a time, however many there are; of those that overlap, each; and at the end, none.
func TestMemoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	var rows []row
	for i := range 20000 {
		rows = append(rows, row{"default", fmt.Sprintf("k%05d", i), strings.Repeat("v", 100)})
	}
	writeDB(t, Local(dir), WriterOptions{TableSize: 50_000}, rows)
	for path, most := range map[string]int{dir: 1, "testdata/mixed": 8} {
		c := &counting{Dir: Local(path)}
		db, err := Open(context.Background(), c, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(db.Tables("default")); path == dir && n < 30 {
			t.Fatalf("%d tables", n)
		}
		if _, err := readFamily(db, "default", Bounds{}); err != nil {
			t.Fatal(err)
		}
		if c.most != most || c.open != 0 || c.largest > maxTableAhead {
			t.Errorf("%s: %d tables were open at once, %d at the end; the largest read had %d bytes", path, c.most, c.open, c.largest)
		}
		it, err := db.NewIter(context.Background(), "default", Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		it.Next()
		if it.Close(); c.open != 0 {
			t.Errorf("%s: %d tables are open after an iterator was given up", path, c.open)
		}
	}
}
