package compat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
	"pegasus/rrdb"
)

// duplicatedLoad writes to a table until ctx ends: rows that both clusters write and remove, and counters of this cluster's own.
func duplicatedLoad(ctx context.Context, t *testing.T, tb *client.Table, name string, sums *sync.Map, writes *atomic.Int64) {
	r := rand.New(rand.NewPCG(uint64(len(name)), uint64(name[0])))
	for i := 0; ctx.Err() == nil; i++ {
		c, cancel := context.WithTimeout(context.Background(), time.Minute)
		key := fmt.Appendf(nil, "both%d", r.IntN(150))
		var err error
		switch i % 4 {
		case 0, 1:
			err = tb.Set(c, key, []byte("s"), fmt.Append(nil, name, i), 0)
		case 2:
			err = tb.Del(c, key, []byte("s"))
		case 3:
			counter := fmt.Sprintf("%s-sum%d", name, r.IntN(8))
			var sum int64
			if sum, err = tb.Incr(c, []byte(counter), []byte("s"), 1, 0); err == nil {
				sums.Store(counter, sum)
			}
		}
		cancel()
		if err != nil {
			t.Errorf("a write to cluster %s: %v", name, err)
			return
		}
		writes.Add(1)
	}
}

// taggedRows reads a cluster's table, each row with its timetag.
func taggedRows(ctx context.Context, t *testing.T, tb *client.Table) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, tags := range []bool{false, true} {
		s := tb.ScanAll(client.ScanOptions{Timetag: tags})
		for s.Next(ctx) {
			r := s.Row()
			key := string(r.HashKey)
			if !tags {
				rows[key] = string(r.Value)
				continue
			}
			us, by, gone := rrdb.SplitTimetag(r.Timetag)
			rows[key] += fmt.Sprintf(", written at %d by cluster %d, removed %v", us, by, gone)
		}
		s.Close()
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return rows
}

// TestSplitOfDuplicated splits a table that two clusters send to each other, while both are written: the partitions of the one are
// doubled. Then both have the same rows, with the same timetags, and no increment was lost or made twice.
func TestSplitOfDuplicated(t *testing.T) {
	t.Parallel()
	port := cluster.FreePort(t, 1, 3)
	east := cluster.Start(t, cluster.Options{Replicas: 1, Tables: "temp:2", Config: fmt.Sprintf("[cluster]\nname = \"east\"\nid = 2\n[clusters.west]\nid = 1\nmeta_servers = [\"127.0.0.1:%d\"]\n", port)})
	west := cluster.Start(t, cluster.Options{Port: port, Tables: "temp:2", Config: fmt.Sprintf("[cluster]\nname = \"west\"\nid = 1\n[clusters.east]\nid = 2\nmeta_servers = [%q]\n", east.Metas()[0])})
	ctx := runContext(t, 4*time.Minute)
	both := []*cluster.Cluster{west, east}
	names := []string{"west", "east"}
	clients, tables := make([]*client.Client, len(both)), make([]*client.Table, len(both))
	for i, c := range both {
		clients[i] = client.New(c.Metas(), client.Options{Timeout: time.Minute})
		defer clients[i].Close()
		var err error
		if tables[i], err = clients[i].Table(ctx, "temp"); err != nil {
			t.Fatal(err)
		}
		for k := range 50 {
			if err := tables[i].Set(ctx, fmt.Append(nil, names[i], k), []byte("s"), []byte("from before"), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, c := range both {
		mustCLI(t, c, "dup", "add", "temp", names[1-i])
	}
	for _, c := range both {
		wantSent(t, c)
	}

	var sums sync.Map
	var wg sync.WaitGroup
	lctx, stop := context.WithCancel(ctx)
	defer wg.Wait()
	defer stop()
	writes := make([]atomic.Int64, len(both))
	for i := range both {
		wg.Go(func() { duplicatedLoad(lctx, t, tables[i], names[i], &sums, &writes[i]) })
	}
	written := func(more int64) { // by each
		t.Helper()
		var before [2]int64
		for i := range writes {
			before[i] = writes[i].Load()
		}
		for i := range writes {
			if err := cluster.Poll(time.Minute, func() error {
				if n := writes[i].Load() - before[i]; n < more && !t.Failed() {
					return fmt.Errorf("%d writes to cluster %s", n, names[i])
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	written(200)
	w := &splitWorld{T: t, c: west, k: clients[0]}
	w.start(4)
	w.await(2 * time.Minute)
	written(200) // also to the new partitions
	stop()
	wg.Wait()

	// The partitions that are new are told of, too, once they are known to be sent.
	if err := cluster.Poll(time.Minute, func() error {
		cfg, err := west.Config("temp")
		if err == nil && cfg.PartitionCount != 4 {
			err = fmt.Errorf("%d partitions", cfg.PartitionCount)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, c := range both {
		untilDup(t, c, "every partition is told of", func(d *dupShown) bool { return len(d.Partitions) == []int{4, 2}[i] })
		wantSent(t, c)
	}
	// What is confirmed is told every few seconds: the last writes may be on their way.
	var here, there map[string]string
	if err := cluster.Poll(time.Minute, func() error {
		here, there = taggedRows(ctx, t, tables[0]), taggedRows(ctx, t, tables[1])
		for k, v := range here {
			if there[k] != v {
				return fmt.Errorf("row %q is %q, and %q in the other cluster", k, v, there[k])
			}
		}
		if len(here) != len(there) {
			return fmt.Errorf("%d rows, and %d in the other cluster", len(here), len(there))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(here) < 100 {
		t.Errorf("%d rows, with those from before", len(here))
	}
	for i, tb := range tables {
		sums.Range(func(key, sum any) bool {
			got, _, err := tb.Get(ctx, []byte(key.(string)), []byte("s"))
			if string(got) != fmt.Sprint(sum) || err != nil {
				t.Errorf("counter %s of cluster %s is %q, not %d (%v)", key, names[i], got, sum, err)
			}
			return true
		})
	}
	t.Logf("%d rows after %d and %d writes", len(here), writes[0].Load(), writes[1].Load())
}
