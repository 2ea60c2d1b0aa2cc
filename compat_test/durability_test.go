package compat

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// benchReport is what these tests read of `pegasus bench -o json`.
type benchReport struct {
	Ops    int64            `json:"ops"`
	Misses int64            `json:"rows_not_found"`
	Wrong  int64            `json:"rows_wrong"`
	Errors map[string]int64 `json:"errors"`
}

func runBench(t *testing.T, c *cluster.Cluster, args ...string) (benchReport, error) {
	args = append([]string{"bench", "--meta", strings.Join(c.Metas(), ","), "--table", "temp", "-o", "json", "--progress=false"}, args...)
	out, err := c.CLI(runContext(t, 20*time.Minute), args...)
	var r benchReport
	if jerr := json.Unmarshal([]byte(out), &r); err == nil {
		err = jerr
	}
	return r, err
}

// durableSets is how many rows are written: PEGASUS_DURABILITY_SETS, or a number that suits
// every run of the tests.
func durableSets(t *testing.T) int64 {
	t.Helper()
	s := os.Getenv("PEGASUS_DURABILITY_SETS")
	if s == "" {
		return 50000
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("PEGASUS_DURABILITY_SETS=%q is no number of rows", s)
	}
	return n
}

// TestKillAll: every process of the cluster is killed at once, twice: when a load has just
// ended, and in the middle of one. Every acknowledged row must be there afterwards.
func TestKillAll(t *testing.T) {
	sets := durableSets(t)
	c := cluster.Start(t, cluster.Options{})
	acked := filepath.Join(t.TempDir(), "acked")
	start := time.Now()
	r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "200", "--record-acked", acked)
	if err != nil || r.Ops != sets {
		t.Fatalf("bench: %d of %d sets, %v", r.Ops, sets, err)
	}
	c.KillAll(t)
	t.Logf("%d sets in %.1f s, then everything killed", sets, time.Since(start).Seconds())
	start = time.Now()
	c.StartAgain(t)
	t.Logf("ready again after %.1f s", time.Since(start).Seconds())
	verify(t, c, acked, sets)

	// The load goes on while everything dies and comes back: what is in flight may fail, what
	// was acknowledged may not.
	during := filepath.Join(t.TempDir(), "acked")
	done := make(chan error, 1)
	go func() {
		_, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--seed", "2", "--value-size", "200", "--give-up", "2m", "--record-acked", during)
		done <- err
	}()
	if err := cluster.Poll(2*time.Minute, func() error {
		if n := countAcked(during); n < sets/3 {
			return fmt.Errorf("%d acknowledged of %d", n, sets)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	c.KillAll(t)
	before := countAcked(during)
	c.StartAgain(t)
	if before >= sets {
		t.Logf("the load had ended before the kill")
	}
	select {
	case err := <-done:
		t.Logf("the load ended with %v", err) // errors are its business
	case <-time.After(10 * time.Minute):
		t.Fatal("the load doesn't end")
	}
	n := countAcked(during)
	t.Logf("%d of %d rows were acknowledged before the kill, %d at the end", before, sets, n)
	if n < before {
		t.Errorf("the record of acknowledged rows shrank from %d to %d", before, n)
	}
	verify(t, c, during, n)
}

// verify reads back every row that a record names.
func verify(t *testing.T, c *cluster.Cluster, acked string, n int64) {
	t.Helper()
	start := time.Now()
	r, err := runBench(t, c, "--op", "verify", "--record-acked", acked)
	if err != nil || r.Ops != n || r.Misses != 0 || r.Wrong != 0 {
		t.Errorf("verify: %v: %d of %d rows read, %d lost, %d wrong", err, r.Ops, n, r.Misses, r.Wrong)
	}
	t.Logf("%d rows read back in %.1f s", r.Ops, time.Since(start).Seconds())
}

// countAcked counts the bits of a record of acknowledged rows, which follow its header.
func countAcked(file string) int64 {
	const header = 8 + 5*8
	b, err := os.ReadFile(file)
	if err != nil || len(b) < header {
		return 0
	}
	n := 0
	for _, c := range b[header:] {
		n += bits.OnesCount8(c)
	}
	return int64(n)
}
