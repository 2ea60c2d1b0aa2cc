package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/blob"
	"pegasus/gen/layer2"
	"pegasus/internal/repo"
	"pegasus/rocks/pegasus"
)

// made is n rows that are made while they are read. Each seventh expires in 2100, each eleventh expired in 2020.
type made struct {
	n, i  int
	key   []byte
	v     pegasus.Value
	fill  int // bytes of a value
	fails error
}

var taken = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func (m *made) Next() bool {
	if m.i >= m.n {
		return false
	}
	i := m.i
	m.i++
	m.key = base.AppendKey(m.key[:0], fmt.Appendf(nil, "hash%07d", i/10), fmt.Appendf(nil, "sort%d", i%10))
	m.v = pegasus.Value{Timetag: uint64(i)<<8 | 2, Data: fmt.Appendf(m.v.Data[:0], "value of row %d", i)}
	switch {
	case i%7 == 0:
		m.v.ExpireTS = Clock(time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC))
	case i%11 == 0:
		m.v.ExpireTS = Clock(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	if m.fill > 0 {
		r := rand.NewPCG(uint64(i), 1)
		for len(m.v.Data) < m.fill {
			m.v.Data = append(m.v.Data, byte(r.Uint64()))
		}
	}
	return true
}

func (m *made) Key() []byte          { return m.key }
func (m *made) Value() pegasus.Value { return m.v }
func (m *made) Err() error           { return m.fails }

var ourTable = Location{Path: "some/where", Cluster: "c1", ID: 1796000000000}.Table("a_table", 7)

func options(partition int32) WriteOptions {
	return WriteOptions{Table: ourTable, Partition: partition, Checkpoint: CheckpointName("host.example", 34801), Decree: 77, Taken: taken, TableSize: 256 << 10}
}

// writeTable writes a complete backup of one table.
func writeTable(t testing.TB, s *blob.Store, partitions int32, rows int) {
	t.Helper()
	ctx := context.Background()
	info := layer2.NewAppInfo()
	info.Status, info.AppName, info.AppId, info.AppType, info.PartitionCount = layer2.AS_AVAILABLE, ourTable.Name, ourTable.AppID, "pegasus", partitions
	if err := WriteTable(ctx, s, ourTable.Location, &info); err != nil {
		t.Fatal(err)
	}
	for i := range partitions {
		if _, err := WritePartition(ctx, s, &made{n: rows}, options(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := FinishTable(ctx, s, ourTable, partitions); err != nil {
		t.Fatal(err)
	}
	if err := Finish(ctx, s, ourTable.Location, NewInfo(ourTable.ID, ourTable.ID, ourTable.ID+5, map[int32]string{7: ourTable.Name})); err != nil {
		t.Fatal(err)
	}
}

// TestWritten: what is written reads back, by us and by RocksDB.
func TestWritten(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	o := options(3)
	var progress, paced, sent int64
	o.Progress = func(n int64) { progress = n }
	o.Pace = func(_ context.Context, n int) error { paced += int64(n); return nil }
	files := make(chan int64, 10000)
	o.Sent = func(_ string, n int64) { files <- n }
	m, err := WritePartition(ctx, s, &made{n: n}, o)
	if err != nil {
		t.Fatal(err)
	}
	close(files)
	for n := range files {
		sent += n
	}
	want := NewDigest(Clock(taken))
	for r := (&made{n: n}); r.Next(); {
		want.Add(r.Key(), r.Value())
	}
	expired := 0
	for i := range n {
		if i%7 != 0 && i%11 == 0 {
			expired++
		}
	}
	if m.Rows != int64(n-expired) || m.Sum() != want.Sum() || m.Decree != 77 {
		t.Fatalf("%+v, want %+v", m, want.Sum())
	}
	if progress != m.RowBytes || paced != m.RowBytes {
		t.Errorf("progress %d, paced %d of %d bytes", progress, paced, m.RowBytes)
	}
	dir := ourTable.Partition(3)
	var read int64
	p, err := OpenPartition(ctx, s, dir, OpenOptions{Read: func(n int64) { read += n }})
	if err != nil {
		t.Fatal(err)
	}
	if p.Metadata.Decree != 77 || p.Metadata.Taken != taken.UnixMilli() || p.Meta().FlushedDecree != 77 || p.Meta().DataVersion != 1 || p.Metadata.Bytes != sent {
		t.Errorf("%+v, %+v, sent %d", p.Metadata, p.Meta(), sent)
	}
	if len(p.Metadata.Files) < 8 {
		t.Errorf("%d files: the test is about many", len(p.Metadata.Files))
	}
	for range 2 { // the second time from new
		rows, err := p.Rows(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r := &made{n: n}
		count := int64(0)
		for rows.Next() {
			for r.Next() && r.Value().Expired(Clock(taken)) {
			}
			got, want := rows.Value(), r.Value()
			if string(rows.Key()) != string(r.Key()) || got.ExpireTS != want.ExpireTS || got.Timetag != want.Timetag || string(got.Data) != string(want.Data) {
				t.Fatalf("row %d is %q %+v, want %q %+v", count, rows.Key(), got, r.Key(), want)
			}
			count++
		}
		if err := rows.Close(); err != nil || count != m.Rows {
			t.Fatalf("%d rows, %v", count, err)
		}
	}
	if read != p.Metadata.Bytes {
		t.Errorf("told of %d bytes read, the files have %d", read, p.Metadata.Bytes)
	}

	db := filepath.Join(root, dir, o.Checkpoint)
	out := tool(t, "ldb", "--db="+db, "--hex", "scan")
	marker, rest, _ := strings.Cut(out, "\n")
	if !strings.HasPrefix(marker, "0x : 0x") || strings.Count(rest, "\n") != int(m.Rows) {
		t.Errorf("ldb scan: the first row is %q, then %d rows", marker, strings.Count(rest, "\n"))
	}
	first := &made{n: 1}
	first.Next()
	if line := fmt.Sprintf("0x%X : 0x%X\n", first.Key(), pegasus.AppendValue(nil, first.Value())); !strings.HasPrefix(rest, line) {
		t.Errorf("ldb scan: %.200q, want %q", rest, line)
	}
	if out := tool(t, "ldb", "--db="+db, "checkconsistency"); !strings.Contains(out, "OK") {
		t.Errorf("ldb checkconsistency: %q", out)
	}

	if _, err := WritePartition(ctx, s, &made{n: 1}, o); !errors.Is(err, ErrComplete) {
		t.Errorf("written again: %v", err)
	}
	if c, err := Current(ctx, s, dir); err != nil || c != o.Checkpoint {
		t.Errorf("%q, %v", c, err)
	}
	if c, err := Current(ctx, s, ourTable.Partition(2)); err != nil || c != "" {
		t.Errorf("%q, %v", c, err)
	}
}

// tool runs a program of RocksDB, which Debian has in rocksdb-tools; without it the test is skipped, but in CI.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install rocksdb-tools", name)
		}
		t.Skipf("%s is missing: install rocksdb-tools", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%.2000s", name, args, err, out)
	}
	return string(out)
}

// TestWriteFails: a partition that wasn't written to its end isn't complete, and the next attempt leaves nothing of it.
func TestWriteFails(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	stop := errors.New("enough")
	o := options(0)
	taken := 0
	o.Pace = func(context.Context, int) error {
		if taken++; taken == 20 {
			return stop
		}
		return nil
	}
	if _, err := WritePartition(ctx, s, &made{n: 100_000}, o); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if _, err := OpenPartition(ctx, s, ourTable.Partition(0), OpenOptions{}); !errors.Is(err, ErrIncomplete) || !Damaged(err) {
		t.Fatal(err)
	}
	o.Pace = nil
	if _, err := WritePartition(ctx, s, &made{n: 100, fails: stop}, o); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	o.Pace = func(context.Context, int) error { cancel(); return nil }
	if _, err := WritePartition(canceled, s, &made{n: 100_000}, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Pace = nil
	if _, err := WritePartition(ctx, s, &made{n: 100}, o); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{currentFile: true, metadataFile: true, manifestFile: true}
	p, err := OpenPartition(ctx, s, ourTable.Partition(0), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Metadata.Files {
		there[f.Name] = true
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !there[e.Name()] {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRecordedWrittenAgain: rows of the C++ cluster go through our writer.
func TestRecordedWrittenAgain(t *testing.T) {
	g := repo.Golden(t)
	ctx := context.Background()
	r := allRecorded[0]
	from := openStore(t, filepath.Join(g, r.tree))
	to := openStore(t, t.TempDir())
	for i := range r.partitions {
		p, err := OpenPartition(ctx, from, r.table.Partition(i), OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := p.Rows(ctx)
		if err != nil {
			t.Fatal(err)
		}
		o := options(i)
		o.Table = r.table
		o.Decree = p.Metadata.Decree
		if _, err := WritePartition(ctx, to, rows, o); err != nil {
			t.Fatal(err)
		}
		rows.Close()
	}
	sameRows(t, "the copy", live(t, to, r.table, r.partitions, r.clock()), r.expected(t, g))
}

// TestLateWriter: what a server writes that nobody reaches any more doesn't take the place of what another one has completed.
func TestLateWriter(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	late, other := options(0), options(0)
	other.Checkpoint = CheckpointName("other.example", 34801)
	begun := false
	late.Pace = func(context.Context, int) error {
		if begun {
			return nil
		}
		begun = true
		_, err := WritePartition(ctx, s, &made{n: 100}, other)
		return err
	}
	if _, err := WritePartition(ctx, s, &made{n: 50}, late); !errors.Is(err, ErrComplete) {
		t.Fatalf("written although it is complete: %v", err)
	}
	p, err := OpenPartition(ctx, s, ourTable.Partition(0), OpenOptions{})
	if err != nil || p.Checkpoint != other.Checkpoint {
		t.Fatalf("%+v, %v", p, err)
	}
	list, err := s.List(ctx, ourTable.Partition(0))
	if err != nil || len(list) != 2 {
		t.Errorf("there are %+v, %v", list, err)
	}
}

// TestTableNames: a table whose name leads out of the backup, or can't be a directory's, isn't written.
func TestTableNames(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	for _, name := range []string{"", "..", "../1796000000001/a_table", "a/b", `a\b`, ".hidden", "a\x00b", "a\nb", "\xff\xfe", strings.Repeat("n", 199)} {
		table := ourTable.Location.Table(name, 7)
		if err := table.Check(); !errors.Is(err, blob.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
		info := layer2.NewAppInfo()
		info.AppName, info.AppId, info.PartitionCount = name, 7, 1
		if err := WriteTable(ctx, s, ourTable.Location, &info); !errors.Is(err, blob.ErrInvalid) {
			t.Errorf("%q is written: %v", name, err)
		}
	}
	if list, err := s.List(ctx, ""); err != nil || len(list) != 0 {
		t.Errorf("there are %+v, %v", list, err)
	}
	for _, name := range []string{"a_table", infoFile, "Größe", "a..b", "a b", "7_7", strings.Repeat("n", 190)} {
		if err := ourTable.Location.Table(name, 7).Check(); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
