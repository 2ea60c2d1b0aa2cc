package cppdata

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/cppdata/cppdatatest"
	"pegasus/cppdata/plog"
	"pegasus/gen/rrdb"
	"pegasus/internal/repo"
	"pegasus/rocks"
)

var full = flag.Bool("cppdata.full", false, "damage the recordings everywhere, and not at places that are drawn")

// read returns the rows of a replica by stored key.
func read(r *Replica, partial bool) (map[string]cppdatatest.Row, error) {
	it, err := r.Rows(context.Background(), nil, partial)
	if err != nil {
		return nil, err
	}
	rows := map[string]cppdatatest.Row{}
	var last []byte
	for it.Next() {
		row := it.Row()
		if last != nil && bytes.Compare(last, row.Key) >= 0 {
			return nil, fmt.Errorf("key %x comes after %x", row.Key, last)
		}
		last = append(last[:0], row.Key...)
		rows[string(row.Key)] = cppdatatest.Row{Value: string(row.Data), TTL: row.ExpireTS > 0}
	}
	return rows, it.Close()
}

func survey(t testing.TB, dirs ...string) []Table {
	t.Helper()
	f, err := Find(context.Background(), dirs...)
	if err != nil {
		t.Fatal(err)
	}
	tables, orphans, err := Survey(context.Background(), f.Replicas, nil)
	if err != nil || len(orphans) > 0 {
		t.Fatalf("orphans %v, %v", orphans, err)
	}
	return tables
}

// The recorded directories have exactly the rows that the server served.
func TestGolden(t *testing.T) {
	want := cppdatatest.Expected(t)
	for _, name := range cppdatatest.Recordings {
		t.Run(name, func(t *testing.T) {
			tables := survey(t, filepath.Join(repo.Golden(t), name))
			if len(tables) != 1 || tables[0].Name != "mig" || tables[0].ID != 1 || tables[0].Partitions != 4 {
				t.Fatalf("%+v", tables)
			}
			got := map[string]cppdatatest.Row{}
			for _, p := range tables[0].Parts {
				if !p.Whole() || len(p.Notes) > 0 {
					t.Fatalf("partition %v: %v", p.Gpid, p.Notes)
				}
				rows, err := read(p.Best, false)
				if err != nil {
					t.Fatal(err)
				}
				for k := range rows {
					if !base.InPartition(base.HashOfKey([]byte(k)), p.Gpid.PartitionIndex, 4) {
						t.Errorf("key %x is in partition %v", k, p.Gpid)
					}
				}
				maps.Copy(got, rows)
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%d rows, want %d", len(got), len(want))
			}
		})
	}
}

// history has the rows of a replica after each decree of its log. It knows puts and removes alone, which the recordings have.
func history(t *testing.T, r *Replica, before map[string]cppdatatest.Row) map[int64]map[string]cppdatatest.Row {
	t.Helper()
	rows := maps.Clone(before)
	all := map[int64]map[string]cppdatatest.Row{r.Meta.FlushedDecree: before}
	_, err := plog.Walk(context.Background(), filepath.Join(r.Path, "plog"), r.Gpid, 0, func(_ string, m *plog.Mutation) error {
		if all[m.Decree] != nil || m.Decree <= r.Meta.FlushedDecree {
			return nil
		}
		for _, u := range m.Updates {
			var d tbin.Reader
			d.Reset(u.Data)
			d.Field()
			switch u.Code {
			case base.RPCPut:
				var q rrdb.UpdateRequest
				q.ReadThrift(&d)
				rows[string(q.Key)] = cppdatatest.Row{Value: string(q.Value), TTL: q.ExpireTsSeconds > 0}
			case base.RPCRemove:
				delete(rows, string(d.Bytes()))
			}
		}
		all[m.Decree] = maps.Clone(rows)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDamagedGolden cuts logs, flips bits and removes files of the recordings. Rows are those of some decree, all of them if nothing is said,
// or there is an error.
func TestDamagedGolden(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 1))
	for _, name := range cppdatatest.Recordings {
		t.Run(name, func(t *testing.T) {
			dir := cppdatatest.Copy(t, name)
			n := 0
			drawn := rnd.Perm(4)
			if !*full {
				drawn = drawn[:1]
			}
			parts := survey(t, dir)[0].Parts
			for _, i := range drawn {
				p := parts[i]
				base, err := storeRows(p.Best)
				if err != nil {
					t.Fatal(err)
				}
				n += damageReplica(t, p.Best, history(t, p.Best, base), rnd)
			}
			t.Logf("%d damages", n)
		})
	}
}

// storeRows are those of the store alone.
func storeRows(r *Replica) (map[string]cppdatatest.Row, error) {
	s, err := r.openStore(context.Background())
	if err != nil {
		return nil, err
	}
	it := &Rows{of: r, changes: newChanges(context.Background(), s, nil, 0), move: true}
	if it.store, err = s.Rows(context.Background(), rocks.Bounds{}); err != nil {
		return nil, err
	}
	rows := map[string]cppdatatest.Row{}
	for it.Next() {
		rows[string(it.Row().Key)] = cppdatatest.Row{Value: string(it.Row().Data), TTL: it.Row().ExpireTS > 0}
	}
	return rows, it.Close()
}

func damageReplica(t *testing.T, r *Replica, by map[int64]map[string]cppdatatest.Row, rnd *rand.Rand) (n int) {
	whole := by[r.Decree]
	if whole == nil {
		t.Fatalf("%v: no rows of its decree", r)
	}
	var files []string
	for _, pattern := range []string{".*-info", "plog/*", "data/rdb/*"} {
		more, err := filepath.Glob(filepath.Join(r.Path, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string) {
			n++
			if problem := judge(r.Place, whole, by); problem != "" {
				t.Errorf("%s, %s: %s", file, what, problem)
			}
		}
		write := func(b []byte) {
			if err := os.WriteFile(file, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(file, "plog") {
			step := 64 << 10
			for at := 0; at < len(b); at += step {
				if cut := min(at+rnd.IntN(200), len(b)-1); *full || at == 0 || rnd.IntN(4) == 0 {
					write(b[:at])
					check(fmt.Sprintf("cut to %d", at))
					write(b[:cut])
					check(fmt.Sprintf("cut to %d", cut))
				}
			}
		}
		flips := 2
		if *full {
			flips = 200
		}
		for range min(flips, len(b)) {
			bit := rnd.IntN(len(b) * 8)
			c := bytes.Clone(b)
			c[bit/8] ^= 1 << (bit % 8)
			write(c)
			check(fmt.Sprintf("bit %d of byte %d of %d", bit%8, bit/8, len(b)))
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check("removed")
		write(b)
	}
	if problem := judge(r.Place, whole, by); problem != "" {
		t.Errorf("%s, as it was: %s", r.Path, problem)
	}
	return n
}

// judge reads a damaged replica as a migration does.
func judge(p Place, whole map[string]cppdatatest.Row, by map[int64]map[string]cppdatatest.Row) string {
	tables, _, err := Survey(context.Background(), []Place{p}, nil)
	if err != nil {
		return err.Error()
	}
	if len(tables) == 0 || tables[0].Partitions <= p.Gpid.PartitionIndex {
		return "" // told
	}
	part := &tables[0].Parts[p.Gpid.PartitionIndex]
	if part.Best == nil {
		if len(part.Notes) == 0 {
			return "nothing was read, and nothing said"
		}
		return ""
	}
	rows, err := read(part.Best, true)
	if err != nil {
		return "" // told
	}
	switch at := by[part.Best.Decree]; {
	case at == nil:
		return fmt.Sprintf("rows as of decree %d, which there is none of", part.Best.Decree)
	case !maps.Equal(rows, at):
		return fmt.Sprintf("%d rows as of decree %d, which had %d", len(rows), part.Best.Decree, len(at))
	case !maps.Equal(rows, whole) && part.Whole() && len(part.Notes) == 0:
		return fmt.Sprintf("%d rows of %d, and nothing is said", len(rows), len(whole))
	}
	return ""
}
