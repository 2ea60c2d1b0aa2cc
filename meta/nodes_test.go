package meta

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
)

// When most servers die at once, partitions get new primaries and what they need to be
// written, and no more; until an administrator says that they are gone for good.
func TestFewLive(t *testing.T) {
	c := newCluster(t, 1, 7, func(c *config.Config) {
		fast(c)
		c.Meta.ReplaceWait = config.Duration(3 * time.Second)
	})
	c.mustCreate("temp", 14, 3)
	c.whole("temp", 3)
	for _, f := range c.reps[3:] {
		f.kill()
	}
	alive := map[base.RPCAddress]bool{}
	for _, f := range c.reps[:3] {
		alive[f.addr] = true
	}
	// living counts the living members of each partition that has any.
	living := func() (fewest, most int) {
		fewest = 99
		for _, p := range c.query("temp").Partitions {
			n := 0
			for _, a := range members(&p) {
				if alive[a] {
					n++
				}
			}
			if n > 0 {
				fewest, most = min(fewest, n), max(most, n)
			}
		}
		return fewest, most
	}
	hint := ""
	until(t, "the dead are known", func() bool {
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
		hint = r.HintMessage
		return strings.HasPrefix(hint, "only 3 of 7")
	})
	until(t, "what has a living member can be written", func() bool {
		fewest, _ := living()
		return fewest >= 2
	})
	// What was begun before they were known to be so few ends; then nobody gets a third one.
	explain := func() (text string) {
		e := &placement.ExplainResponse{}
		c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: -1}, e)
		for _, p := range e.Partitions {
			text += strings.Join(p.Why, "\n")
		}
		return text
	}
	until(t, "nothing is being copied", func() bool {
		text := explain()
		return strings.Contains(text, "only 3 of 7") && !strings.Contains(text, "is being given a replica")
	})
	count := func() (n int) {
		for _, p := range c.query("temp").Partitions {
			n += len(members(&p))
		}
		return n
	}
	before := count()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(c.cfg.Meta.ReplaceWait.D() * 3 / 2); time.Now().Before(end); <-tick.C {
		if now := count(); now > before {
			t.Fatalf("there are %d replicas, there were %d", now, before)
		}
	}
	if r := c.rebalance(placement.REBALANCE_STATUS, "", false); !strings.HasPrefix(r.HintMessage, "only 3 of 7") {
		t.Errorf("balancing: %+v", r)
	}
	c.remote("meta.live_percentage", "0")
	until(t, "they are made whole", func() bool {
		fewest, most := living()
		return fewest == 3 && most == 3
	})
}

// TestNodesThatHoldNoMore: a table is made only if the servers have descriptors for it; one that
// has as many replicas as it can hold gets no more from anybody, and that is told.
func TestNodesThatHoldNoMore(t *testing.T) {
	c := newCluster(t, 1, 4, fast)
	for _, f := range c.reps[:3] {
		f.mu.Lock()
		f.most = base.Some[int32](20)
		f.mu.Unlock()
	}
	small := c.reps[3]
	small.mu.Lock()
	small.most = base.Some[int32](2)
	small.mu.Unlock()
	l := c.leader().srv.leader.Load()
	until(t, "all said what they can hold", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !slices.ContainsFunc(c.reps, func(f *fakeReplica) bool { return !l.nodes.of(f.addr).space.max.Set })
	})
	if r := c.create("large", 21, 3); r.Err != base.ErrInvalidParameters || !strings.Contains(r.HintMessage.V, "63 replicas, and the 4 replica servers that live have descriptors for 62 more") {
		t.Errorf("a table that is too large: %v, %q", r.Err, r.HintMessage.V)
	}
	if r := c.create("fits", 18, 3); r.Err != base.ErrOK {
		t.Fatalf("a table that fits: %v, %q", r.Err, r.HintMessage.V)
	}
	c.whole("fits", 3)
	loads := func() (of map[base.RPCAddress]int32) {
		of = map[base.RPCAddress]int32{}
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
		for _, v := range r.Nodes {
			of[v.Node] = v.Replicas
		}
		return of
	}
	for a, n := range loads() {
		if n > 20 || a == small.addr && n > 2 {
			t.Errorf("%v got %d replicas", a, n)
		}
	}
	c.reps[0].kill()
	until(t, "it says why nobody is given a replica", func() bool {
		e := &placement.ExplainResponse{}
		c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "fits", Partition: -1}, e)
		return slices.ContainsFunc(e.Partitions, func(p placement.PartitionExplanation) bool {
			return slices.ContainsFunc(p.Why, func(w string) bool { return strings.Contains(w, "as many replicas as there are descriptors for") })
		})
	})
	if n := loads()[small.addr]; n > 2 {
		t.Errorf("the small one got %d replicas", n)
	}
}

// A server without room on any disk gets no new replica, neither at first nor by the cure nor
// by a plan, and it is told why; when there is room it does.
func TestFullDisks(t *testing.T) {
	c := newCluster(t, 1, 4, fast)
	full := c.reps[3]
	report := func(states ...metaadmin.DiskState) {
		full.mu.Lock()
		defer full.mu.Unlock()
		full.disks = nil
		for _, s := range states {
			full.disks = append(full.disks, metaadmin.DiskReport{Tag: "ssd", State: s, CapacityMb: 1000, AvailableMb: 10})
		}
	}
	node := func() (n placement.NodePlacement) {
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
		for _, v := range r.Nodes {
			if v.Node == full.addr {
				n = v
			}
		}
		return n
	}
	report(metaadmin.DISK_SHORT, metaadmin.DISK_BROKEN)
	until(t, "the disks are known", func() bool {
		n := node()
		return n.Disks == 2 && n.DisksShort == 1 && n.DisksBroken == 1 && n.CapacityMb == 2000 && n.AvailableMb == 20
	})
	c.mustCreate("temp", 8, 3)
	c.whole("temp", 3)
	if n := node(); n.Replicas != 0 {
		t.Errorf("it got %d replicas", n.Replicas)
	}
	if p := c.rebalance(placement.REBALANCE_PLAN, "", false); slices.ContainsFunc(p.Moves, func(m placement.Move) bool { return m.Target == full.addr }) {
		t.Errorf("a plan moves something to it: %+v", p.Moves)
	}
	c.reps[0].kill()
	until(t, "it says why nobody is given a replica", func() bool {
		e := &placement.ExplainResponse{}
		c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: -1}, e)
		return e.Err == base.ErrOK && !slices.ContainsFunc(e.Partitions, func(p placement.PartitionExplanation) bool {
			return !slices.ContainsFunc(p.Why, func(w string) bool {
				return strings.Contains(w, "no disk of "+full.addr.String()+" has room")
			})
		})
	})
	report(metaadmin.DISK_NORMAL, metaadmin.DISK_BROKEN)
	c.whole("temp", 3)
	if n := node(); n.Replicas != 8 || n.DisksShort != 0 {
		t.Errorf("with room on a disk it holds %d replicas", n.Replicas)
	}
}
