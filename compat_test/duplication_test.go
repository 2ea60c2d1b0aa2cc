package compat

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// mustCLI runs a command of a cluster.
func mustCLI(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	out, err := c.CLI(runContext(t, 2*time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","))...)
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return out
}

type dupShown struct {
	Behind     int64
	Status     string
	Partitions []struct {
		Why           string
		Skipped, Gaps int64
	}
}

// untilDup waits until the duplications of a cluster's table, of which there are some, are all as they should be.
func untilDup(t *testing.T, c *cluster.Cluster, what string, ok func(*dupShown) bool) {
	t.Helper()
	if err := cluster.Poll(3*time.Minute, func() error {
		var ds []dupShown
		if err := json.Unmarshal([]byte(mustCLI(t, c, "dup", "show", "temp", "-o", "json")), &ds); err != nil || len(ds) == 0 {
			return fmt.Errorf("%+v, %w", ds, err)
		}
		for i := range ds {
			if !ok(&ds[i]) {
				return fmt.Errorf("not yet: %s: %+v", what, ds[i])
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// wantSent waits until all that a cluster has in its table is in those it is sent to, and nothing was left out.
func wantSent(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	untilDup(t, c, "all is sent", func(d *dupShown) bool {
		for _, p := range d.Partitions {
			if p.Why != "up to date" || p.Skipped != 0 {
				return false
			}
		}
		return d.Status == "sending" && d.Behind == 0
	})
}

// rowsOf reads a cluster's table.
func rowsOf(t *testing.T, c *cluster.Cluster) map[string]string {
	t.Helper()
	cl := client.New(c.Metas(), client.Options{})
	defer cl.Close()
	ctx := runContext(t, 2*time.Minute)
	tb, err := cl.Table(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	s := tb.ScanAll(client.ScanOptions{})
	for s.Next(ctx) {
		r := s.Row()
		m[string(r.HashKey)+"/"+string(r.SortKey)] = string(r.Value)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDuplicationOutgrowsItsLog writes more than the log holds while the other cluster is down, and removes rows that it has. It
// comes back to the same rows by itself, without those, and keeps the rows that were written there.
func TestDuplicationOutgrowsItsLog(t *testing.T) {
	port := cluster.FreePort(t, 1, 3)
	east := cluster.Start(t, cluster.Options{Tables: "temp:2", Config: fmt.Sprintf("[cluster]\nname = \"east\"\nid = 2\n[clusters.west]\nid = 1\nmeta_servers = [\"127.0.0.1:%d\"]\n", port)})
	west := cluster.Start(t, cluster.Options{Port: port, Tables: "temp:4", Config: fmt.Sprintf("[cluster]\nname = \"west\"\nid = 1\n[clusters.east]\nid = 2\nmeta_servers = [%q]\n", east.Metas()[0]) +
		"[wal]\nsync = \"os\"\nsegment_bytes = 131072\nmax_bytes = 1048576\nkeep_bytes = 0\nheld_bytes = 4194304\n"})
	cl := client.New(west.Metas(), client.Options{})
	defer cl.Close()
	ctx := runContext(t, 3*time.Minute)
	tb, err := cl.Table(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	set := func(key string, value []byte) {
		t.Helper()
		if err := tb.Set(ctx, []byte(key), []byte("s"), value, 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		set(fmt.Sprint("early", i), []byte("v"))
	}
	mustCLI(t, west, "dup", "add", "temp", "east")
	mustCLI(t, east, "set", "temp", "theirs", "s", "east")
	wantSent(t, west)
	servers := []string{"replica1", "replica2", "replica3"}
	for _, name := range servers {
		if err := east.Kill(name); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < 40; i += 2 {
		if err := tb.Del(ctx, fmt.Append(nil, "early", i), []byte("s")); err != nil {
			t.Fatal(err)
		}
	}
	value := make([]byte, 80<<10)
	for i := range 200 { // more than is in memory, too
		set(fmt.Sprint("late", i), value)
	}
	untilDup(t, west, "the log is let go", func(d *dupShown) bool {
		for _, p := range d.Partitions {
			if p.Gaps > 0 {
				return true
			}
		}
		return false
	})
	for _, name := range servers {
		if err := east.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	wantSent(t, west)
	w, e := rowsOf(t, west), rowsOf(t, east)
	if len(w) != 220 || e["theirs/s"] != "east" || len(e) != len(w)+1 {
		t.Errorf("%d rows, and %d in the other cluster, theirs %q", len(w), len(e), e["theirs/s"])
	}
	for k, v := range w {
		if e[k] != v {
			t.Errorf("row %q has %d bytes, and %d in the other cluster", k, len(v), len(e[k]))
		}
	}
}

// TestDuplication sends a table to a second cluster, which has other partitions, and back: what was there before,
// and what is written while servers of both are killed. Every acknowledged row is there, and sums and removes are
// the same.
func TestDuplication(t *testing.T) {
	const sets = 10000
	port := cluster.FreePort(t, 1, 3)
	east := cluster.Start(t, cluster.Options{Tables: "temp:8", Config: fmt.Sprintf("[cluster]\nname = \"east\"\nid = 2\n[clusters.west]\nid = 1\nmeta_servers = [\"127.0.0.1:%d\"]\n", port)})
	west := cluster.Start(t, cluster.Options{Port: port, Tables: "temp:4", Config: fmt.Sprintf("[cluster]\nname = \"west\"\nid = 1\n[clusters.east]\nid = 2\nmeta_servers = [%q]\n", east.Metas()[0])})
	cli := func(c *cluster.Cluster, args ...string) string { t.Helper(); return mustCLI(t, c, args...) }
	for i := range 5 {
		cli(west, "set", "temp", fmt.Sprintf("early%d", i), "s", "v")
	}
	cli(west, "dup", "add", "temp", "east")
	cli(east, "dup", "add", "temp", "west")
	acked := filepath.Join(t.TempDir(), "acked")
	done := make(chan error, 1)
	go func() {
		r, err := runBench(t, west, "--op", "set", "--count", fmt.Sprint(sets), "--rate", "500", "--value-size", "100", "--record-acked", acked)
		if err == nil && r.Ops != sets {
			err = fmt.Errorf("%d of %d sets", r.Ops, sets)
		}
		done <- err
	}()
	for _, x := range []struct {
		c    *cluster.Cluster
		name string
	}{{west, "replica1"}, {east, "replica2"}} {
		if err := x.c.Kill(x.name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // under load
		if err := x.c.Restart(x.name); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		cli(west, "incr", "temp", "sum", "s", "7")
	}
	cli(west, "del", "temp", "early1", "s")
	cli(east, "set", "temp", "theirs", "s", "east")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, c := range []*cluster.Cluster{west, east} {
		wantSent(t, c)
	}
	if r, err := runBench(t, east, "--op", "verify", "--record-acked", acked); err != nil {
		t.Fatalf("in the other cluster: %+v, %v", r, err)
	}
	w, e := rowsOf(t, west), rowsOf(t, east)
	if len(w) != len(e) || w["sum/s"] != "21" || w["theirs/s"] != "east" || w["early0/s"] != "v" || w["early1/s"] != "" {
		t.Errorf("%d rows, and %d in the other cluster; sum %q, theirs %q, early %q %q", len(w), len(e), w["sum/s"], w["theirs/s"], w["early0/s"], w["early1/s"])
	}
	for k, v := range w {
		if e[k] != v {
			t.Errorf("row %q is %q, and %q in the other cluster", k, v, e[k])
		}
	}
}
