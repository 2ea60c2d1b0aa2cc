package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/bench"
	"pegasus/compat_test/cluster"
)

// TestMemoryBudget loads one replica server with many partitions, and demands that its resident
// memory was never above 1.15 times its budget. PEGASUS_MEMORY_TEST=5m makes it the measurement
// of the issue: 300 partitions, 2 GB, and that long for each kind of load.
func TestMemoryBudget(t *testing.T) {
	partitions, budget, each := 64, int64(384<<20), 4*time.Second
	if v := os.Getenv("PEGASUS_MEMORY_TEST"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatalf("PEGASUS_MEMORY_TEST: %v", err)
		}
		partitions, budget, each = 300, 2_000_000_000, d
	}
	c := cluster.Start(t, cluster.Options{Replicas: 1, Tables: fmt.Sprintf("mem:%d:1", partitions),
		Config: fmt.Sprintf("[replica]\nmemory_bytes = %d\n", budget)})
	pid, err := c.Pid("replica1")
	if err != nil {
		t.Fatal(err)
	}
	most := budget + budget*15/100
	start := peak(t, pid)
	for _, load := range []bench.Options{
		{Op: "set", ValueSize: 1000, Keys: 10_000_000, Outstanding: 64, Clients: 4},
		{Op: "mixed", ValueSize: 100, Keys: 1_000_000, ReadRatio: 0.5, Outstanding: 64, Clients: 4},
		{Op: "set", ValueSize: 100_000, Keys: 20_000, Outstanding: 32, Clients: 4},
		{Op: "multi-set", ValueSize: 1000, Keys: 1_000_000, Outstanding: 16, Clients: 2},
		{Op: "multi-get", ValueSize: 1000, Keys: 1_000_000, Outstanding: 16, Clients: 2},
	} {
		load.Metas, load.Table, load.Duration, load.Timeout, load.Seed = c.Metas(), "mem", each, 20*time.Second, 1
		rep, err := bench.Run(runContext(t, each+2*time.Minute), load)
		if err != nil {
			t.Fatalf("%s: %v", load.Op, err)
		}
		now := peak(t, pid)
		t.Logf("%s of %d bytes: %d operations, resident %d MB, at most %d MB of %d", load.Op, load.ValueSize, rep.Ops, resident(t, pid)/1e6, now/1e6, most/1e6)
		if rep.Ops == 0 {
			t.Errorf("%s: nothing was done", load.Op)
		}
	}
	if p := peak(t, pid); p > most || p <= start {
		t.Errorf("resident memory was up to %d MB, the budget is %d MB, before the load it was %d MB", p/1e6, budget/1e6, start/1e6)
	}
}

func peak(t *testing.T, pid int) int64     { return status(t, pid, "VmHWM:") }
func resident(t *testing.T, pid int) int64 { return status(t, pid, "VmRSS:") }

// status reads a size from a process's status.
func status(t *testing.T, pid int, name string) int64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("process %d has no %s", pid, name)
	return 0
}
