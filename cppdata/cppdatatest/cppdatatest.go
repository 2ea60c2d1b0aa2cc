// Package cppdatatest has directories of C++ servers for tests: the recordings of a real cluster, and ones that are made up.
package cppdatatest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/internal/repo"
	"pegasus/rocks"
	"pegasus/rocks/pegasus"
)

// Recordings are the names of the recorded data directories. All of them have the rows of Expected.
var Recordings = []string{"data-plog-only", "data-checkpointed", "data-compacted"}

// Copy copies a recorded data directory, without checkpoints and backups, so that it can be damaged.
func Copy(t testing.TB, recording string) string {
	t.Helper()
	from, to := filepath.Join(repo.Golden(t), recording, "replica", "reps"), filepath.Join(t.TempDir(), "replica", "reps")
	files, err := filepath.Glob(filepath.Join(from, "*", ".*-info"))
	for _, pattern := range []string{"*/plog/*", "*/data/rdb/*"} {
		more, e := filepath.Glob(filepath.Join(from, pattern))
		if e != nil {
			err = e
		}
		files = append(files, more...)
	}
	if err != nil || len(files) == 0 {
		t.Fatalf("the files of %s: %d, %v", from, len(files), err)
	}
	for _, f := range files {
		rel, err := filepath.Rel(from, f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Dir(filepath.Dir(to))
}

// Row is a row as the recordings have it.
type Row struct {
	Value string
	TTL   bool
}

// Expected are the rows of the recordings, by stored key.
func Expected(t testing.TB) map[string]Row {
	t.Helper()
	f, err := os.Open(filepath.Join(repo.Golden(t), "expected.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := map[string]Row{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var p struct {
			HashKey []byte `json:"hash_key"`
			SortKey []byte `json:"sort_key"`
			Value   []byte `json:"value"`
			TTL     bool   `json:"ttl"`
		}
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		rows[string(base.AppendKey(nil, p.HashKey, p.SortKey))] = Row{string(p.Value), p.TTL}
	}
	if err := s.Err(); err != nil || len(rows) != 1900 {
		t.Fatalf("%d expected rows, %v", len(rows), err)
	}
	return rows
}

// Replica is a replica's directory that is made up.
type Replica struct {
	Gpid       base.Gpid
	Table      string
	Partitions int32
	Created    int64
	Envs       map[string]string
	Ballot     int64
	LogStart   int64
	Flushed    int64 // decree of the store
	Rows       []pegasus.Row
}

// Make makes the directory of a replica below dir, but for its log, and returns its path.
func (r Replica) Make(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "replica", "reps", r.Gpid.String()+".pegasus")
	rdb := filepath.Join(path, "data", "rdb")
	if err := os.MkdirAll(rdb, 0o755); err != nil {
		t.Fatal(err)
	}
	info := layer2.NewAppInfo()
	info.Status, info.AppType, info.AppName, info.AppId, info.PartitionCount = layer2.AS_AVAILABLE, "pegasus", r.Table, r.Gpid.AppID, r.Partitions
	info.IsStateful, info.MaxReplicaCount, info.CreateSecond = true, 3, r.Created
	for k, v := range r.Envs {
		info.Envs = append(info.Envs, base.Pair[string, string]{Key: k, Val: v})
	}
	b, err := pegasus.AppendAppInfo(nil, &info)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, pegasus.AppInfoFile), b, 0o644); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"init_ballot":%d,"init_durable_decree":0,"init_offset_in_shared_log":0,"init_offset_in_private_log":%d}`, r.Ballot, r.LogStart)
	if err := os.WriteFile(filepath.Join(path, ".init-info"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := pegasus.Create(context.Background(), rocks.Local(rdb), pegasus.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		if err := w.Add(row.Key, row.Value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(pegasus.Meta{FlushedDecree: r.Flushed}); err != nil {
		t.Fatal(err)
	}
	return path
}

// Lose removes a replica ("2.0") below reps, and damages the private log of another one, whose name it returns.
func Lose(t testing.TB, reps, gone, damaged string) string {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(reps, gone+".pegasus")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(reps, damaged+".pegasus", "plog", "log.1.0")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 8
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
