package meta

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/judge"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
	"pegasus/rpc"
)

// In a cluster without replica servers the default tables are known, with partitions that nobody serves
// yet. They are what is made once servers are there.
func TestPromisedTables(t *testing.T) {
	c := newCluster(t, 1, 0, func(c *config.Config) { c.Meta.DefaultTables = []string{"other:2:1", "temp:8:3"} })
	r := c.query("temp")
	if r.Err != base.ErrOK || r.PartitionCount != 8 || len(r.Partitions) != 8 || r.AppId != 2 || !r.IsStateful {
		t.Fatalf("%+v", r)
	}
	for i, p := range r.Partitions {
		if p.Primary != 0 || p.Ballot != 0 || p.Pid != (base.Gpid{AppID: 2, PartitionIndex: int32(i)}) || p.MaxReplicaCount != 3 {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
	if r := c.query("none"); r.Err != base.ErrObjectNotFound {
		t.Errorf("a table that isn't wanted: %v", r.Err)
	}
	for range 3 {
		c.addReplica()
	}
	if now := c.whole("temp", 3); now.AppId != r.AppId || now.PartitionCount != r.PartitionCount {
		t.Errorf("the table that is made has id %d and %d partitions", now.AppId, now.PartitionCount)
	}
}

// When drop answers no primary takes writes any more, also when somebody else dropped the table just
// before, or the answer to that was lost. A server that can't be asked is waited for.
func TestDropWaitsForPrimaries(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	id := c.mustCreate("temp", 2, 3)
	cfg := c.whole("temp", 3).Partitions[1]
	primary := c.replica(cfg.Primary)
	serve := func(f *fakeReplica, s metadata.PartitionStatus) {
		f.mu.Lock()
		defer f.mu.Unlock()
		g := base.Gpid{AppID: id, PartitionIndex: 1}
		f.stored[g] = metadata.ReplicaInfo{Pid: g, Ballot: f.stored[g].Ballot, Status: s}
	}
	for _, a := range members(&cfg) {
		serve(c.replica(a), metadata.PS_SECONDARY)
	}
	serve(primary, metadata.PS_PRIMARY)
	dropped, again, strictly := make(chan base.ErrorCode, 1), make(chan base.ErrorCode, 1), make(chan base.ErrorCode, 1)
	go func() { dropped <- c.drop("temp", false, 0) }()
	until(t, "the primary is told", func() bool { return primary.told(metaadmin.CT_DROP_PARTITION) > 0 })
	go func() { again <- c.drop("temp", true, 0) }()
	go func() { strictly <- c.drop("temp", false, 0) }()
	quiet := time.After(300 * time.Millisecond) // for which nothing may happen
	select {
	case code := <-dropped:
		t.Fatalf("drop answers %v while the primary of a partition serves", code)
	case code := <-again:
		t.Fatalf("a second drop answers %v while the primary of a partition serves", code)
	case code := <-strictly:
		t.Fatalf("a second drop, which needs the table, answers %v while the primary of a partition serves", code)
	case <-quiet:
	}
	serve(primary, metadata.PS_INACTIVE)
	for what, x := range map[string]struct {
		answer chan base.ErrorCode
		want   base.ErrorCode
	}{"drop": {dropped, base.ErrOK}, "a second drop": {again, base.ErrOK}, "a second drop, which needs the table": {strictly, base.ErrAppNotExist}} {
		select {
		case code := <-x.answer:
			if code != x.want {
				t.Errorf("%s: %v", what, code)
			}
		case <-time.After(maxWait):
			t.Fatalf("%s doesn't answer though nobody serves", what)
		}
	}
}

// A query that comes while nobody leads waits for the next leader, and is answered with its address. One that isn't
// was waited for.
func TestQueryWaitsForLeader(t *testing.T) {
	c := newCluster(t, 3, 0, nil)
	old, follower := c.leader(), c.follower()
	all := make([]string, len(c.metas))
	for i, m := range c.metas {
		all[i] = m.name
	}
	c.net.isolate(all...) // with the third the follower may have elected a leader before anybody looks
	until(t, "the follower knows of no leader", func() bool { return follower.srv.quorum.leaderName() == "" })
	c.net.isolate(old.name)
	q := &layer2.QueryCfgRequest{AppName: "temp"}
	until(t, "it answers with the new leader, or leads itself", func() bool {
		began := time.Now()
		unknown := follower.srv.quorum.leaderName() == ""
		var r layer2.QueryCfgResponse
		if err := c.call(follower.name, base.RPCQueryPartitionConfigByIndex, rpc.THFT0, q, &r); err != nil {
			t.Fatal(err)
		}
		switch {
		case r.Err == base.ErrObjectNotFound:
			return true
		case r.Err == base.ErrForwardToOthers && len(r.Partitions) == 1:
			return r.Partitions[0].Primary.String() != old.name
		}
		if took := time.Since(began); unknown && took < holdTime*9/10 {
			t.Fatalf("%v without an address after %v", r.Err, took)
		}
		return false
	})
	c.net.isolate()
}

// What servers say of themselves, and that they say nothing, is in what is said of partitions.
func TestVerdicts(t *testing.T) {
	c := newCluster(t, 1, 3, func(c *config.Config) { steady(c); mortal(c) })
	c.mustCreate("temp", 3, 3)
	c.whole("temp", 3)
	c.mustCreate("lone", 1, 1)
	c.whole("lone", 1)
	explain := func(table string) *placement.ExplainResponse {
		r := &placement.ExplainResponse{}
		c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: table, Partition: -1}, r)
		return r
	}
	says := func(table, what, do string, reads, writes judge.Can) {
		t.Helper()
		var last *placement.ExplainResponse
		defer func() {
			if t.Failed() {
				t.Logf("%+v", last)
			}
		}()
		until(t, what+" is said of "+table, func() bool {
			last = explain(table)
			return slices.ContainsFunc(last.Partitions, func(p placement.PartitionExplanation) bool {
				v := &p.Verdict.V
				return v.Reads == int32(reads) && v.Writes == int32(writes) && (what == "" && len(v.Why) == 0 || slices.ContainsFunc(v.Why, func(r placement.Reason) bool {
					return what != "" && strings.Contains(r.What, what) && strings.Contains(r.ToDo, do)
				}))
			})
		})
	}
	says("temp", "", "", judge.Yes, judge.Yes)
	full := c.reps[1]
	disk := func(state metaadmin.DiskState, refuses base.Opt[bool]) {
		full.mu.Lock()
		defer full.mu.Unlock()
		full.disks = []metaadmin.DiskReport{{Tag: "ssd1", State: state, CapacityMb: 1000, AvailableMb: 7, Refuses: refuses}}
	}
	disk(metaadmin.DISK_SHORT, base.Opt[bool]{}) // as an older server says it
	says("temp", `the disk "ssd1" of `+full.name+" is too full", "free space on "+full.name, judge.Yes, judge.No)
	var all placement.ExplainResponse
	c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{}, &all)
	if v := all.Cluster.V; v.State != int32(judge.Unwritable) || len(v.Tables) != 2 || v.Tables[0].Writable != 0 || v.Tables[0].Readable != 3 || len(v.Why) != 1 || !strings.Contains(v.Why[0].What, full.name) {
		t.Errorf("the cluster: %+v", v)
	}
	if code, body, _ := page(t, c.leader().name, "/meta/health"); code != 200 || !strings.Contains(body, `"health":"not writable"`) || !strings.Contains(body, `"to_do":"free space on `+full.name) {
		t.Errorf("page: %d %s", code, body)
	}
	if code, body, _ := page(t, c.leader().name, "/meta/app?name=temp&detail"); code != 200 || !strings.Contains(body, `"write_unhealthy_partition_count":"3","read_unhealthy_partition_count":"0"`) {
		t.Errorf("page: %d %s", code, body)
	}
	disk(metaadmin.DISK_SHORT, base.Some(false))
	says("temp", "", "", judge.Yes, judge.Yes)
	// All its replicas are on one of two disks.
	two := func(first, second metaadmin.DiskState) {
		full.mu.Lock()
		defer full.mu.Unlock()
		full.tag = "ssd1"
		full.disks = []metaadmin.DiskReport{{Tag: "ssd1", State: first, CapacityMb: 1000, AvailableMb: 7}, {Tag: "ssd2", State: second, CapacityMb: 1000, AvailableMb: 700}}
	}
	two(metaadmin.DISK_SHORT, metaadmin.DISK_NORMAL)
	says("temp", `the disk "ssd1" of `+full.name+" is too full", "free space on "+full.name, judge.Yes, judge.No)
	two(metaadmin.DISK_NORMAL, metaadmin.DISK_SHORT)
	says("temp", "", "", judge.Yes, judge.Yes)
	// A server that lost the only replica: it lists none.
	only := c.replica(c.query("lone").Partitions[0].Primary)
	only.mu.Lock()
	kept := only.stored
	only.stored = map[base.Gpid]metadata.ReplicaInfo{}
	only.copies.Clear()
	only.mu.Unlock()
	says("lone", "no living member has a usable replica: "+only.name, "--accept-loss", judge.No, judge.No)
	only.mu.Lock()
	was := only.disks
	only.disks = []metaadmin.DiskReport{{Tag: "lost", State: metaadmin.DISK_BROKEN}, {Tag: "ssd2", State: metaadmin.DISK_NORMAL}}
	only.mu.Unlock()
	says("lone", "no living member has a usable replica: "+only.name, `bring back the disk "lost" of `+only.name+" (pegasus disk ls says how)", judge.No, judge.No)
	only.mu.Lock()
	only.disks = was
	only.mu.Unlock()
	only.mu.Lock()
	only.stored = kept
	only.mu.Unlock()
	says("lone", "", "", judge.Yes, judge.Yes)
	// One that is stopped.
	only.set(true, false)
	says("lone", "the primary "+only.name+" has been silent", "no other server has its rows", judge.Unsure, judge.Unsure)
	says("lone", "all its members are dead: "+only.name, "start "+only.name, judge.No, judge.No)
	only.set(false, false)
	says("lone", "", "", judge.Yes, judge.Yes)
}

// A dead server that nobody needs is forgotten, with its role, until it comes back.
func TestForgetNode(t *testing.T) {
	c := newCluster(t, 1, 4, func(c *config.Config) { steady(c); c.Meta.ReplaceWait = config.Duration(100 * time.Millisecond) })
	c.mustCreate("temp", 4, 3)
	c.whole("temp", 3)
	gone := c.reps[3]
	change := func(a base.RPCAddress, role placement.NodeRole) *placement.NodeRoleResponse {
		r := &placement.NodeRoleResponse{}
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{Node: a, Role: role, Change: true}, r)
		return r
	}
	forget := func() *placement.NodeRoleResponse { return change(gone.addr, placement.NODE_FORGOTTEN) }
	known := func() bool {
		r := &metaadmin.ConfigurationListNodesResponse{}
		c.ask("RPC_CM_LIST_NODES", &metaadmin.ConfigurationListNodesRequest{}, r)
		return slices.ContainsFunc(r.Infos, func(n metaadmin.NodeInfo) bool { return n.Node == gone.addr })
	}
	if r := forget(); r.Err != base.ErrInvalidState || !strings.Contains(r.HintMessage, "pegasus node drain") {
		t.Errorf("forget a living server: %v %s", r.Err, r.HintMessage)
	}
	if r := change(gone.addr, placement.NODE_LEAVING); r.Err != base.ErrOK {
		t.Fatal(r.Err, r.HintMessage)
	}
	gone.kill()
	until(t, "the others have its replicas, and it is forgotten", func() bool { return forget().Err == base.ErrOK })
	if known() {
		t.Error("it is listed all the same")
	}
	if r := forget(); r.Err != base.ErrObjectNotFound {
		t.Errorf("forget it again: %v", r.Err)
	}
	gone.begin(nil)
	until(t, "it is known when it is back", known)
	r := &placement.NodeRoleResponse{}
	c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, r)
	for _, n := range r.Nodes {
		if n.Role != placement.NODE_FULL {
			t.Errorf("%v has role %v", n.Node, n.Role)
		}
	}
	// One that has what nobody else has isn't.
	c.mustCreate("lone", 1, 1)
	only := c.replica(c.whole("lone", 1).Partitions[0].Primary)
	only.kill()
	until(t, "it is dead", func() bool {
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{Node: only.addr, Role: placement.NODE_FORGOTTEN, Change: true}, r)
		return r.Err == base.ErrInvalidState && strings.Contains(r.HintMessage, "still a member")
	})
}
