package pegasus

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/internal/repo"
	"pegasus/rocks"
	"pegasus/rocks/table"
)

// A million rows that we write: RocksDB checks each table and counts them, and we read them back.
func TestWriteMillion(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	dir := t.TempDir()
	w, err := Create(context.Background(), rocks.Local(dir), WriterOptions{Compression: table.Snappy, TableSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	row := func(i int, key, data []byte) ([]byte, Value) {
		key = base.AppendKey(key[:0], fmt.Appendf(nil, "hash%05d", i/100), fmt.Appendf(nil, "sort%02d", i%100))
		v := Value{Timetag: uint64(i) << 8, Data: fmt.Appendf(data[:0], "the value of row %d", i)}
		if i%3 == 0 {
			v.ExpireTS = uint32(1 + i)
		}
		return key, v
	}
	var key, data []byte
	for i := range n {
		var v Value
		key, v = row(i, key, data)
		if err := w.Add(key, v); err != nil {
			t.Fatal(err)
		}
	}
	meta := Meta{FlushedDecree: 12345, CompactFinish: 1795389434484, UsageScenario: "normal"}
	done, err := w.Close(meta)
	if err != nil {
		t.Fatal(err)
	}
	if done.Rows != uint64(n+1+4) || done.Files[len(done.Files)-1] != "CURRENT" {
		t.Fatalf("%d rows, files %q", done.Rows, done.Files)
	}

	r, err := Open(context.Background(), rocks.Local(dir), rocks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	meta.DataVersion = 1
	if r.Meta() != meta {
		t.Fatalf("%+v, want %+v", r.Meta(), meta)
	}
	rows, err := r.Rows(context.Background(), rocks.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for ; rows.Next(); i++ {
		got := rows.Row()
		k, want := row(i, key, data)
		if string(got.Key) != string(k) || got.ExpireTS != want.ExpireTS || got.Timetag != want.Timetag || string(got.Data) != string(want.Data) {
			t.Fatalf("row %d is %+v, want %+v", i, got, want)
		}
	}
	if err := rows.Close(); err != nil || i != n {
		t.Fatalf("%d rows, want %d, %v", i, n, err)
	}

	if out := tool(t, "ldb", "--db="+dir, "dump", "--count_only"); !strings.Contains(out, fmt.Sprintf("Keys in range: %d\n", n+1)) {
		t.Errorf("ldb dump: %.2000s", out)
	}
	if out := tool(t, "sst_dump", "--file="+dir, "--command=verify"); strings.Count(out, "The file is ok") != len(done.Files)-4 || strings.Contains(out, "corrupted") {
		t.Errorf("sst_dump: %.2000s", out)
	}
	want := "pegasus_data_version : 1\npegasus_last_flushed_decree : 12345\npegasus_last_manual_compact_finish_time : 1795389434484\nrocksdb.usage_scenario : normal\n"
	if out := tool(t, "ldb", "--db="+dir, "--column_family="+MetaFamily, "scan"); out != want {
		t.Errorf("ldb scan of %s: %q", MetaFamily, out)
	}
	// The first row is the marker.
	if out := tool(t, "ldb", "--db="+dir, "--hex", "scan", "--max_keys=1"); !strings.HasPrefix(out, "0x : 0x000000000000000000000000\n") {
		t.Errorf("the first row is %.200q", out)
	}
}

// tool runs a tool of RocksDB's own, which Debian's package rocksdb-tools has.
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

func TestWriterRefusesRows(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(context.Background(), rocks.Local(dir), WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add([]byte("\x00"), Value{}); err == nil {
		t.Error("a key of one byte is written")
	}
	if err := w.Add([]byte("\x00\x05hash"), Value{}); err == nil {
		t.Error("a hash key that is cut off is written")
	}
	if err := w.Add([]byte("\x00\x00a"), Value{ExpireTS: 1 << 31}); err == nil {
		t.Error("a value that would say another data version is written")
	}
	w.Abort()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// The recorded data of the C++ server, written by us, has the same rows.
func TestGoldenWrittenAgain(t *testing.T) {
	g := repo.Golden(t)
	type stored struct{ key, value string }
	read := func(dir string) (rows []stored, meta Meta) {
		r, err := Open(context.Background(), rocks.Local(dir), rocks.Options{})
		if err != nil {
			t.Fatal(err)
		}
		it, err := r.Rows(context.Background(), rocks.Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			rows = append(rows, stored{string(it.Row().Key), string(AppendValue(nil, it.Row().Value))})
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return rows, r.Meta()
	}
	for _, dir := range glob(t, g, "data-compacted/replica/reps/1.*.pegasus/data/rdb") {
		rows, meta := read(dir)
		copied := t.TempDir()
		w, err := Create(context.Background(), rocks.Local(copied), WriterOptions{Compression: table.Zstd, TableSize: 20000})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			v, err := ParseValue(1, []byte(r.value))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Add([]byte(r.key), v); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(meta); err != nil {
			t.Fatal(err)
		}
		again, meta2 := read(copied)
		if len(rows) < 400 || !slices.Equal(again, rows) || meta2 != meta {
			t.Fatalf("%s: %d rows, written again %d; %+v, written again %+v", dir, len(rows), len(again), meta, meta2)
		}
		if a, b := ldbRows(t, dir), ldbRows(t, copied); a != b {
			t.Fatalf("%s: RocksDB shows %d bytes of the C++ server's data, %d of ours", dir, len(a), len(b))
		}
	}
}

// ldbRows is what ldb shows of a copy of the directory (it writes to what it opens), but for the row with the empty key, whose timetag has the
// cluster's id.
func ldbRows(t *testing.T, dir string) string {
	t.Helper()
	c := t.TempDir()
	if err := os.CopyFS(c, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("chmod", "-R", "u+w", c).Run(); err != nil {
		t.Fatal(err)
	}
	marker, rows, _ := strings.Cut(tool(t, "ldb", "--db="+c, "--ignore_unknown_options", "--hex", "scan"), "\n")
	if !strings.HasPrefix(marker, "0x : 0x") {
		t.Fatalf("the first row is %.200q", marker)
	}
	return rows
}
