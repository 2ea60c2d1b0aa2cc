package meta

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/command"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// remote runs a remote command of the leader.
func (c *cluster) remote(cmd string, args ...string) string {
	c.t.Helper()
	var s value.Text
	c.ask("RPC_CLI_CLI_CALL", &command.Command{Cmd: cmd, Arguments: args}, &s)
	return string(s)
}

// ping sends the leader a beacon of a node; a leader that isn't confirmed is asked again.
func (c *cluster) ping(a base.RPCAddress) (ack fd.BeaconAck) {
	c.t.Helper()
	until(c.t, "the leader acknowledges as one", func() bool {
		ack = fd.BeaconAck{}
		err := c.call(c.leader().name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, &fd.BeaconMsg{Version: base.Some(int32(version.Newest)), Time: 1, FromNode: a}, &ack)
		return err == nil && ack.IsMaster
	})
	return ack
}

func (c *cluster) rebalance(action placement.RebalanceAction, table string, primariesOnly bool) *placement.RebalanceResponse {
	c.t.Helper()
	r := &placement.RebalanceResponse{}
	c.ask("RPC_CM_REBALANCE", &placement.RebalanceRequest{Action: action, AppName: table, PrimariesOnly: primariesOnly}, r)
	return r
}

func (c *cluster) role(a base.RPCAddress, role placement.NodeRole) *placement.NodeRoleResponse {
	c.t.Helper()
	r := &placement.NodeRoleResponse{}
	c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{Node: a, Role: role, Change: true}, r)
	return r
}

func (c *cluster) level(l metaadmin.MetaFunctionLevel) {
	c.t.Helper()
	r := &metaadmin.ConfigurationMetaControlResponse{}
	if c.ask("RPC_CM_CONTROL_META", &metaadmin.ConfigurationMetaControlRequest{Level: l}, r); r.Err != base.ErrOK {
		c.t.Fatal(r.Err)
	}
}

// spread returns the least and most primaries and replicas that a table has on the nodes.
func (c *cluster) spread(name string, nodes []*fakeReplica) (p, r [2]int) {
	c.t.Helper()
	primaries, replicas := map[base.RPCAddress]int{}, map[base.RPCAddress]int{}
	for _, q := range c.query(name).Partitions {
		primaries[q.Primary]++
		for _, a := range members(&q) {
			replicas[a]++
		}
	}
	p, r = [2]int{1 << 30, 0}, [2]int{1 << 30, 0}
	for _, f := range nodes {
		p[0], p[1] = min(p[0], primaries[f.addr]), max(p[1], primaries[f.addr])
		r[0], r[1] = min(r[0], replicas[f.addr]), max(r[1], replicas[f.addr])
	}
	return p, r
}

func even(v [2]int) bool { return v[1]-v[0] <= 1 }

func fast(c *config.Config) { c.Meta.BalanceInterval = config.Duration(200 * time.Millisecond) }

// Servers are added, a rebalancing evens out, and what it did can be asked for.
func TestRebalance(t *testing.T) {
	c := newCluster(t, 1, 3, fast)
	c.mustCreate("temp", 16, 3)
	c.whole("temp", 3)
	for range 2 {
		c.addReplica()
	}
	until(t, "the new ones are known", func() bool {
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
		return len(r.Nodes) == 5
	})
	before := c.query("temp")
	var plan *placement.RebalanceResponse
	until(t, "the servers have said what they hold", func() bool {
		plan = c.rebalance(placement.REBALANCE_PLAN, "", false)
		return plan.ReplicasAfter.Min == 9
	})
	if plan.Err != base.ErrOK || len(plan.Moves) < 18 || plan.Replicas.Min != 0 || plan.ReplicasAfter.Min != 9 || plan.ReplicasAfter.Max != 10 {
		t.Fatalf("plan: %+v", plan)
	}
	for _, m := range plan.Moves {
		if m.Why == "" || m.Target == 0 || m.Source == 0 {
			t.Fatalf("move %+v", m)
		}
	}
	if again := c.query("temp"); !slices.EqualFunc(before.Partitions, again.Partitions, func(x, y layer2.PartitionConfiguration) bool { return x.Ballot == y.Ballot }) {
		t.Fatal("a plan changed something")
	}
	if r := c.rebalance(placement.REBALANCE_START, "temp", false); r.Err != base.ErrOK || !r.Active {
		t.Fatalf("start: %+v", r)
	}
	if r := c.rebalance(placement.REBALANCE_START, "temp", false); r.Err != base.ErrBusy || r.HintMessage == "" {
		t.Fatalf("start again: %+v", r)
	}
	var status *placement.RebalanceResponse
	until(t, "it is done", func() bool {
		for _, q := range c.query("temp").Partitions {
			if n := len(members(&q)); n < 3 || n > 4 {
				t.Fatalf("a partition has %d members", n)
			}
		}
		status = c.rebalance(placement.REBALANCE_STATUS, "", false)
		return !status.Active
	})
	if p, r := c.spread("temp", c.reps); !even(p) || !even(r) || status.Done < 18 || status.Runs != 1 {
		t.Errorf("primaries %v, replicas %v, status %+v", p, r, status)
	}
	if plan := c.rebalance(placement.REBALANCE_PLAN, "", false); len(plan.Moves) != 0 {
		t.Errorf("then %d moves are left", len(plan.Moves))
	}
	e := &placement.ExplainResponse{}
	c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: -1}, e)
	moved := false
	for _, p := range e.Partitions {
		if p.Health != "healthy" || len(p.Events) == 0 {
			t.Errorf("%+v", p)
		}
		moved = moved || slices.ContainsFunc(p.Events, func(v placement.PartitionEvent) bool {
			return strings.HasPrefix(v.What, "moved: ") && strings.Contains(v.Why, "table temp has")
		})
	}
	if len(e.Partitions) != 16 || !moved {
		t.Errorf("%d partitions are explained, moved: %v", len(e.Partitions), moved)
	}
}

// At level lively it happens by itself; at steady nothing is moved, and the moves are counted.
func TestLivelyBalances(t *testing.T) {
	c := newCluster(t, 1, 3, fast)
	c.mustCreate("temp", 12, 3)
	c.whole("temp", 3)
	c.addReplica()
	until(t, "the moves are counted", func() bool {
		return c.remote("meta.lb.get_balance_operation_count", "total") != "{\n  \"total\": 0\n}"
	})
	if _, r := c.spread("temp", c.reps); r[0] != 0 {
		t.Errorf("at steady: replicas %v", r)
	}
	c.level(metaadmin.FlLively)
	until(t, "it is even", func() bool {
		p, r := c.spread("temp", c.reps)
		return even(p) && even(r)
	})
	until(t, "nothing is left", func() bool {
		return c.remote("meta.lb.get_balance_operation_count", "detail") == "{\n  \"copy_pri\": 0,\n  \"copy_sec\": 0,\n  \"move_pri\": 0,\n  \"total\": 0\n}"
	})
}

// Why a move failed is told, with the last ones, until another run begins.
func TestFailedMovesHaveReasons(t *testing.T) {
	c := newCluster(t, 1, 3, fast)
	c.mustCreate("temp", 4, 3)
	c.whole("temp", 3)
	lazy := func(on bool) {
		for _, f := range c.reps {
			f.mu.Lock()
			f.lazy = on
			f.mu.Unlock()
		}
	}
	lazy(true) // nothing that is proposed is done
	c.addReplica()
	until(t, "it may get replicas", func() bool { return len(c.rebalance(placement.REBALANCE_PLAN, "", false).Moves) > 0 })
	c.rebalance(placement.REBALANCE_START, "", false)
	running := func(r *placement.RebalanceResponse) bool {
		return slices.ContainsFunc(r.Moves, func(m placement.Move) bool { return m.Running })
	}
	until(t, "moves run", func() bool { return running(c.rebalance(placement.REBALANCE_STATUS, "", false)) })
	c.level(metaadmin.FlSteady) // gives up what was proposed
	var r *placement.RebalanceResponse
	until(t, "a move failed", func() bool {
		r = c.rebalance(placement.REBALANCE_STATUS, "", false)
		return r.Failed > 0
	})
	if len(r.Failures) == 0 || !strings.Contains(r.Failures[0], "replica from ") || !strings.HasSuffix(r.Failures[0], "the function level was set to fl_steady") {
		t.Errorf("failures are told as %q", r.Failures)
	}
	if b := c.rebalance(placement.REBALANCE_START, "", false); b.Err != base.ErrBusy {
		t.Errorf("a second run: %v", b.Err)
	}
	c.rebalance(placement.REBALANCE_STOP, "", false)
	lazy(false)
	if r = c.rebalance(placement.REBALANCE_START, "", false); r.Err != base.ErrOK || len(r.Failures) != 0 {
		t.Errorf("the next run begins with failures %q, %v", r.Failures, r.Err)
	}
}

// A server is taken out: its primaries go first, then its replicas; and back.
func TestTakeOut(t *testing.T) {
	c := newCluster(t, 1, 4, fast)
	c.mustCreate("temp", 8, 3)
	c.whole("temp", 3)
	out := c.reps[1]
	if r := c.role(out.addr, placement.NODE_LEAVING); r.Err != base.ErrOK {
		t.Fatalf("take out: %v %s", r.Err, r.HintMessage)
	}
	until(t, "nothing is left on it", func() bool {
		return !slices.ContainsFunc(c.query("temp").Partitions, func(p layer2.PartitionConfiguration) bool { return slices.Contains(members(&p), out.addr) })
	})
	rest := slices.DeleteFunc(slices.Clone(c.reps), func(f *fakeReplica) bool { return f == out })
	if _, r := c.spread("temp", rest); r != [2]int{8, 8} {
		t.Errorf("replicas %v", r)
	}
	// A table that is created now doesn't use it; then it gets its share again.
	c.mustCreate("more", 4, 3)
	c.whole("more", 3)
	if _, r := c.spread("more", []*fakeReplica{out}); r != [2]int{0, 0} {
		t.Errorf("a server that is being taken out got %v replicas", r)
	}
	if r := c.role(c.reps[0].addr, placement.NODE_LEAVING); r.Err != base.ErrInvalidParameters || !strings.Contains(r.HintMessage, "2 replica servers would be left") {
		t.Errorf("one too many: %v %s", r.Err, r.HintMessage)
	}
	if r := c.role(out.addr, placement.NODE_FULL); r.Err != base.ErrOK {
		t.Fatal(r.Err)
	}
	c.rebalance(placement.REBALANCE_START, "", false)
	until(t, "it has its share", func() bool {
		p, r := c.spread("temp", c.reps)
		_, more := c.spread("more", c.reps)
		return even(p) && even(r) && even(more) && more[0] > 0
	})
}

// A server that is about to be restarted gives up its primaries, and only them.
func TestNoPrimaries(t *testing.T) {
	c := newCluster(t, 1, 3, fast)
	c.mustCreate("temp", 8, 3)
	c.whole("temp", 3)
	node := c.reps[2]
	if r := c.role(node.addr, placement.NODE_NO_PRIMARIES); r.Err != base.ErrOK {
		t.Fatal(r.Err)
	}
	until(t, "it leads nothing", func() bool {
		p, r := c.spread("temp", []*fakeReplica{node})
		return p[1] == 0 && r[0] == 8
	})
	c.role(node.addr, placement.NODE_FULL)
	c.rebalance(placement.REBALANCE_START, "temp", true)
	until(t, "it leads its share", func() bool {
		p, _ := c.spread("temp", c.reps)
		return even(p)
	})
}

// Bad requests are refused with a hint, and change nothing.
func TestPlacementBadInput(t *testing.T) {
	c := newCluster(t, 2, 3, fast)
	c.mustCreate("temp", 4, 3)
	before := c.whole("temp", 3)
	stranger, _ := base.ParseAddr("10.1.2.3:4")
	for _, v := range []struct {
		code base.ErrorCode
		hint string
		got  *placement.RebalanceResponse
	}{
		{base.ErrAppNotExist, "there is no table \"none\"", c.rebalance(placement.REBALANCE_START, "none", false)},
		{base.ErrAppNotExist, "there is no table \"none\"", c.rebalance(placement.REBALANCE_PLAN, "none", false)},
		{base.ErrInvalidParameters, "there is no action 7", c.rebalance(7, "", false)},
		{base.ErrInvalidState, "no rebalancing", c.rebalance(placement.REBALANCE_STOP, "", false)},
	} {
		if v.got.Err != v.code || !strings.Contains(v.got.HintMessage, v.hint) {
			t.Errorf("%v %q, want %v %q", v.got.Err, v.got.HintMessage, v.code, v.hint)
		}
	}
	for _, v := range []struct {
		node base.RPCAddress
		role placement.NodeRole
		code base.ErrorCode
		hint string
	}{
		{stranger, placement.NODE_LEAVING, base.ErrObjectNotFound, "no replica server 10.1.2.3:4 is known"},
		{c.reps[0].addr, 9, base.ErrInvalidParameters, "there is no role 9"},
		{c.reps[0].addr, placement.NODE_LEAVING, base.ErrInvalidParameters, "2 replica servers would be left"},
	} {
		if r := c.role(v.node, v.role); r.Err != v.code || !strings.Contains(r.HintMessage, v.hint) {
			t.Errorf("role %v of %v: %v %q", v.role, v.node, r.Err, r.HintMessage)
		}
	}
	for _, q := range []placement.ExplainRequest{{AppName: "none", Partition: -1}, {AppName: "temp", Partition: 4}, {AppName: "temp", Partition: -2}} {
		r := &placement.ExplainResponse{}
		if c.ask("RPC_CM_EXPLAIN", &q, r); r.Err == base.ErrOK || r.HintMessage == "" {
			t.Errorf("%+v: %+v", q, r)
		}
	}
	// A level at which nothing moves.
	c.level(metaadmin.FlFreezed)
	if r := c.rebalance(placement.REBALANCE_START, "", false); r.Err != base.ErrStateFreezed || !strings.Contains(r.HintMessage, "below steady") {
		t.Errorf("frozen: %+v", r)
	}
	if r := c.role(c.reps[0].addr, placement.NODE_NO_PRIMARIES); r.Err != base.ErrStateFreezed {
		t.Errorf("frozen: %+v", r)
	}
	c.level(metaadmin.FlSteady)
	// A follower says who leads.
	until(t, "a follower refuses", func() bool {
		r := &placement.RebalanceResponse{}
		err := c.call(c.follower().name, "RPC_CM_REBALANCE", rpc.THFT0, &placement.RebalanceRequest{}, r)
		return err == nil && r.Err == base.ErrForwardToOthers
	})
	for i, p := range c.query("temp").Partitions {
		if p.Ballot != before.Partitions[i].Ballot {
			t.Errorf("partition %d was changed", i)
		}
	}
	until(t, "all nodes have their role and their replicas", func() bool {
		roles := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, roles)
		return len(roles.Nodes) == 3 && !slices.ContainsFunc(roles.Nodes, func(n placement.NodePlacement) bool {
			return n.Role != placement.NODE_FULL || n.Alone != 0 || n.Replicas != 4
		})
	})
}

// Only servers of the white list join.
func TestWhiteList(t *testing.T) {
	c := newCluster(t, 1, 0, func(c *config.Config) { c.Meta.WhiteList = []string{"10.9.9.9:34801"} })
	listed, _ := base.ParseAddr("10.9.9.9:34801")
	ack := c.ping(listed)
	if !ack.IsMaster || !ack.Allowed {
		t.Errorf("a server of the list: %+v", ack)
	}
	other, _ := base.ParseAddr("10.9.9.8:34801")
	if ack = c.ping(other); !ack.IsMaster || ack.Allowed {
		t.Errorf("another server: %+v", ack)
	}
	var sync metaadmin.ConfigurationQueryByNodeResponse
	c.ask("RPC_CM_CONFIG_SYNC", &metaadmin.ConfigurationQueryByNodeRequest{Node: other}, &sync)
	var nodes metaadmin.ConfigurationListNodesResponse
	c.ask("RPC_CM_LIST_NODES", &metaadmin.ConfigurationListNodesRequest{}, &nodes)
	if sync.Err != base.ErrACLDeny || len(nodes.Infos) != 1 || nodes.Infos[0].Node != listed {
		t.Errorf("config sync: %v; nodes %+v", sync.Err, nodes.Infos)
	}
	if got := c.remote("fd.allow_list"); got != "{\n  \"allow_list\": \"10.9.9.9:34801\",\n  \"enabled\": true\n}" {
		t.Error(got)
	}
}

// A rebalancing is carried on by the next leader, and what became of it is remembered.
func TestRebalanceOutlivesLeader(t *testing.T) {
	c := newCluster(t, 3, 3, func(c *config.Config) {
		fast(c)
		c.Meta.RaftHeartbeat = config.Duration(time.Second) // it changes when the test says so, also on a busy machine
	})
	if r := c.rebalance(placement.REBALANCE_STATUS, "", false); r.Active || r.Runs != 0 || r.Began != 0 {
		t.Fatalf("before there was any: %+v", r)
	}
	c.mustCreate("temp", 8, 3)
	c.whole("temp", 3)
	c.addReplica()
	until(t, "the new one is known", func() bool {
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
		return len(r.Nodes) == 4
	})
	if r := c.rebalance(placement.REBALANCE_START, "temp", false); r.Err != base.ErrOK || !r.Active || r.CarriedOn {
		t.Fatalf("start: %+v", r)
	}
	c.level(metaadmin.FlFreezed) // it doesn't come to its end before the leader does
	if r := c.rebalance(placement.REBALANCE_STATUS, "", false); !r.Active || r.Runs != 0 || r.AppName != "temp" {
		t.Fatalf("frozen: %+v", r)
	}
	old := c.leader()
	c.stopMeta(old)
	until(t, "another one leads", func() bool { m := c.leader(); return m != nil && m != old })
	if r := c.rebalance(placement.REBALANCE_STATUS, "", false); !r.Active || !r.CarriedOn || r.AppName != "temp" || r.Began == 0 {
		t.Fatalf("after a change of leader: %+v", r)
	}
	if r := c.rebalance(placement.REBALANCE_START, "", false); r.Err != base.ErrStateFreezed {
		t.Fatalf("start while frozen: %+v", r)
	}
	c.level(metaadmin.FlSteady)
	if r := c.rebalance(placement.REBALANCE_START, "", false); r.Err != base.ErrBusy {
		t.Fatalf("start of another: %+v", r)
	}
	var r *placement.RebalanceResponse
	until(t, "it is done", func() bool {
		r = c.rebalance(placement.REBALANCE_STATUS, "", false)
		return !r.Active
	})
	if p, n := c.spread("temp", c.reps); !even(p) || !even(n) || r.Runs != 1 || r.EndedWhy == "" || r.Ended < r.Began {
		t.Fatalf("in the end: primaries %v, replicas %v, %+v", p, n, r)
	}
	if r := c.rebalance(placement.REBALANCE_STOP, "", false); r.Err != base.ErrInvalidState {
		t.Fatalf("stop after the end: %+v", r)
	}
	if r := c.rebalance(placement.REBALANCE_START, "", true); r.Err != base.ErrOK {
		t.Fatalf("another one: %+v", r)
	}
	until(t, "the other one is done", func() bool {
		r = c.rebalance(placement.REBALANCE_STATUS, "", false)
		return !r.Active && r.Runs == 2
	})
}
