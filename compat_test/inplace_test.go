package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/cppdata/cppdatatest"
	"pegasus/gen/metaadmin"
	"pegasus/internal/repo"
)

// TestInPlace: the recorded data directories of a C++ server become those of three servers of ours, a meta that knows nothing recovers the table, and it
// has exactly the recorded rows, on three members that copied nothing from each other, and takes writes.
func TestInPlace(t *testing.T) {
	t.Parallel()
	want := cppdatatest.Expected(t)
	c := cluster.Start(t, cluster.Options{Tables: "-"})
	replicas := []string{"replica1", "replica2", "replica3"}
	data := func(name string) string { return filepath.Join(c.Dir, name, "data") }
	k := client.New(c.Metas(), client.Options{})
	defer k.Close()
	for i, recording := range cppdatatest.Recordings {
		for _, name := range c.Servers() {
			if err := c.Kill(name); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(data(name)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(data(name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			mark := filepath.Join(data("replica1"), "migrating.json")
			if err := os.WriteFile(mark, []byte(`{"format": 1, "job": "x", "what": "a migration"}`), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.Restart("replica1"); err == nil || !strings.Contains(c.Log("replica1"), "isn't complete: a migration was begun") {
				t.Fatalf("a server starts on a directory that isn't complete: %v", err)
			}
			if err := os.Remove(mark); err != nil {
				t.Fatal(err)
			}
		}
		args := []string{"migrate", "dirs", filepath.Join(repo.Golden(t), recording), "--in-place", "--config", filepath.Join(c.Dir, "replica1", "config.toml")}
		for _, name := range replicas {
			args = append(args, "--server", c.Addr(name)+"=data:"+data(name))
		}
		if out, err := c.CLI(runContext(t, 2*time.Minute), args...); err != nil || !strings.Contains(out, "table mig (id 1): done: 4 partitions of 3 replicas (0 made before), 1900 rows") {
			t.Fatalf("%s: %v: %s", recording, err, out)
		}
		for _, name := range c.Servers() {
			if err := c.Restart(name); err != nil {
				t.Fatal(err)
			}
		}
		// The meta takes nobody in whose tables it doesn't know.
		if err := cluster.Poll(time.Minute, func() error {
			var res metaadmin.ConfigurationListNodesResponse
			q := &metaadmin.ConfigurationListNodesRequest{Status: metaadmin.NS_ALIVE}
			if err := c.MetaCall("RPC_CM_LIST_NODES", q, &res, func() base.ErrorCode { return res.Err }); err != nil {
				return err
			}
			if n := len(res.Infos) + len(res.Refused.V); n < len(replicas) {
				return fmt.Errorf("%d replica servers have come", n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if out, err := c.CLI(runContext(t, time.Minute), "recover", "--meta", strings.Join(c.Metas(), ","), "--timeout", "30s"); err != nil || !strings.Contains(out, "recovered table mig (id 1, 4 partitions)") {
			t.Fatalf("%s: recover: %v: %s", recording, err, out)
		}
		if err := c.WaitHealthy("mig", 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		tb, err := k.Table(context.Background(), "mig")
		if err != nil {
			t.Fatal(err)
		}
		s, got := tb.ScanAll(client.ScanOptions{ExpireTS: true}), map[string]cppdatatest.Row{}
		for s.Next(context.Background()) {
			r := s.Row()
			got[string(base.AppendKey(nil, r.HashKey, r.SortKey))] = cppdatatest.Row{Value: string(r.Value), TTL: r.ExpireTS > 0}
		}
		if s.Err() != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %d rows, want %d: %v", recording, len(got), len(want), s.Err())
		}
		for n := range 20 {
			if err := tb.Set(context.Background(), fmt.Appendf(nil, "new%d", n), nil, []byte("v"), 0); err != nil {
				t.Fatalf("%s: a write: %v", recording, err)
			}
		}
		for _, name := range replicas {
			files, err := filepath.Glob(filepath.Join(data(name), "reps", "1.*.pegasus", "info.json"))
			if err != nil || len(files) != 4 {
				t.Fatalf("%s has the replicas %v: %v", name, files, err)
			}
			for _, f := range files {
				var info struct{ Store, Ballot int64 }
				b, err := os.ReadFile(f)
				if err == nil {
					err = json.Unmarshal(b, &info)
				}
				// A checkpoint of another member would have another number. The recorded ballots are 3 and more.
				if err != nil || info.Store != 1 || info.Ballot < 4 {
					t.Errorf("%s: %v: %s", f, err, b)
				}
			}
		}
	}
}
