package meta

import (
	"slices"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
)

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
