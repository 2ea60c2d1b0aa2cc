package compat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/gen/layer2"
)

// slowCopies makes a copy from nothing take long, and what a returned server lacks no time.
const slowCopies = "[replica]\nlearn_bytes_per_second = 200000\nlearn_least_bytes_per_second = 100000\n" +
	"[storage]\nmemtable_bytes = 262144\n[wal]\nsegment_bytes = 262144\nmax_bytes = 1048576\n"

// membersOf returns the members of each partition of temp, in order.
func membersOf(c *cluster.Cluster) (map[int32][]base.RPCAddress, error) {
	cfg, err := c.Config("temp")
	if err != nil {
		return nil, err
	}
	m := map[int32][]base.RPCAddress{}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		m[p.Pid.PartitionIndex] = slices.Sorted(slices.Values(append(slices.Clone(p.Secondaries), p.Primary)))
	}
	return m, nil
}

// TestTwoOfFiveComeBack: two of five servers die and come back three seconds later. They are
// members of the partitions again that they have the data of, although copies were begun
// elsewhere meanwhile.
func TestTwoOfFiveComeBack(t *testing.T) {
	t.Parallel()
	const sets = 20000
	c := cluster.Start(t, cluster.Options{Replicas: 5, Tables: "temp:10", Config: slowCopies})
	acked := filepath.Join(t.TempDir(), "acked")
	if r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "1000", "--record-acked", acked); err != nil || r.Ops != sets {
		t.Fatalf("bench: %d sets, %v", r.Ops, err)
	}
	if err := c.WaitHealthy("temp", time.Minute); err != nil {
		t.Fatal(err)
	}
	before, err := membersOf(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"replica1", "replica2"} {
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
	}
	// Until copies were begun elsewhere: three seconds after it is sure that both are dead.
	if err := cluster.Poll(time.Minute, func() error {
		logs, err := os.ReadFile(filepath.Join(c.Dir, "meta1", "log"))
		if err != nil {
			return err
		}
		if n := bytes.Count(logs, []byte(" is dead: ")); n < 2 {
			return fmt.Errorf("%d of two are known to be dead", n)
		}
		for _, r := range []string{"replica3", "replica4", "replica5"} {
			logs, err := os.ReadFile(filepath.Join(c.Dir, r, "log"))
			if err != nil || bytes.Contains(logs, []byte("fetches a checkpoint")) {
				return err
			}
		}
		return fmt.Errorf("no copy was begun")
	}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"replica1", "replica2"} {
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	t.Logf("whole again %.1f s after they were back", time.Since(start).Seconds())
	after, err := membersOf(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(len(before)) {
		if !slices.Equal(before[i], after[i]) {
			t.Errorf("partition %d: members were %v, are %v", i, before[i], after[i])
		}
	}
	verify(t, c, acked, sets)
}

// TestRecoverTakesWhoHasTheData: after the meta lost its state, the members are those that have
// the data, not any.
func TestRecoverTakesWhoHasTheData(t *testing.T) {
	t.Parallel()
	const sets = 10000
	c := cluster.Start(t, cluster.Options{Replicas: 5, Tables: "temp:16", Config: slowCopies})
	acked := filepath.Join(t.TempDir(), "acked")
	if r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "1000", "--record-acked", acked); err != nil || r.Ops != sets {
		t.Fatalf("bench: %d sets, %v", r.Ops, err)
	}
	if err := c.WaitHealthy("temp", time.Minute); err != nil {
		t.Fatal(err)
	}
	before, err := membersOf(c)
	if err != nil {
		t.Fatal(err)
	}
	loseMeta(t, c)
	if out, err := c.CLI(runContext(t, time.Minute), "recover", "--meta", strings.Join(c.Metas(), ",")); err != nil {
		t.Fatalf("recover: %v: %s", err, out)
	}
	if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	after, err := membersOf(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(len(before)) {
		if !slices.Equal(before[i], after[i]) {
			t.Errorf("partition %d: members were %v, are %v", i, before[i], after[i])
		}
	}
	verify(t, c, acked, sets)
}

// TestDamagedLogOfTheLastMember: all servers die one after the other, and the log of the last
// one is damaged. The two others have all rows, of which one provably has; it takes over by
// itself, and the damaged one learns from it.
func TestDamagedLogOfTheLastMember(t *testing.T) {
	t.Parallel()
	const sets = 20000
	c := cluster.Start(t, cluster.Options{Tables: "temp:2"})
	acked := filepath.Join(t.TempDir(), "acked")
	if r, err := runBench(t, c, "--op", "set", "--count", fmt.Sprint(sets), "--value-size", "300", "--record-acked", acked); err != nil || r.Ops != sets {
		t.Fatalf("bench: %d sets, %v", r.Ops, err)
	}
	for i, name := range []string{"replica1", "replica2", "replica3"} {
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			break
		}
		gone := c.Replicas()[i]
		if err := c.WaitConfig("temp", time.Minute, func(p *layer2.PartitionConfiguration) error {
			if p.Primary.String() == gone || slices.ContainsFunc(p.Secondaries, func(a base.RPCAddress) bool { return a.String() == gone }) {
				return fmt.Errorf("partition %v still has %s", p.Pid, gone)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := filepath.Glob(filepath.Join(c.Dir, "replica3", "data", "wal", "*.log"))
	if err != nil || len(segs) == 0 {
		t.Fatalf("segments: %v, %v", segs, err)
	}
	b, err := os.ReadFile(segs[0])
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(b, "\x00"))
	copy(b[end*9/10:], bytes.Repeat([]byte{0xa5}, 64))
	if err := os.WriteFile(segs[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"replica1", "replica2", "replica3"} {
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	verify(t, c, acked, sets)
}
