package compat

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// gaps asks the metas again and again, by clients that know nothing yet, and keeps the longest time in which no answer came.
type gaps struct {
	mu      sync.Mutex
	longest time.Duration
	last    time.Time
}

func (g *gaps) run(ctx context.Context, metas []string) {
	for ctx.Err() == nil {
		k := client.New(metas, client.Options{Timeout: 10 * time.Second})
		_, err := k.Admin().QueryConfig(ctx, "temp")
		k.Close()
		if err == nil {
			g.mu.Lock()
			now := time.Now()
			g.longest = max(g.longest, now.Sub(g.last))
			g.last = now
			g.mu.Unlock()
		}
	}
}

// during returns the longest gap while do ran, and until an answer came after it.
func (g *gaps) during(t *testing.T, do func()) time.Duration {
	t.Helper()
	began := time.Now()
	g.mu.Lock()
	g.longest, g.last = 0, began
	g.mu.Unlock()
	do()
	ended := time.Now()
	for deadline := ended.Add(time.Minute); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		last, longest := g.last, g.longest
		g.mu.Unlock()
		if last.After(ended) {
			return longest
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody answers")
		}
	}
}

// TestMetaHandsOver: clients wait less for a leader that is told to hand over, or is stopped, than for one that dies.
func TestMetaHandsOver(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Metas: 3, Tables: "temp:4"})
	g := &gaps{}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { g.run(ctx, c.Metas()) })
	leader := func() string {
		t.Helper()
		l, err := c.Leader()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var worst [3]time.Duration
	rounds := 3
	if s := os.Getenv("PEGASUS_HANDOVERS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	for range rounds {
		was := leader()
		worst[0] = max(worst[0], g.during(t, func() {
			out, err := c.CLI(runContext(t, time.Minute), "meta", "transfer", "--meta", strings.Join(c.Metas(), ","))
			if err != nil || !strings.Contains(out, "leads now, before: "+c.Addr(was)) {
				t.Fatalf("%v: %s", err, out)
			}
		}))
		for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			was = leader()
			worst[1+i] = max(worst[1+i], g.during(t, func() {
				if err := c.Signal(was, sig); err != nil {
					t.Fatal(err)
				}
				if err := cluster.Poll(time.Minute, func() error {
					if c.Alive(was) {
						return context.DeadlineExceeded
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}))
			if err := c.Restart(was); err != nil {
				t.Fatal(err)
			}
			if err := cluster.Poll(time.Minute, func() error {
				out, err := c.CLI(runContext(t, time.Minute), "meta", "status", "--meta", strings.Join(c.Metas(), ","))
				if err == nil && !strings.Contains(out, "answering: 3") {
					err = errors.New(out)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("longest gap of %d each: told to hand over %v, stopped %v, killed %v", rounds, worst[0].Round(time.Millisecond), worst[1].Round(time.Millisecond), worst[2].Round(time.Millisecond))
	if worst[0] > 2*time.Second || worst[1] > 2*time.Second {
		t.Error("clients wait for an election although the leader handed over")
	}
}
