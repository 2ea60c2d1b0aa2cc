package rocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/rocks/damage"
	"pegasus/rocks/table"
)

// tool runs a tool of RocksDB's own, which Debian's package rocksdb-tools has.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install rocksdb-tools", name)
		}
		t.Skipf("%s is missing: install rocksdb-tools", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// randomRows are rows with keys of many lengths, shared prefixes, the empty key, zero bytes, values of up to 20 KB.
func randomRows(n int) []row {
	r := rand.New(rand.NewPCG(14, 1))
	keys := map[string]bool{"": true, "\x00": true, "\x00\x00": true, "\xff\xff\xff": true}
	for len(keys) < n {
		k := fmt.Appendf(nil, "\x00\x05hash%c", 'a'+r.IntN(20))
		for range r.IntN(30) {
			k = append(k, byte(r.IntN(256)))
		}
		keys[string(k)] = true
	}
	var rows []row
	for k := range keys {
		v := make([]byte, r.IntN(200))
		if r.IntN(100) == 0 {
			v = make([]byte, r.IntN(20000))
		}
		for i := range v {
			v[i] = byte(r.IntN(1 + r.IntN(255)))
		}
		rows = append(rows, row{"default", k, string(v)})
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.Key, b.Key) })
	return rows
}

var metaRows = []row{{"pegasus_meta_cf", "pegasus_data_version", "1"}, {"pegasus_meta_cf", "pegasus_last_flushed_decree", "42"}}

func writeDB(t testing.TB, sink Sink, o WriterOptions, rows []row) Written {
	t.Helper()
	o.Families = []string{"default", "pegasus_meta_cf"}
	w, err := Create(context.Background(), sink, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Add(slices.Index(o.Families, r.Family), []byte(r.Key), []byte(r.Value)); err != nil {
			t.Fatal(err)
		}
	}
	done, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// What is written reads back, and RocksDB itself opens it, checks it and shows the same rows.
func TestWritten(t *testing.T) {
	for _, c := range []table.Compression{table.NoCompression, table.Snappy, table.Zstd} {
		t.Run(c.String(), func(t *testing.T) {
			rows := append(randomRows(20000), metaRows...)
			dir := t.TempDir()
			done := writeDB(t, Local(dir), WriterOptions{Compression: c, TableSize: 300 << 10}, rows)
			got, err := readDB(Local(dir))
			if err != nil || !slices.Equal(got, rows) {
				t.Fatalf("%d rows, want %d, %v", len(got), len(rows), err)
			}
			files, err := Local(dir).List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var size int64
			for _, name := range done.Files {
				size += files[name]
			}
			if done.Rows != uint64(len(rows)) || len(files) != len(done.Files) || size != done.Bytes || len(files) < 10 {
				t.Fatalf("%+v, files %v", done, files)
			}

			if out := tool(t, "sst_dump", "--file="+dir, "--command=verify"); strings.Count(out, "The file is ok") != len(files)-4 {
				t.Fatalf("sst_dump:\n%s", out)
			}
			checkScan(t, dir, rows)
			if out := tool(t, "ldb", "--db="+dir, "checkconsistency"); !strings.Contains(out, "OK") {
				t.Fatalf("ldb checkconsistency:\n%s", out)
			}
			// And it is a database like any other: RocksDB writes to it, compacts it, and is read again.
			tool(t, "ldb", "--db="+dir, "--hex", "put", "0x0001AA", "0x01")
			tool(t, "ldb", "--db="+dir, "compact")
			rows = append(rows, row{"default", "\x00\x01\xaa", "\x01"})
			slices.SortFunc(rows, func(a, b row) int {
				return strings.Compare(a.Family+"\x00"+a.Key, b.Family+"\x00"+b.Key)
			})
			if got, err := readDB(Local(dir)); err != nil || !slices.Equal(got, rows) {
				t.Fatalf("after RocksDB wrote a row and compacted: %d rows, want %d, %v", len(got), len(rows), err)
			}
		})
	}
}

// checkScan compares with what ldb shows.
func checkScan(t *testing.T, dir string, rows []row) {
	t.Helper()
	for _, family := range []string{"default", "pegasus_meta_cf"} {
		var want strings.Builder
		for _, r := range rows {
			if r.Family == family {
				fmt.Fprintf(&want, "0x%X : 0x%X\n", r.Key, r.Value)
			}
		}
		if out := tool(t, "ldb", "--db="+dir, "--column_family="+family, "--hex", "scan"); out != want.String() {
			t.Fatalf("ldb scan of %s gives %d bytes, want %d", family, len(out), want.Len())
		}
	}
}

// A database without rows has its families all the same.
func TestWrittenEmpty(t *testing.T) {
	dir := t.TempDir()
	writeDB(t, Local(dir), WriterOptions{}, metaRows)
	checkScan(t, dir, metaRows)
	db, err := Open(context.Background(), Local(dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := readFamily(db, "default", Bounds{}); err != nil || len(rows) > 0 {
		t.Fatalf("%v, %v", rows, err)
	}
}

// A table in another one's place is found, though both are whole and of one size.
func TestExchangedTables(t *testing.T) {
	var rows []row
	for i := range 2000 {
		rows = append(rows, row{"default", fmt.Sprintf("k%05d", i), fmt.Sprintf("v%05d", i)})
	}
	dir := t.TempDir()
	writeDB(t, Local(dir), WriterOptions{Compression: table.NoCompression, TableSize: 2000}, rows)
	db, err := Open(context.Background(), Local(dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	tables := db.Tables("default")
	i := 1
	for tables[i].Size != tables[0].Size {
		i++
	}
	m := load(t, dir)
	a, b := tableName(tables[0].Number), tableName(tables[i].Number)
	m[a], m[b] = m[b], m[a]
	var d *damage.Error
	if _, err := readDB(m); !errors.As(err, &d) || d.File != a || d.Kind != damage.Files {
		t.Fatalf("got %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	for _, o := range []WriterOptions{
		{}, {Families: []string{"x"}}, {Families: []string{"default", "default"}}, {Families: []string{"default", ""}},
		{Families: []string{"default"}, Compression: table.LZ4},
	} {
		if _, err := Create(context.Background(), Local(t.TempDir()), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for _, second := range []string{"b", "a"} {
		dir := t.TempDir()
		w, err := Create(context.Background(), Local(dir), WriterOptions{Families: []string{"default"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(0, []byte("b"), nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Add(0, []byte(second), nil); err == nil {
			t.Errorf("%q after \"b\" is accepted", second)
		}
		if _, err := w.Close(); err == nil {
			t.Error("a database that lacks a row is written")
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%v are left", files)
		}
	}
}

// failing is a Sink whose nth write fails, or whose nth file can't be committed.
type failing struct {
	Sink
	writes, commits int
}

type failingFile struct {
	SinkFile
	s *failing
}

var errFull = errors.New("no space left")

func (s *failing) Create(ctx context.Context, name string) (SinkFile, error) {
	f, err := s.Sink.Create(ctx, name)
	return failingFile{f, s}, err
}

func (f failingFile) Write(p []byte) (int, error) {
	if f.s.writes--; f.s.writes == 0 {
		return 0, errFull
	}
	return f.SinkFile.Write(p)
}

func (f failingFile) Commit(ctx context.Context) error {
	if f.s.commits--; f.s.commits == 0 {
		f.SinkFile.Abort()
		return errFull
	}
	return f.SinkFile.Commit(ctx)
}

// Wherever the disk is full, the writer says so, and leaves no database and nothing half written.
func TestDiskFull(t *testing.T) {
	var rows []row
	for i := range 300 {
		rows = append(rows, row{"default", fmt.Sprintf("k%05d", i), strings.Repeat("v", 100)})
	}
	try := func(s *failing, dir string) error {
		s.Sink = Local(dir)
		w, err := Create(context.Background(), s, WriterOptions{Families: []string{"default"}, TableSize: 9000})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if err = w.Add(0, []byte(r.Key), []byte(r.Value)); err != nil {
				break
			}
		}
		if _, closed := w.Close(); (err == nil) != (closed == nil) && err != nil {
			t.Fatalf("%v, and then %v", err, closed)
		} else {
			return closed
		}
		return err
	}
	failed := 0
	for n := 1; ; n++ {
		dir := t.TempDir()
		err := try(&failing{writes: n}, dir)
		if err == nil {
			break
		}
		failed++
		checkNoDatabase(t, dir, err)
	}
	for n := 1; ; n++ {
		dir := t.TempDir()
		err := try(&failing{commits: n}, dir)
		if err == nil {
			break
		}
		failed++
		checkNoDatabase(t, dir, err)
	}
	if failed < 20 {
		t.Fatalf("%d places failed", failed)
	}
}

func checkNoDatabase(t *testing.T, dir string, err error) {
	t.Helper()
	if !errors.Is(err, errFull) {
		t.Fatalf("got %v", err)
	}
	if _, err := Open(context.Background(), Local(dir), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("what is left opens: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Fatalf("%v are left", left)
	}
}

func TestWriterIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	w, err := Create(ctx, Local(dir), WriterOptions{Families: []string{"default"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(0, []byte("a"), bytes.Repeat([]byte("v"), 100)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Fatalf("%v are left", files)
	}
}
