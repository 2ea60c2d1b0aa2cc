package meta

import (
	"slices"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

func members(p *layer2.PartitionConfiguration) []base.RPCAddress {
	return append([]base.RPCAddress{p.Primary}, p.Secondaries...)
}

// A killed process is found out by the refusal of its port, long before the grace is over.
func TestKilledPrimaryIsReplacedFast(t *testing.T) {
	c := newCluster(t, 1, 3, func(c *config.Config) {
		c.FD.BeaconInterval = config.Duration(time.Second)
		c.FD.Lease = config.Duration(60 * time.Second)
		c.FD.Grace = config.Duration(61 * time.Second)
	})
	c.mustCreate("temp", 8, 3)
	before := c.whole("temp", 3)
	c.reported()
	victim := c.replica(before.Partitions[0].Primary)
	began := time.Now()
	victim.kill()
	until(t, "all partitions have living primaries", func() bool {
		for _, p := range c.query("temp").Partitions {
			if p.Primary == 0 || slices.Contains(members(&p), victim.addr) {
				return false
			}
		}
		return true
	})
	if d := time.Since(began); d > c.cfg.FD.Lease.D()/2 { // a second, on a machine that does nothing else
		t.Errorf("it took %v", d)
	}
	after := c.query("temp")
	primaries := map[base.RPCAddress]int{}
	for i, p := range after.Partitions {
		if p.Ballot <= before.Partitions[i].Ballot || !slices.Contains(p.LastDrops, victim.addr) {
			t.Errorf("partition %d was %+v, is %+v", i, before.Partitions[i], p)
		}
		primaries[p.Primary]++
	}
	// The two that live share what the victim led, so that they end as even as they began:
	// a machine in trouble may have assigned the first primaries unevenly.
	had := map[base.RPCAddress]int{}
	for _, p := range before.Partitions {
		had[p.Primary]++
	}
	for a, n := range primaries {
		if n > 4 && n != had[a] {
			t.Errorf("node %v has %d primaries, and had %d", a, n, had[a])
		}
		until(t, "the new primaries are told", func() bool { return c.replica(a).told(metaadmin.CT_UPGRADE_TO_PRIMARY) > 0 })
	}
	var nodes metaadmin.ConfigurationListNodesResponse
	c.ask("RPC_CM_LIST_NODES", &metaadmin.ConfigurationListNodesRequest{}, &nodes)
	if len(nodes.Infos) != 3 || nodes.Infos[2].Node != victim.addr || nodes.Infos[2].Status != metaadmin.NS_UNALIVE {
		t.Errorf("nodes: %+v", nodes.Infos)
	}
	// It comes back, and is taken back.
	victim.begin(nil)
	c.whole("temp", 3)
}

// A silent process whose port is open may be alive: only the grace settles it.
func TestSilentNodeDiesAfterTheGrace(t *testing.T) {
	c := newCluster(t, 1, 3, mortal)
	c.mustCreate("temp", 4, 3)
	before := c.whole("temp", 3)
	quiet := c.replica(before.Partitions[0].Primary)
	quiet.set(true, true)
	quiet.mu.Lock()
	last := quiet.ackedSent // the meta counts from when it came, which was later
	quiet.mu.Unlock()
	until(t, "the silent node is replaced", func() bool {
		return !slices.ContainsFunc(c.query("temp").Partitions, func(p layer2.PartitionConfiguration) bool {
			return p.Primary == 0 || slices.Contains(members(&p), quiet.addr)
		})
	})
	if d := time.Since(last); d < c.cfg.FD.Grace.D() {
		t.Errorf("it was dead %v after its last beacon, the grace is %v", d, c.cfg.FD.Grace.D())
	}
	quiet.set(false, false)
	c.whole("temp", 3)
}

// Without a living member everything stays as it is, and the table comes back with one.
func TestLastMemberIsKept(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	c.mustCreate("temp", 2, 2)
	c.whole("temp", 2)
	a, b := c.reps[0], c.reps[1]
	a.kill()
	until(t, "one is dropped", func() bool {
		return !slices.ContainsFunc(c.query("temp").Partitions, func(p layer2.PartitionConfiguration) bool {
			return p.Primary != b.addr || len(p.Secondaries) != 0
		})
	})
	b.kill()
	until(t, "no primary is shown", func() bool {
		return !slices.ContainsFunc(c.query("temp").Partitions, func(p layer2.PartitionConfiguration) bool { return p.Primary != 0 })
	})
	before := c.query("temp").Partitions
	a.begin(nil)
	b.begin(nil)
	r := c.whole("temp", 2)
	for i, p := range r.Partitions {
		if p.Primary != b.addr || p.Ballot <= before[i].Ballot {
			t.Errorf("only %v has all the data: %+v", b.addr, p)
		}
	}
}

// A primary that was restarted and doesn't confirm its role hands it over, and stays a
// member.
func TestRestartedPrimaryMustConfirm(t *testing.T) {
	c := newCluster(t, 1, 3, func(c *config.Config) { c.FD.TrustRefusal = false })
	c.mustCreate("temp", 4, 3)
	before := c.whole("temp", 3)
	victim := c.replica(before.Partitions[0].Primary)
	victim.kill()
	victim.begin(nil) // confirms
	until(t, "ballots are raised", func() bool {
		for i, p := range c.query("temp").Partitions {
			if was := before.Partitions[i]; was.Primary == victim.addr && (p.Ballot <= was.Ballot || p.Primary != victim.addr) {
				return false
			}
		}
		return true
	})
	victim.kill()
	victim.set(false, true)
	victim.begin(nil) // doesn't
	until(t, "the primaries are moved", func() bool {
		return !slices.ContainsFunc(c.query("temp").Partitions, func(p layer2.PartitionConfiguration) bool {
			return p.Primary == victim.addr || p.Primary == 0
		})
	})
	for _, p := range c.query("temp").Partitions {
		if !slices.Contains(p.Secondaries, victim.addr) {
			t.Errorf("the living node left the group: %+v", p)
		}
	}
}

func TestThreeMetas(t *testing.T) {
	c := newCluster(t, 3, 3, steady)
	c.mustCreate("temp", 4, 3)
	before := c.whole("temp", 3)
	leader, follower := c.leader(), c.follower()
	leaderAddr, _ := base.ParseAddr(leader.name)

	// A follower over THFT: where the leader is, and nothing that old clients can't read.
	var q layer2.QueryCfgResponse
	if err := c.call(follower.name, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", rpc.THFT0, &layer2.QueryCfgRequest{AppName: "temp"}, &q); err != nil {
		t.Fatal(err)
	}
	if q.Err != base.ErrForwardToOthers || q.IsStateful || len(q.Partitions) != 1 || q.Partitions[0].Primary != leaderAddr || q.Partitions[0].HpPrimary.Set {
		t.Errorf("query of a follower: %+v", q)
	}
	for _, f := range []rpc.Framing{rpc.THFT0, rpc.THFT1} {
		var l metaadmin.ConfigurationListAppsResponse
		if err := c.call(follower.name, "RPC_CM_LIST_APPS", f, &metaadmin.ConfigurationListAppsRequest{}, &l); err != nil || l.Err != base.ErrForwardToOthers || len(l.Infos) != 0 {
			t.Errorf("list of a follower: %+v %v", l, err)
		}
		var u metaadmin.ConfigurationUpdateResponse
		if err := c.call(follower.name, "RPC_CM_UPDATE_PARTITION_CONFIGURATION", f, &metaadmin.ConfigurationUpdateRequest{}, &u); err != nil || u.Err != base.ErrForwardToOthers {
			t.Errorf("update of a follower: %+v %v", u, err)
		}
	}
	// Over RDSN the follower asks the leader itself.
	if err := c.call(follower.name, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", rpc.RDSN, &layer2.QueryCfgRequest{AppName: "temp"}, &q); err != nil {
		t.Fatal(err)
	}
	if q.Err != base.ErrOK || len(q.Partitions) != 4 || !q.Partitions[0].HpPrimary.Set {
		t.Errorf("relayed query: %+v", q)
	}
	var l metaadmin.ConfigurationListAppsResponse
	if err := c.call(follower.name, "RPC_CM_LIST_APPS", rpc.RDSN, &metaadmin.ConfigurationListAppsRequest{}, &l); err != nil || l.Err != base.ErrOK || len(l.Infos) != 1 {
		t.Errorf("relayed list: %+v %v", l, err)
	}
	// A beacon isn't relayed: the node is told whom to ask.
	var ack fd.BeaconAck
	if err := c.call(follower.name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, &fd.BeaconMsg{Version: base.Some(int32(version.Newest)), Time: 5, FromNode: 0x7f00000100010001}, &ack); err != nil {
		t.Fatal(err)
	}
	if ack.IsMaster || ack.PrimaryNode != leaderAddr || ack.Time != 5 {
		t.Errorf("ack of a follower: %+v", ack)
	}

	// The leader dies. Another takes over with everything, and no node dies of it.
	c.stopMeta(leader)
	next := c.leader()
	if next == leader {
		t.Fatal("the stopped meta leads")
	}
	until(t, "all replica servers found it", func() bool {
		var r metaadmin.ConfigurationListNodesResponse
		c.ask("RPC_CM_LIST_NODES", &metaadmin.ConfigurationListNodesRequest{Status: metaadmin.NS_ALIVE}, &r)
		return len(r.Infos) == 3
	})
	after := c.whole("temp", 3)
	for i, p := range after.Partitions {
		if was := before.Partitions[i]; p.Ballot != was.Ballot || p.Primary != was.Primary {
			t.Errorf("partition %d was %+v, is %+v", i, was, p)
		}
	}
	c.mustCreate("more", 4, 3)
	// The old one comes back and catches up.
	c.startMeta(leader, nil)
	c.stopMeta(next)
	c.leader()
	if r := c.query("more"); r.Err != base.ErrOK || len(r.Partitions) != 4 {
		t.Errorf("a table is lost: %+v", r)
	}
	// Without a majority nobody leads.
	c.stopMeta(c.leader())
	rest := c.metas[slices.IndexFunc(c.metas, func(m *metaProc) bool { return m.srv != nil })]
	until(t, "the last one leads no more", func() bool { return !rest.srv.Leading() })
	if err := c.call(rest.name, "RPC_CM_LIST_APPS", rpc.THFT0, &metaadmin.ConfigurationListAppsRequest{}, &l); err != nil || l.Err != base.ErrForwardToOthers {
		t.Errorf("without a majority: %v %v", l.Err, err)
	}
}

// The replica servers' leases survive the death of the leading meta: each is acknowledged
// again within the lease.
func TestLeaseSurvivesLeaderChange(t *testing.T) {
	c := newCluster(t, 3, 2, func(c *config.Config) {
		c.Meta.RaftHeartbeat = config.Duration(500 * time.Millisecond)
		c.FD.Lease, c.FD.Grace = config.Duration(20*time.Second), config.Duration(21*time.Second)
	})
	c.mustCreate("temp", 2, 2)
	before := c.whole("temp", 2)
	c.stopMeta(c.leader())
	began := time.Now()
	for _, f := range c.reps {
		until(t, f.name+" is acknowledged", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.acked.After(began)
		})
	}
	if d := time.Since(began); d > c.cfg.FD.Lease.D() {
		t.Errorf("it took %v, the lease is %v", d, c.cfg.FD.Lease.D())
	}
	for i, p := range c.query("temp").Partitions {
		if p.Ballot != before.Partitions[i].Ballot {
			t.Errorf("partition %d changed: %+v", i, p)
		}
	}
}
