package compat

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base/version"
	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// firstRelease is the commit whose program writes and understands cluster version 1 and no other.
const firstRelease = "086adc4"

// lightLoad writes rows one after the other, and remembers which were acknowledged.
type lightLoad struct {
	table *client.Table
	stop  context.CancelFunc
	done  chan struct{}

	mu    sync.Mutex
	acked []int
}

func loadKey(i int) []byte { return []byte(fmt.Sprintf("row%06d", i)) }

func startLightLoad(t *testing.T, c *cluster.Cluster) *lightLoad {
	t.Helper()
	cl := client.New(c.Metas(), client.Options{})
	t.Cleanup(func() { cl.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	table, err := cl.Table(ctx, "temp")
	if err != nil {
		t.Fatal(err)
	}
	l := &lightLoad{table: table, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := table.Set(ctx, loadKey(i), []byte("s"), loadKey(i), 0); err == nil {
				l.mu.Lock()
				l.acked = append(l.acked, i)
				l.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-l.done })
	return l
}

// grown waits until rows are acknowledged again.
func (l *lightLoad) grown(t *testing.T) {
	t.Helper()
	was := l.count()
	if err := cluster.Poll(time.Minute, func() error {
		if l.count() < was+20 {
			return fmt.Errorf("%d rows were acknowledged, and %d now", was, l.count())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (l *lightLoad) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// check reads every row that was acknowledged.
func (l *lightLoad) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	acked := append([]int(nil), l.acked...)
	l.mu.Unlock()
	bad := 0
	for _, i := range acked {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		v, found, err := l.table.Get(ctx, loadKey(i), []byte("s"))
		cancel()
		if err != nil || !found || string(v) != string(loadKey(i)) {
			if bad++; bad < 5 {
				t.Errorf("row %d: %q %v %v", i, v, found, err)
			}
		}
	}
	t.Logf("%d rows were acknowledged, %d of them are wrong", len(acked), bad)
}

// TestRollingUpgrade: a cluster of the first release is upgraded server by server under load; one
// of each kind goes back, and comes again; the cluster's version is raised when all can, and not
// before; and who comes with the old program then stops with words that say why. Nothing is lost.
func TestRollingUpgrade(t *testing.T) {
	old, now := cluster.Release(t, firstRelease), cluster.Binary(t)
	c := cluster.Start(t, cluster.Options{Program: old, Metas: 3, Tables: "temp:4",
		Config: "[failure_detector]\nbeacon_interval = \"500ms\"\nlease = \"4s\"\ngrace = \"5s\"\n"})
	load := startLightLoad(t, c)
	cli := func(args ...string) (string, error) {
		return c.CLI(runContext(t, 2*time.Minute), append(args, "--meta", strings.Join(c.Metas(), ","), "--timeout", "20s")...)
	}
	become := func(name, program string) {
		t.Helper()
		if err := c.Terminate(name); err != nil {
			t.Fatal(err)
		}
		if err := c.SetProgram(name, program); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(name); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, c.Log(name))
		}
		if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
			t.Fatalf("after %s was restarted: %v", name, err)
		}
		load.grown(t)
	}
	// refused: the version isn't raised, and all of these are named, unless one of them leads, which doesn't
	// know the request. A busy machine may need a second try to hear from all.
	refused := func(names ...string) {
		t.Helper()
		if err := cluster.Poll(2*time.Minute, func() error {
			out, err := cli("meta", "upgrade-version")
			if err == nil {
				t.Fatalf("the version is raised in spite of %v: %s", names, out)
			}
			for _, name := range names {
				if strings.Contains(err.Error(), c.Addr(name)+": ERR_HANDLER_NOT_FOUND; that server runs an older program") {
					return nil
				}
				if !strings.Contains(err.Error(), c.Addr(name)+" understands versions up to 1") {
					return fmt.Errorf("%s isn't named: %s%w", name, out, err)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	load.grown(t)
	for _, name := range c.Servers() {
		if name == "replica3" {
			// It is the last one that can't.
			refused(name)
		}
		become(name, now)
	}
	if out, err := cli("table", "env", "set", "temp", "default_ttl=86400"); err != nil {
		t.Fatalf("%s%v", out, err)
	}
	// Back, and forth.
	become("meta2", old)
	become("replica2", old)
	refused("meta2", "replica2")
	become("replica2", now)
	become("meta2", now)
	// The last beacon that the leader heard of it may be one of before.
	if err := cluster.Poll(time.Minute, func() error { _, err := cli("meta", "upgrade-version"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(time.Minute, func() error {
		out, err := cli("meta", "status")
		if err == nil && !strings.Contains(out, fmt.Sprintf("cluster version %d", version.Newest)) {
			t.Fatal(out)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	load.grown(t)
	for _, name := range []string{"meta1", "replica1", "meta2", "meta3"} {
		become(name, now) // what was written is read again
	}

	// The old program isn't let near what it doesn't understand.
	for name, words := range map[string]string{"meta3": "this version doesn't know", "replica3": fmt.Sprintf("has format %d, this version reads 1", version.Newest)} {
		if err := c.Terminate(name); err != nil {
			t.Fatal(err)
		}
		if err := c.SetProgram(name, old); err != nil {
			t.Fatal(err)
		}
		_ = c.Restart(name) // it may have ended by then
		if err := cluster.Poll(time.Minute, func() error {
			if c.Alive(name) {
				return fmt.Errorf("%s runs", name)
			}
			if !strings.Contains(c.Log(name), words) {
				return fmt.Errorf("%s doesn't say %q", name, words)
			}
			return nil
		}); err != nil {
			t.Errorf("%s with the old program: %v\n%s", name, err, c.Log(name))
		}
		load.grown(t)
		if err := c.SetProgram(name, now); err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	load.stop()
	<-load.done
	load.check(t)
}
