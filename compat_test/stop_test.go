package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// TestStopUnderLoad: a server that gets SIGTERM under full load gives over what it leads, ends
// by itself and well, and no client sees an error; then all servers end at once. No
// acknowledged row is lost, and a restart has next to nothing to replay.
func TestStopUnderLoad(t *testing.T) {
	const sets, ahead = 60000, 5000
	c := cluster.Start(t, cluster.Options{})
	acked := filepath.Join(t.TempDir(), "acked")
	type result struct {
		r   benchReport
		err error
	}
	done := make(chan result, 1)
	go func() {
		r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "200", "--clients", "2", "--record-acked", acked)
		done <- result{r, err}
	}()
	written := func(acked string, n int64) {
		t.Helper()
		if err := cluster.Poll(2*time.Minute, func() error {
			if is := countAcked(acked); is < n {
				return fmt.Errorf("%d acknowledged of %d", is, n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{"replica1", "replica2"} {
		written(acked, int64(i+1)*ahead)
		stopOne(t, c, name)
		written(acked, int64(i+1)*ahead+ahead/2) // without it
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
		if n := replayed(t, filepath.Join(c.Dir, name, "log"), 1); n > 100 {
			t.Errorf("%s replays %d entries after an orderly end", name, n)
		}
		if err := cluster.Poll(2*time.Minute, func() error { return whole(t, c) }); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case res := <-done:
		if res.err != nil || res.r.Ops != sets || len(res.r.Errors) > 0 {
			t.Errorf("bench: %d of %d sets, errors %v, %v", res.r.Ops, sets, res.r.Errors, res.err)
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("the load doesn't end")
	}

	// Everything at once, under a load that can only fail in the end: the same rows again.
	again := filepath.Join(t.TempDir(), "acked")
	failed := make(chan struct{})
	go func() {
		runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "200", "--give-up", "1s", "--record-acked", again)
		close(failed)
	}()
	written(again, ahead)
	c.Stop(t)
	<-failed
	if b, err := os.ReadFile(filepath.Join(c.Dir, "onebox.log")); err != nil || strings.Contains(string(b), "was killed") || strings.Contains(string(b), "failed after SIGTERM") {
		t.Errorf("a server didn't end well (%v):\n%s", err, b)
	}
	c.StartAgain(t)
	verify(t, c, acked, sets)
}

// stopOne has a server end. It may take as long as a loaded machine needs; what it must not do
// is to be killed, or to say that it failed.
func stopOne(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	began := time.Now()
	if err := c.Signal(name, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Poll(30*time.Second, func() error {
		if c.Alive(name) {
			return fmt.Errorf("%s still runs", name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s ended after %v", name, time.Since(began).Round(time.Millisecond))
	log := filepath.Join(c.Dir, "onebox.log")
	if err := cluster.Poll(10*time.Second, func() error {
		b, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(b), name+" died") {
			err = fmt.Errorf("onebox says nothing of the end of %s", name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(log)
	if !regexp.MustCompile(name + ` died \([^)]*\): exit status 0;`).Match(b) {
		t.Errorf("%s didn't end with exit status 0:\n%s", name, b)
	}
}

var replayedLine = regexp.MustCompile(`for them (\d+) entries of the log were replayed`)

// replayed returns how many entries the server replayed whose start is number i in a log.
func replayed(t *testing.T, log string, i int) (n int) {
	t.Helper()
	if err := cluster.Poll(time.Minute, func() error {
		b, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		found := replayedLine.FindAllStringSubmatch(string(b), -1)
		if len(found) <= i {
			return fmt.Errorf("%s doesn't say what was replayed", log)
		}
		n, err = strconv.Atoi(found[i][1])
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// whole says what partitions lack.
func whole(t *testing.T, c *cluster.Cluster) error {
	out, err := c.CLI(runContext(t, time.Minute), "table", "show", "temp", "--meta", strings.Join(c.Metas(), ","))
	if err == nil && !strings.Contains(out, "8 healthy") {
		err = fmt.Errorf("not all partitions are whole:\n%s", out)
	}
	return err
}
