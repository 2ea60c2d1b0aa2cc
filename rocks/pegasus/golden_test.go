package pegasus

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/internal/repo"
	"pegasus/rocks"
	"pegasus/rocks/table"
)

// plain is a row as expected.jsonl has it.
type plain struct {
	HashKey []byte `json:"hash_key"`
	SortKey []byte `json:"sort_key"`
	Value   []byte `json:"value"`
	TTL     bool   `json:"ttl"`
}

func (p plain) key() string { return fmt.Sprintf("%x/%x", p.HashKey, p.SortKey) }

func expected(t testing.TB, file string) map[string]plain {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := map[string]plain{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var p plain
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		rows[p.key()] = p
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// compare reads the rows of the directories, without those that expired at now, and compares.
func compare(t *testing.T, dirs []string, want map[string]plain, now time.Time) {
	t.Helper()
	if len(dirs) == 0 {
		t.Fatal("no directories")
	}
	at := uint32(now.Unix() - base.EpochBegin)
	found := 0
	for _, dir := range dirs {
		r, err := Open(context.Background(), rocks.Local(dir), rocks.Options{})
		if err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
		rows, err := r.Rows(context.Background(), rocks.Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		var last []byte
		for rows.Next() {
			row := rows.Row()
			if last != nil && bytes.Compare(last, row.Key) >= 0 {
				t.Fatalf("%s: key %x comes after %x", dir, row.Key, last)
			}
			last = append(last[:0], row.Key...)
			if row.Expired(at) {
				continue
			}
			p := plain{row.HashKey, row.SortKey, row.Data, row.ExpireTS > 0}
			w, ok := want[p.key()]
			if !ok || !bytes.Equal(w.Value, p.Value) || w.TTL != p.TTL {
				t.Fatalf("%s: %s is %.60q (ttl %v), want %.60q (ttl %v, there %v)", dir, p.key(), p.Value, p.TTL, w.Value, w.TTL, ok)
			}
			found++
		}
		if err := rows.Close(); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
	}
	if found != len(want) {
		t.Fatalf("%d rows, want %d", found, len(want))
	}
}

func glob(t *testing.T, parts ...string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// The C++ server's directories have exactly the rows that it served.
func TestGoldenDirectories(t *testing.T) {
	g := repo.Golden(t)
	want := expected(t, filepath.Join(g, "expected.jsonl"))
	if len(want) != 1900 {
		t.Fatalf("%d expected rows", len(want))
	}
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	t.Run("checkpointed", func(t *testing.T) {
		compare(t, glob(t, g, "data-checkpointed/replica/reps/1.*.pegasus/data/rdb"), want, now)
	})
	t.Run("compacted", func(t *testing.T) {
		compare(t, glob(t, g, "data-compacted/replica/reps/1.*.pegasus/data/rdb"), want, now)
	})
	t.Run("cold backup", func(t *testing.T) {
		compare(t, glob(t, g, "cold-backup/onebox/*/mig_1/*/chkpt_*"), want, now)
	})
	t.Run("plog only", func(t *testing.T) { // the rows are in the replica's own log
		compare(t, glob(t, g, "data-plog-only/replica/reps/1.*.pegasus/data/rdb"), nil, now)
	})
	// The backups of 22 November 2026: rows with the default TTL of a day lived then.
	then := time.Date(2026, 11, 23, 0, 30, 0, 0, time.UTC)
	t.Run("policy adm", func(t *testing.T) {
		compare(t, glob(t, g, "backup-policy/tree-onebox/1795393458022/adm_2/*/chkpt_*"), expected(t, filepath.Join(g, "backup-policy/expected-adm.jsonl")), then)
	})
	t.Run("policy badenv", func(t *testing.T) {
		compare(t, glob(t, g, "backup-policy/tree-onebox/1795393458022/badenv_*/*/chkpt_*"), expected(t, filepath.Join(g, "backup-policy/expected-badenv.jsonl")), then)
	})
	t.Run("policy bl", func(t *testing.T) {
		compare(t, glob(t, g, "backup-policy/tree-onebox/1795393398250/bl_1/*/chkpt_*"), nil, then)
	})
}

// Checkpoints that lie beside a live database read too, and a replica knows its decree.
func TestGoldenMeta(t *testing.T) {
	g := repo.Golden(t)
	dirs := glob(t, g, "data-checkpointed/replica/reps/1.*.pegasus/data/checkpoint.*")
	if len(dirs) < 8 {
		t.Fatalf("%d checkpoints", len(dirs))
	}
	for _, dir := range dirs {
		r, err := Open(context.Background(), rocks.Local(dir), rocks.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Meta()
		if want := fmt.Sprintf("checkpoint.%d", m.FlushedDecree); filepath.Base(dir) != want || m.DataVersion != 1 {
			t.Errorf("%s: %+v", dir, m)
		}
		if got := r.DB().Families(); !slices.Equal(got, []string{DataFamily, MetaFamily}) {
			t.Errorf("%s: families %q", dir, got)
		}
	}
	r, err := Open(context.Background(), rocks.Local(filepath.Join(g, "data-compacted/replica/reps/1.0.pegasus/data/rdb")), rocks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Meta(); m.CompactFinish != 1795389434484 || m.FlushedDecree != 764 {
		t.Errorf("after a compaction: %+v", m)
	}
}

// Bounds give the rows of one hash key, and nothing beside them.
func TestGoldenBounds(t *testing.T) {
	g := repo.Golden(t)
	want := expected(t, filepath.Join(g, "expected.jsonl"))
	byHash := map[string]int{}
	for _, p := range want {
		byHash[string(p.HashKey)]++
	}
	found := map[string]int{}
	for _, dir := range glob(t, g, "data-checkpointed/replica/reps/1.*.pegasus/data/rdb") {
		r, err := Open(context.Background(), rocks.Local(dir), rocks.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for hash := range byHash {
			lower := base.AppendKey(nil, []byte(hash), nil)
			rows, err := r.Rows(context.Background(), rocks.Bounds{Lower: lower, Upper: base.NextKey(nil, lower)})
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				if got := string(rows.Row().HashKey); got != hash {
					t.Fatalf("hash key %x, want %x", got, hash)
				}
				found[hash]++
			}
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for hash, n := range byHash {
		if found[hash] != n {
			t.Errorf("hash key %x has %d rows, want %d", hash, found[hash], n)
		}
	}
}

// The tables of a bulk load belong to no database yet.
func TestGoldenBulkLoad(t *testing.T) {
	g := repo.Golden(t)
	want := expected(t, filepath.Join(g, "bulk-load-source/expected.jsonl"))
	files := glob(t, g, "bulk-load-source/*/*/*/*/*.sst")
	if len(files) != 5 {
		t.Fatalf("%d tables", len(files))
	}
	found := 0
	for _, name := range files {
		f, err := rocks.Local(filepath.Dir(name)).Open(context.Background(), filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := table.Open(context.Background(), f, info.Size(), table.Options{Name: filepath.Base(name)})
		if err != nil {
			t.Fatal(err)
		}
		it := r.NewIter(context.Background())
		for it.Next() {
			hash, sort, ok := base.SplitKey(it.Key().User)
			v, err := ParseValue(1, it.Value())
			if !ok || err != nil {
				t.Fatalf("%s: %x: %v", name, it.Key().User, err)
			}
			p := plain{hash, sort, v.Data, v.ExpireTS > 0}
			if w, ok := want[p.key()]; !ok || !bytes.Equal(w.Value, p.Value) || w.TTL != p.TTL {
				t.Fatalf("%s: %s is %.60q, want %.60q", name, p.key(), p.Value, w.Value)
			}
			found++
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if found != len(want) {
		t.Fatalf("%d rows, want %d", found, len(want))
	}
}

func TestGoldenAppInfo(t *testing.T) {
	g := repo.Golden(t)
	files := glob(t, g, "data-*/replica/reps/1.*.pegasus/.app-info")
	if len(files) != 12 {
		t.Fatalf("%d files", len(files))
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := ParseAppInfo(name, b)
		if err != nil {
			t.Fatal(err)
		}
		if info.AppName != "mig" || info.AppId != 1 || info.PartitionCount != 4 || info.MaxReplicaCount != 3 || !info.IsStateful || info.CreateSecond != 1795388330 {
			t.Fatalf("%s: %+v", name, info)
		}
		again, err := AppendAppInfo(nil, &info)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("written again, %s is %q, want %q: %v", name, again, b, err)
		}
	}
}
