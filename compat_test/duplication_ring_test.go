package compat

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/migrate/live"
)

// mutations returns how many mutations the table of a cluster has seen.
func mutations(t *testing.T, c *cluster.Cluster) (n int64) {
	t.Helper()
	cl := client.New(c.Metas(), client.Options{})
	defer cl.Close()
	ds, err := live.New(cl).Decrees(runContext(t, time.Minute), "temp")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		n += d.Prepared
	}
	return n
}

// TestDuplicationRing has three clusters send a table in a ring, and then each to each other one. A write goes to the next cluster once and
// no further, so nothing goes round; with all ways there each cluster has the same rows, also those that were written before.
func TestDuplicationRing(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c"}
	ports := make([]int, len(names))
	others := ""
	for i, n := range names {
		ports[i] = cluster.FreePort(t, 1, 1)
		others += fmt.Sprintf("[clusters.%s]\nid = %d\nmeta_servers = [\"127.0.0.1:%d\"]\n", n, i+1, ports[i])
	}
	cs := make([]*cluster.Cluster, len(names))
	for i, n := range names {
		cs[i] = cluster.Start(t, cluster.Options{Port: ports[i], Replicas: 1, Tables: fmt.Sprintf("temp:%d", 1<<i), Config: fmt.Sprintf("[cluster]\nname = %q\nid = %d\n", n, i+1) + others})
	}
	tables := make([]*client.Table, len(cs))
	for i, c := range cs {
		cl := client.New(c.Metas(), client.Options{})
		defer cl.Close()
		var err error
		if tables[i], err = cl.Table(runContext(t, time.Minute), "temp"); err != nil {
			t.Fatal(err)
		}
	}
	next := func(i int) int { return (i + 1) % len(cs) }
	has := func(i int, want func(i int) map[string]string) {
		t.Helper()
		if err := cluster.Poll(time.Minute, func() error {
			if have := rowsOf(t, cs[i]); !maps.Equal(have, want(i)) {
				return fmt.Errorf("cluster %s has %v, and shall have %v", names[i], have, want(i))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	rows := make([]map[string]string, len(cs)) // of each cluster, those that were written there
	for i := range rows {
		rows[i] = map[string]string{}
	}
	set := func(i int, key, value string) {
		t.Helper()
		if err := tables[i].Set(runContext(t, time.Minute), []byte(key), []byte("s"), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		rows[i][key+"/s"] = value
	}
	// A write that goes on would come back before the last of several rounds ends.
	rounds := func(word string, times int, want func(i int) map[string]string) {
		t.Helper()
		before := make([]int64, len(cs))
		for i, c := range cs {
			before[i] = mutations(t, c)
		}
		const n = 2
		for k := range n {
			for i := range cs {
				set(i, fmt.Sprint(word, names[i], k), "v")
			}
			for i := range cs {
				has(i, want)
			}
		}
		for i, c := range cs {
			if got := mutations(t, c) - before[i]; got != int64(n*times) {
				t.Errorf("%s: %d mutations in cluster %s, expected %d: writes go round, or are sent twice", word, got, names[i], n*times)
			}
		}
	}

	for i, c := range cs {
		mustCLI(t, c, "dup", "add", "temp", names[next(i)], "--no-copy")
	}
	for _, c := range cs {
		wantSent(t, c)
	}
	ring := func(i int) map[string]string {
		m := maps.Clone(rows[i])
		maps.Copy(m, rows[(i+len(cs)-1)%len(cs)])
		return m
	}
	rounds("ring", 2, ring)

	for i, c := range cs {
		mustCLI(t, c, "dup", "add", "temp", names[next(next(i))])
	}
	all := func(int) map[string]string {
		m := map[string]string{}
		for _, r := range rows {
			maps.Copy(m, r)
		}
		return m
	}
	for i := range cs {
		has(i, all)
	}
	for _, c := range cs {
		wantSent(t, c)
	}
	rounds("mesh", 3, all)
	// A row that came from elsewhere is removed everywhere.
	if err := tables[1].Del(runContext(t, time.Minute), []byte("ringa0"), []byte("s")); err != nil {
		t.Fatal(err)
	}
	delete(rows[0], "ringa0/s")
	for i := range cs {
		has(i, all)
	}
}
