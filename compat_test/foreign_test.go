package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// TestForeignServers: the replica servers of another cluster are started with our meta servers,
// while ours need other servers for their replicas. They have tables of the same names and ids, with other
// rows under the same keys, and newer ballots. Not a row of either cluster changes.
func TestForeignServers(t *testing.T) {
	const rows = 200
	config := "[failure_detector]\nbeacon_interval = \"300ms\"\nlease = \"3s\"\ngrace = \"4s\"\n[meta]\nreplace_wait = \"1s\"\n"
	ours := cluster.Start(t, cluster.Options{Tables: "temp:4", Config: config})
	theirs := cluster.Start(t, cluster.Options{Tables: "temp:4", Config: config})
	key := func(i int) []byte { return []byte(fmt.Sprintf("row%03d", i)) }
	table := func(c *cluster.Cluster) *client.Table {
		cl := client.New(c.Metas(), client.Options{})
		t.Cleanup(func() { cl.Close() })
		tb, err := cl.Table(runContext(t, time.Minute), "temp")
		if err != nil {
			t.Fatal(err)
		}
		return tb
	}
	write := func(tb *client.Table, value string, times int) {
		t.Helper()
		for range times {
			for i := range rows {
				if err := tb.Set(runContext(t, time.Minute), key(i), []byte("s"), []byte(value), 0); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	check := func(tb *client.Table, value string) {
		t.Helper()
		wrong := 0
		for i := range rows {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			v, found, err := tb.Get(ctx, key(i), []byte("s"))
			cancel()
			if err != nil || !found || string(v) != value {
				wrong++
			}
		}
		if wrong > 0 {
			t.Errorf("%d of %d rows aren't %q", wrong, rows, value)
		}
	}
	replicas := func(c *cluster.Cluster) int {
		dirs, err := filepath.Glob(filepath.Join(c.Dir, "replica*", "data", "reps", "*.pegasus"))
		if err != nil {
			t.Fatal(err)
		}
		return len(dirs)
	}
	a, b := table(ours), table(theirs)
	write(a, "ours", 1)
	write(b, "theirs", 3)
	// Newer ballots than ours.
	for range 2 {
		for _, n := range []string{"replica1", "replica2", "replica3"} {
			if err := theirs.Kill(n); err != nil {
				t.Fatal(err)
			}
			if err := theirs.Restart(n); err != nil {
				t.Fatal(err)
			}
			if err := theirs.WaitHealthy("temp", time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := replicas(theirs)

	move := func(args ...string) {
		t.Helper()
		for _, n := range []string{"replica1", "replica2", "replica3"} {
			if err := theirs.Kill(n); err != nil {
				t.Fatal(err)
			}
			if err := theirs.SetArgs(n, args...); err != nil {
				t.Fatal(err)
			}
			if err := theirs.Restart(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ours.Kill("replica3"); err != nil { // our partitions need another member
		t.Fatal(err)
	}
	move("--meta-servers", strings.Join(ours.Metas(), ","))
	if err := cluster.Poll(time.Minute, func() error {
		out, err := ours.CLI(runContext(t, time.Minute), "nodes", "--meta", strings.Join(ours.Metas(), ","), "-o", "json")
		if err != nil {
			return err
		}
		var nodes []struct{ Address, Status, Refused string }
		if err := json.Unmarshal([]byte(out), &nodes); err != nil {
			return err
		}
		refused := 0
		for _, n := range nodes {
			if theirs.Name(n.Address) != "" && n.Status == "refused" && strings.Contains(n.Refused, "cluster with the id") {
				refused++
			}
		}
		if refused != 3 {
			return fmt.Errorf("%d of 3 strangers are refused: %s", refused, out)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	write(a, "ours", 1)
	for _, n := range []string{"replica1", "replica2", "replica3"} {
		if err := cluster.Poll(time.Minute, func() error {
			if !strings.Contains(theirs.Log(n), "aren't obeyed") {
				return fmt.Errorf("%s of the other cluster doesn't say that it doesn't obey", n)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	check(a, "ours")
	if n := replicas(theirs); n != before {
		t.Errorf("the others have %d replicas, they had %d", n, before)
	}
	if err := ours.Restart("replica3"); err != nil {
		t.Fatal(err)
	}
	if err := ours.WaitHealthy("temp", time.Minute); err != nil {
		t.Fatal(err)
	}
	move() // home again
	if err := theirs.WaitHealthy("temp", 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	check(a, "ours")
	check(b, "theirs")
}
