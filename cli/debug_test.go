package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/internal/repo"
	"pegasus/replica/wal"
	"pegasus/rrdb"
	"pegasus/rrdb/engine"
)

// looked runs a command of Debug, and returns what it prints.
func looked(d Debug, do func(*Debug) error) (string, error) {
	var out bytes.Buffer
	d.Env = &Env{Out: &out, JSON: d.Env != nil && d.Env.JSON}
	err := do(&d)
	return out.String(), err
}

func has(t *testing.T, what, out string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Fatalf("%s: %q isn't in\n%s", what, w, out)
		}
	}
}

// contents are the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

func sameFiles(t *testing.T, what string, a, b map[string]string) {
	t.Helper()
	for n := range a {
		if a[n] != b[n] {
			t.Errorf("%s: %s has changed", what, n)
		}
	}
	if len(a) != len(b) {
		t.Errorf("%s: %d files, were %d", what, len(b), len(a))
	}
}

func quietLog() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// A log that is in use is told and not changed; of a damaged one the rest is told.
func TestDebugWAL(t *testing.T) {
	dir := t.TempDir()
	l, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 1 << 20, MaxBytes: 1 << 24, Logger: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := base.Gpid{AppID: 3, PartitionIndex: 1}
	for i := int64(1); i <= 20; i++ {
		op := rrdb.Op{Key: base.AppendKey(nil, []byte("hash"), fmt.Appendf(nil, "s%02d", i)), Value: []byte("value\n"), ExpireTS: 100}
		e := wal.Entry{Gpid: g, Ballot: 2, Decree: i, Committed: i - 1, Timestamp: 1e15 + i, Payload: rrdb.AppendOp(nil, op)}
		if err := wal.Wait(func(done func(error)) { l.Append([]wal.Entry{e}, done) }); err != nil {
			t.Fatal(err)
		}
	}
	out, err := looked(Debug{Rows: true}, func(d *Debug) error { return d.WAL(t.Context(), []string{dir}) })
	has(t, "log", out, err, `put "hash" : "s20" => "value\n" (until 2016-01-01T00:01:40Z)`, "3.1 decree 20 ballot 2 committed 19 at 2001-09-09T01:46:40.000020Z")
	out, err = looked(Debug{Gpid: &g, From: 7, To: 9, Env: &Env{JSON: true}}, func(d *Debug) error { return d.WAL(t.Context(), []string{dir}) })
	n := 0
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var x logJSON
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if x.Kind == "mutation" {
			n++
		}
	}
	if err != nil || n != 3 {
		t.Errorf("%d mutations, %v\n%s", n, err, out)
	}
	out, err = looked(Debug{Gpid: &base.Gpid{AppID: 9}}, func(d *Debug) error { return d.WAL(t.Context(), []string{dir}) })
	if err != nil || strings.Contains(out, "mutation") {
		t.Errorf("%v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("s10"))
	b[at] ^= 1
	broken := filepath.Join(t.TempDir(), "some.file")
	if err := os.WriteFile(broken, b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err = looked(Debug{}, func(d *Debug) error { return d.WAL(t.Context(), []string{broken}) })
	var u *UnreadError
	if !errors.As(err, &u) || u.Places != 1 || !strings.Contains(out, "DAMAGED: some.file offset ") || !strings.Contains(out, "decree 20") || strings.Contains(out, "decree 10 ") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := looked(Debug{}, func(d *Debug) error { return d.WAL(t.Context(), []string{t.TempDir()}) }); err == nil || !strings.Contains(err.Error(), "has no log") {
		t.Error(err)
	}
}

// A store that is in use is told, row by row and file by file, and no file of it is changed.
func TestDebugStore(t *testing.T) {
	shared, err := rrdb.NewShared(rrdb.SharedOptions{Engine: engine.Options{BlockCacheBytes: 8 << 20, MemtablesBytes: 64 << 20, OpenFiles: 256, Compactions: 1}, MaxScanSessions: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	dir := filepath.Join(t.TempDir(), "rdb")
	s, err := rrdb.Open(rrdb.Options{Dir: dir, Shared: shared, Gpid: base.Gpid{AppID: 1}, Server: "a:1", Create: true})
	if err != nil {
		t.Fatal(err)
	}
	var payload []byte
	for i := range 500 {
		payload = rrdb.AppendOp(payload, rrdb.Op{Key: base.AppendKey(nil, []byte("hash"), fmt.Appendf(nil, "s%03d", i)), Value: bytes.Repeat([]byte("v"), i), ExpireTS: uint32(i % 2)})
	}
	if err := s.Apply(1, 1e15, payload); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if _, err := s.Checkpoint(copied); err != nil {
		t.Fatal(err)
	}
	out, err := looked(Debug{}, func(d *Debug) error { return d.Store(t.Context(), dir, nil, nil) })
	has(t, "store in use", out, err, "up to decree 1, of 2001-09-09T01:46:40.000000Z")
	if err := s.Close(); err != nil { // and it is whole after it was looked at
		t.Fatal(err)
	}
	before := contents(t, copied)
	out, err = looked(Debug{Rows: true}, func(d *Debug) error { return d.Store(t.Context(), copied, nil, nil) })
	has(t, "rows", out, err, `put "hash" : "s003" => "vvv" (until 2016-01-01T00:00:01Z)`, `put "hash" : "s000" => ""`)
	if n := strings.Count(out, "put "); n != 500 {
		t.Errorf("%d rows", n)
	}
	h, k, none := "hash", "s004", "none"
	out, err = looked(Debug{}, func(d *Debug) error { return d.Store(t.Context(), copied, &h, &k) })
	has(t, "row", out, err, `put "hash" : "s004" => "vvvv"`)
	if _, err = looked(Debug{}, func(d *Debug) error { return d.Store(t.Context(), copied, &none, nil) }); err == nil || !strings.Contains(err.Error(), `there is no row "none"`) {
		t.Error(err)
	}
	tables, _ := filepath.Glob(filepath.Join(copied, "*.sst"))
	out, err = looked(Debug{Rows: true}, func(d *Debug) error { return d.SST(t.Context(), tables) })
	has(t, "tables", out, err, "order pegasus.hashkey.v1", `"hash" : "s499" =>`, "last decree 1, at ")
	manifests, _ := filepath.Glob(filepath.Join(copied, "MANIFEST-*"))
	out, err = looked(Debug{}, func(d *Debug) error { return d.Manifest(t.Context(), manifests) })
	has(t, "manifest", out, err, `order "pegasus.hashkey.v1"`, "+ level ")
	sameFiles(t, "looked at", before, contents(t, copied))

	for _, f := range slices.Concat(tables, manifests) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 1
		if err := os.WriteFile(f, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var u *UnreadError
	if out, err = looked(Debug{}, func(d *Debug) error { return d.SST(t.Context(), tables) }); !errors.As(err, &u) || !strings.Contains(out, "DAMAGED: ") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = looked(Debug{}, func(d *Debug) error { return d.Manifest(t.Context(), manifests) }); !errors.As(err, &u) || !strings.Contains(out, "DAMAGED: ") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = looked(Debug{Rows: true}, func(d *Debug) error { return d.Store(t.Context(), copied, nil, nil) }); !errors.As(err, &u) || !strings.Contains(out, "DAMAGED: ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The files of C++ servers: tables, manifests, logs, stores.
func TestDebugGolden(t *testing.T) {
	golden := repo.Golden(t)
	data := filepath.Join(golden, "data-checkpointed", "replica", "reps", "1.0.pegasus")
	rdb := filepath.Join(data, "data", "rdb")
	before := contents(t, rdb)
	out, err := looked(Debug{}, func(d *Debug) error { return d.Store(t.Context(), rdb, nil, nil) })
	has(t, "store", out, err, "RocksDB of a C++ server, MANIFEST-")
	tables, _ := filepath.Glob(filepath.Join(rdb, "*.sst"))
	out, err = looked(Debug{Rows: true, DataVersion: 1}, func(d *Debug) error { return d.SST(t.Context(), tables) })
	has(t, "tables", out, err, "RocksDB table, format version", "put \"", "written at 20")
	manifests, _ := filepath.Glob(filepath.Join(rdb, "MANIFEST-*"))
	out, err = looked(Debug{}, func(d *Debug) error { return d.Manifest(t.Context(), manifests) })
	has(t, "manifest", out, err, "+ level ")
	sameFiles(t, "looked at", before, contents(t, rdb))
	plog := filepath.Join(golden, "data-plog-only", "replica", "reps", "1.0.pegasus", "plog")
	out, err = looked(Debug{Rows: true}, func(d *Debug) error { return d.WAL(t.Context(), []string{plog}) })
	has(t, "log", out, err, "mutation 1.0 decree ", "RPC_RRDB_RRDB_")
}

func TestDebugKeys(t *testing.T) {
	out, err := looked(Debug{}, func(d *Debug) error { return d.Key([]string{"ab", "c"}, false, 8) })
	has(t, "key", out, err, "stored key 0002616263", fmt.Sprintf("partition  %d of 8", base.CRC64([]byte("ab"))%8))
	out, err = looked(Debug{}, func(d *Debug) error { return d.Key([]string{"0002616263"}, true, 0) })
	has(t, "hex", out, err, `hash key   "ab"`, `sort key   "c"`)
	for _, bad := range []string{"xy", "0005aa", ""} {
		if _, err := looked(Debug{}, func(d *Debug) error { return d.Key([]string{bad}, true, 0) }); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
	out, err = looked(Debug{DataVersion: 1}, func(d *Debug) error { return d.Value("00000064" + "0000000000000000" + "6162") })
	has(t, "value", out, err, `value   "ab"`, "expires 2016-01-01T00:01:40Z")
	out, err = looked(Debug{DataVersion: 0}, func(d *Debug) error { return d.Value("000000006162") })
	has(t, "value of version 0", out, err, `value   "ab"`, "expires never")
	for _, bad := range []string{"zz", "00"} {
		if _, err := looked(Debug{DataVersion: 1}, func(d *Debug) error { return d.Value(bad) }); err == nil {
			t.Errorf("%q is a value", bad)
		}
	}
}
