package compat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// steady is a client that reads back what it writes, all the time.
type steady struct {
	stop    context.CancelFunc
	wg      sync.WaitGroup
	ops     atomic.Int64
	slowest atomic.Int64 // nanoseconds
	mu      sync.Mutex
	failed  []string
}

// startLoad has several goroutines set and get rows of a table, each request with the
// client's own retries and no other.
func startLoad(t *testing.T, c *cluster.Cluster, table string) *steady {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &steady{stop: cancel}
	k := client.New(c.Metas(), client.Options{})
	tb, err := k.Table(ctx, table)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		s.wg.Wait()
		k.Close()
	})
	for w := range 4 {
		s.wg.Go(func() { s.work(ctx, tb, w) })
	}
	return s
}

func (s *steady) work(ctx context.Context, tb *client.Table, w int) {
	pause := time.NewTicker(4 * time.Millisecond)
	defer pause.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		key, value := fmt.Appendf(nil, "w%d-%d", w, i%997), fmt.Appendf(nil, "value %d", i)
		began := time.Now()
		// A request that is under way when the test ends is let finish.
		err := tb.Set(context.Background(), key, []byte("s"), value, 0)
		if err == nil {
			var got []byte
			var found bool
			if got, found, err = tb.Get(context.Background(), key, []byte("s")); err == nil && (!found || !bytes.Equal(got, value)) {
				err = fmt.Errorf("row %s is %q, %q was acknowledged", key, got, value)
			}
		}
		took := int64(time.Since(began))
		for old := s.slowest.Load(); took > old && !s.slowest.CompareAndSwap(old, took); old = s.slowest.Load() {
		}
		s.ops.Add(2)
		if err != nil {
			s.mu.Lock()
			s.failed = append(s.failed, err.Error())
			s.mu.Unlock()
		}
	}
}

// end stops the load and fails the test if a request failed.
func (s *steady) end(t *testing.T) {
	t.Helper()
	s.stop()
	s.wg.Wait()
	for i, f := range s.failed {
		if i == 10 {
			break
		}
		t.Errorf("a request failed: %s", f)
	}
	if n := s.ops.Load(); n < 100 {
		t.Errorf("only %d requests were made", n)
	}
	t.Logf("%d requests, %d failed, the slowest pair took %v", s.ops.Load(), len(s.failed), time.Duration(s.slowest.Load()).Round(time.Millisecond))
}

type nodeLine struct {
	Address             string
	Status, Role        string
	Primaries, Replicas int
}

// planned is what a plan for 192 replicas on 5 of 8 servers ends with. Those 5 have 39 at most,
// or a few more where one of them was slow while the table was made.
var planned = regexp.MustCompile(`replicas: 0 to (39|4[0-9]), afterwards 24 to 24`)

// TestPlacement: a table of 64 partitions on 5 replica servers; 3 are added, a rebalancing
// evens out, 2 are taken out and stopped, and 2 others restarted, all under load. No request
// fails beyond the client's own retries, and the end is even.
func TestPlacement(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 8, Tables: "-"})
	cli := func(args ...string) (string, error) {
		return c.CLI(runContext(t, 2*time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","))...)
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := cli(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	nodes := func() (list []nodeLine) {
		t.Helper()
		if err := json.Unmarshal([]byte(must("node", "ls", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	alive := func(n int) {
		t.Helper()
		if err := cluster.Poll(time.Minute, func() error {
			have := 0
			for _, l := range nodes() {
				if l.Status == "alive" {
					have++
				}
			}
			if have != n {
				return fmt.Errorf("%d servers live, not %d", have, n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	added := []string{"replica6", "replica7", "replica8"}
	for _, name := range added {
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
	}
	alive(5)
	must("table", "create", "temp", "-p", "64", "-r", "3", "--wait", "60s")
	load := startLoad(t, c, "temp")

	for _, name := range added {
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	alive(8)
	if out := must("rebalance", "--dry-run"); !planned.MatchString(out) || !strings.Contains(out, "table temp has") {
		t.Errorf("the plan:\n%s", out)
	}
	t.Logf("rebalance:\n%s", must("rebalance", "--wait", "60s"))
	evenly(t, nodes(), 8)

	out := []string{"replica2", "replica7"}
	for _, name := range out {
		must("node", "drain", c.Addr(name), "--wait", "60s")
	}
	must("rebalance", "--wait", "60s") // a move or two, which a drain alone doesn't make
	evenly(t, nodes(), 6)
	for _, name := range out {
		if err := c.Signal(name, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	alive(6)

	restartUnderLoad(t, c, cli, []string{"replica3", "replica8"})
	must("rebalance", "--wait", "60s")
	evenly(t, nodes(), 6)
	if why := must("table", "show", "temp", "--why", "--partition", "0"); !strings.Contains(why, "partition 0: healthy") || !strings.Contains(why, "ballot ") {
		t.Errorf("why: %s", why)
	}
	load.end(t)
}

// TestRollingRestart: five servers are restarted one after the other under load. No request fails, and none waits
// as if a secondary vanished without a word, for that lasts until the primary notices.
func TestRollingRestart(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 5, Tables: "temp:32"})
	cli := func(args ...string) (string, error) {
		return c.CLI(runContext(t, 3*time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","))...)
	}
	load := startLoad(t, c, "temp")
	// What this machine costs without any restart.
	if err := cluster.Poll(5*time.Minute, func() error {
		if n := load.ops.Load(); n < 1000 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	quiet := time.Duration(load.slowest.Swap(0))
	restartUnderLoad(t, c, cli, []string{"replica1", "replica2", "replica3", "replica4", "replica5"})
	slowest := time.Duration(load.slowest.Load())
	load.end(t)
	t.Logf("the slowest set and get together took %v, %v before the restarts", slowest.Round(time.Millisecond), quiet.Round(time.Millisecond))
	if slowest > 300*time.Millisecond+8*quiet {
		t.Errorf("a set and a get together took %v during the restarts, at most %v before", slowest, quiet)
	}
}

// evenly fails the test unless all is on n servers, evenly.
func evenly(t *testing.T, nodes []nodeLine, n int) {
	t.Helper()
	total, used := 0, 0
	minP, maxP, minR, maxR := 1<<30, 0, 1<<30, 0
	for _, l := range nodes {
		total += l.Replicas
		if l.Status != "alive" || l.Role != "full" {
			if l.Replicas > 0 {
				t.Errorf("%+v still holds something", l)
			}
			continue
		}
		used++
		minP, maxP, minR, maxR = min(minP, l.Primaries), max(maxP, l.Primaries), min(minR, l.Replicas), max(maxR, l.Replicas)
	}
	if total != 192 || used != n || maxP-minP > 1 || maxR-minR > 1 {
		t.Errorf("%d replicas on %d servers, %d to %d, primaries %d to %d", total, used, minR, maxR, minP, maxP)
	}
}

// restartUnderLoad restarts servers by `node restart`, whose command asks this test to do it.
func restartUnderLoad(t *testing.T, c *cluster.Cluster, cli func(args ...string) (string, error), names []string) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	var count atomic.Int64
	var down atomic.Pointer[string]
	k := client.New(c.Metas(), client.Options{})
	defer k.Close()
	watched := make(chan int, 1)
	go func() {
		looks := 0
		for ; ctx.Err() == nil; looks++ {
			q, err := k.Admin().QueryConfig(ctx, "temp")
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			if err != nil {
				continue
			}
			for i := range q.Partitions {
				p := &q.Partitions[i]
				live := 0
				for _, a := range append(p.Secondaries, p.Primary) {
					if d := down.Load(); a != 0 && (d == nil || a.String() != *d) {
						live++
					}
				}
				if live < 2 {
					t.Errorf("partition %v has %d living members", p.Pid, live)
				}
			}
		}
		watched <- looks
	}()
	go func() {
		for ctx.Err() == nil {
			for _, name := range names {
				ask := filepath.Join(dir, c.Addr(name))
				if _, err := os.Stat(ask + ".ask"); err != nil {
					continue
				}
				addr := c.Addr(name)
				down.Store(&addr)
				err := errors.Join(os.Remove(ask+".ask"), c.Signal(name, syscall.SIGTERM), cluster.Poll(30*time.Second, func() error {
					if c.Alive(name) {
						return fmt.Errorf("%s doesn't stop", name)
					}
					return nil
				}), c.Restart(name), os.WriteFile(ask+".done", nil, 0o644))
				if err != nil {
					done <- err
					return
				}
				count.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
		done <- nil
	}()
	args := []string{"node", "restart", "--wait", "60s", "--exec", fmt.Sprintf(`touch "%s/$1.ask"; while [ ! -e "%s/$1.done" ]; do sleep 0.05; done`, dir, dir)}
	for _, n := range names {
		args = append(args, c.Addr(n))
	}
	out, err := cli(args...)
	cancel()
	if err != nil {
		t.Fatalf("restart: %v", err)
	}
	if n := <-watched; n < 10 {
		t.Errorf("the members were looked at only %d times", n)
	}
	if err := <-done; err != nil || int(count.Load()) != len(names) {
		t.Errorf("%d restarts: %v", count.Load(), err)
	}
	t.Logf("restart:\n%s", out)
}
