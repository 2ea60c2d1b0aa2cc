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
	"pegasus/gen/metadata"
	"pegasus/meta/state"
	"pegasus/rpc"
)

func (c *cluster) update(p layer2.PartitionConfiguration, typ metaadmin.ConfigType, node base.RPCAddress) *metaadmin.ConfigurationUpdateResponse {
	c.t.Helper()
	r := &metaadmin.ConfigurationUpdateResponse{}
	c.ask("RPC_CM_UPDATE_PARTITION_CONFIGURATION", &metaadmin.ConfigurationUpdateRequest{Config: p, Type: typ, Node: node}, r)
	return r
}

// TestUpdateRules asks for changes that are right or wrong, with replica servers that do
// nothing by themselves.
func TestUpdateRules(t *testing.T) {
	c := newCluster(t, 1, 4, func(c *config.Config) {
		c.Meta.CureInterval = config.Duration(time.Hour)
		c.Meta.CreateWait = config.Duration(time.Millisecond)
	})
	for _, f := range c.reps {
		f.set(false, true)
	}
	c.reported() // before the first table, which isn't waited for
	c.mustCreate("temp", 1, 3)
	a, b, d, e := c.reps[0].addr, c.reps[1].addr, c.reps[2].addr, c.reps[3].addr
	conf := func(ballot int64, primary base.RPCAddress, secondaries ...base.RPCAddress) layer2.PartitionConfiguration {
		return layer2.PartitionConfiguration{Pid: base.Gpid{AppID: 1}, Ballot: ballot, Primary: primary, Secondaries: secondaries}
	}
	for i, s := range []struct {
		what    string
		conf    layer2.PartitionConfiguration
		typ     metaadmin.ConfigType
		node    base.RPCAddress
		want    base.ErrorCode
		ballot  int64
		members []base.RPCAddress // after it
	}{
		{"first primary", conf(1, a), metaadmin.CT_ASSIGN_PRIMARY, a, base.ErrOK, 1, []base.RPCAddress{a}},
		{"the same again", conf(1, a), metaadmin.CT_ASSIGN_PRIMARY, a, base.ErrOK, 1, []base.RPCAddress{a}},
		{"another first primary", conf(1, b), metaadmin.CT_ASSIGN_PRIMARY, b, base.ErrInvalidVersion, 1, []base.RPCAddress{a}},
		{"a first primary of a group", conf(2, b), metaadmin.CT_ASSIGN_PRIMARY, b, base.ErrInvalidState, 1, []base.RPCAddress{a}},
		{"add by a stranger", conf(2, b, d), metaadmin.CT_UPGRADE_TO_SECONDARY, d, base.ErrInvalidState, 1, []base.RPCAddress{a}},
		{"add of a member", conf(2, a), metaadmin.CT_UPGRADE_TO_SECONDARY, a, base.ErrInvalidState, 1, []base.RPCAddress{a}},
		{"add", conf(2, a, b), metaadmin.CT_UPGRADE_TO_SECONDARY, b, base.ErrOK, 2, []base.RPCAddress{a, b}},
		{"add again", conf(2, a, b), metaadmin.CT_UPGRADE_TO_SECONDARY, b, base.ErrOK, 2, []base.RPCAddress{a, b}},
		{"ballot too high", conf(4, a, b, d), metaadmin.CT_UPGRADE_TO_SECONDARY, d, base.ErrInvalidVersion, 2, []base.RPCAddress{a, b}},
		{"add a third", conf(3, a, b, d), metaadmin.CT_UPGRADE_TO_SECONDARY, d, base.ErrOK, 3, []base.RPCAddress{a, b, d}},
		{"confirm", conf(4, a, d, b), metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, a, base.ErrOK, 4, []base.RPCAddress{a, b, d}},
		{"confirm by another", conf(5, b, d, a), metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, b, base.ErrInvalidState, 4, []base.RPCAddress{a, b, d}},
		{"one too many, while one is replaced", conf(5, a, b, d, e), metaadmin.CT_UPGRADE_TO_SECONDARY, e, base.ErrOK, 5, []base.RPCAddress{a, b, d, e}},
		{"remove", conf(6, a, b, d), metaadmin.CT_REMOVE, e, base.ErrOK, 6, []base.RPCAddress{a, b, d}},
		{"remove a stranger", conf(7, a, b, d), metaadmin.CT_REMOVE, e, base.ErrInvalidState, 6, []base.RPCAddress{a, b, d}},
		{"a secondary gives up", conf(7, a, b), metaadmin.CT_DOWNGRADE_TO_INACTIVE, d, base.ErrOK, 7, []base.RPCAddress{a, b}},
		{"the primary has no data", conf(8, 0, b), metaadmin.CT_DOWNGRADE_TO_INACTIVE, a, base.ErrOK, 8, []base.RPCAddress{b}},
		{"the last member gives up", conf(9, 0), metaadmin.CT_DOWNGRADE_TO_INACTIVE, b, base.ErrInvalidState, 8, []base.RPCAddress{b}},
		{"a type that isn't a request", conf(9, b), metaadmin.CT_ADD_SECONDARY, a, base.ErrInvalidParameters, 8, []base.RPCAddress{b}},
		{"no such partition", layer2.PartitionConfiguration{Pid: base.Gpid{AppID: 1, PartitionIndex: 1}, Ballot: 1, Primary: a}, metaadmin.CT_ASSIGN_PRIMARY, a, base.ErrObjectNotFound, 0, nil},
		{"no such table", layer2.PartitionConfiguration{Pid: base.Gpid{AppID: 9}, Ballot: 1, Primary: a}, metaadmin.CT_ASSIGN_PRIMARY, a, base.ErrObjectNotFound, 0, nil},
	} {
		r := c.update(s.conf, s.typ, s.node)
		var got []base.RPCAddress
		if r.Config.Primary != 0 {
			got = members(&r.Config)
		}
		if r.Err != s.want || r.Config.Ballot != s.ballot || !slices.Equal(got, s.members) || r.Config.Pid != s.conf.Pid {
			t.Errorf("%d, %s: %v %+v", i, s.what, r.Err, r.Config)
		}
	}
	if p := c.query("temp").Partitions[0]; !slices.Equal(p.LastDrops, []base.RPCAddress{e, d, a}) {
		t.Errorf("who left: %v", p.LastDrops)
	}
	until(t, "the new primary is told", func() bool { return c.reps[1].told(metaadmin.CT_UPGRADE_TO_PRIMARY) == 1 })
}

// Two requests with one ballot: one of them wins, the other is told what holds.
func TestOneBallotOneWinner(t *testing.T) {
	c := newCluster(t, 1, 4, nil)
	c.mustCreate("temp", 1, 2)
	p := c.whole("temp", 2).Partitions[0]
	var rest []base.RPCAddress
	for _, f := range c.reps {
		if !slices.Contains(members(&p), f.addr) {
			rest = append(rest, f.addr)
		}
	}
	answers := make(chan *metaadmin.ConfigurationUpdateResponse, 2)
	for _, a := range rest {
		go func() {
			q := p
			q.Ballot++
			q.Secondaries = append(slices.Clone(p.Secondaries), a)
			answers <- c.update(q, metaadmin.CT_UPGRADE_TO_SECONDARY, a)
		}()
	}
	x, y := <-answers, <-answers
	if (x.Err == base.ErrOK) == (y.Err == base.ErrOK) {
		t.Fatalf("%v and %v", x.Err, y.Err)
	}
	if x.Config.Ballot != p.Ballot+1 || !slices.Equal(x.Config.Secondaries, y.Config.Secondaries) {
		t.Errorf("%+v and %+v", x.Config, y.Config)
	}
}

func TestConfigSync(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("temp", 4, 2)
	c.mustCreate("gone", 1, 1)
	c.whole("temp", 2)
	m := c.leader().srv
	sync := func(node base.RPCAddress, stored ...metadata.ReplicaInfo) *metaadmin.ConfigurationQueryByNodeResponse {
		r := &metaadmin.ConfigurationQueryByNodeResponse{}
		q := &metaadmin.ConfigurationQueryByNodeRequest{Node: node, StoredReplicas: base.Some(stored)}
		c.ask("RPC_CM_CONFIG_SYNC", q, r)
		return r
	}
	total := 0
	for _, f := range c.reps {
		r := sync(f.addr)
		if r.Err != base.ErrOK {
			t.Fatal(r.Err)
		}
		for _, p := range r.Partitions {
			if !slices.Contains(members(&p.Config), f.addr) || p.Type != metaadmin.CT_INVALID || p.Info.AppId != p.Config.Pid.AppID || p.Info.MaxReplicaCount != p.Config.MaxReplicaCount {
				t.Errorf("%v is told of %+v", f.addr, p)
			}
		}
		total += len(r.Partitions)
	}
	if total != 9 {
		t.Errorf("%d roles are told", total)
	}
	// What may be thrown away: only what is certainly of no use.
	for _, f := range c.reps {
		f.sync() // members that hold nothing aren't sound
	}
	p := c.query("temp").Partitions[0]
	outside := c.reps[slices.IndexFunc(c.reps, func(f *fakeReplica) bool { return !slices.Contains(members(&p), f.addr) })]
	outside.set(true, true) // it must not report by itself meanwhile
	info := func(app, index int32, s metadata.PartitionStatus) metadata.ReplicaInfo {
		return metadata.ReplicaInfo{Pid: base.Gpid{AppID: app, PartitionIndex: index}, Status: s, Ballot: 1}
	}
	r := sync(outside.addr, info(1, 0, metadata.PS_INACTIVE), info(7, 0, metadata.PS_INACTIVE), info(1, 99, metadata.PS_INACTIVE))
	if len(r.GcReplicas.V) != 1 || r.GcReplicas.V[0].Pid != p.Pid {
		t.Errorf("of no use: %+v", r.GcReplicas)
	}
	if r := sync(outside.addr, info(1, 0, metadata.PS_POTENTIAL_SECONDARY)); r.GcReplicas.Set {
		t.Errorf("a learner is of no use: %+v", r.GcReplicas)
	}
	if e := c.drop("gone", false, 0); e != base.ErrOK {
		t.Fatal(e)
	}
	if r := sync(outside.addr, info(2, 0, metadata.PS_INACTIVE)); r.GcReplicas.Set {
		t.Errorf("a dropped table's replica is of no use before its time: %+v", r.GcReplicas)
	}
	if r := sync(0); r.Err != base.ErrInvalidParameters {
		t.Errorf("sync of nobody: %v", r.Err)
	}
	if r := sync(0x0a00000100010001); r.Err != base.ErrOK || len(r.Partitions) != 0 {
		t.Errorf("sync of an unknown node: %+v", r)
	}
	// A node that is dead has to be acknowledged before it may have a configuration.
	l := m.leader.Load()
	l.mu.Lock()
	l.nodes.det.Died(l.now(), outside.addr)
	l.servers.onDeath(outside.addr)
	l.mu.Unlock()
	if r := sync(outside.addr); r.Err != base.ErrBusy || len(r.Partitions) != 0 {
		t.Errorf("sync of a dead node: %+v", r)
	}
}

// While a change that rests on a node's death is being committed, the node isn't
// acknowledged.
func TestHeldNodeIsNotAcknowledged(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	c.mustCreate("temp", 1, 1)
	f := c.reps[0]
	f.set(true, true)
	l := c.leader().srv.leader.Load()
	l.mu.Lock()
	if !l.nodes.det.Died(l.now()+time.Hour, f.addr) || !l.nodes.det.Hold(f.addr) {
		t.Fatal("can't hold")
	}
	l.mu.Unlock()
	beacon := func() (fd.BeaconAck, error) {
		var ack fd.BeaconAck
		err := c.call(c.leader().name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, &fd.BeaconMsg{Version: base.Some(int32(version.Newest)), FromNode: f.addr}, &ack)
		return ack, err
	}
	if ack, err := beacon(); base.CodeOf(err) != base.ErrBusy {
		t.Errorf("a held node is answered %+v %v", ack, err)
	}
	l.mu.Lock()
	l.nodes.det.Release(f.addr)
	l.mu.Unlock()
	if ack, err := beacon(); err != nil || !ack.IsMaster {
		t.Errorf("a released node is answered %+v %v", ack, err)
	}
}

// A leader that no majority confirms acknowledges nobody as master.
func TestUnconfirmedLeaderGrantsNoLease(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	l := c.leader().srv.leader.Load()
	l.cancel() // it isn't verified any more
	until(t, "the confirmation is too old", func() bool { return !l.confirmed() })
	var ack fd.BeaconAck
	if err := c.call(c.leader().name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, &fd.BeaconMsg{Version: base.Some(int32(version.Newest)), FromNode: 0x0a00000100010001}, &ack); err != nil || ack.IsMaster {
		t.Errorf("ack: %+v %v", ack, err)
	}
	var r metaadmin.ConfigurationQueryByNodeResponse
	c.ask("RPC_CM_CONFIG_SYNC", &metaadmin.ConfigurationQueryByNodeRequest{Node: 0x0a00000100010001}, &r)
	if r.Err != base.ErrBusy {
		t.Errorf("config sync: %v", r.Err)
	}
}

// The lead of a partition moves twice before the first primary has heard of it: neither former primary is taken out before it has said
// that it knows.
func TestSeveralDeposedPrimaries(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("temp", 1, 3)
	for _, f := range c.reps {
		f.sync()
		f.set(true, true) // it must not report by itself meanwhile
	}
	g := base.Gpid{AppID: 1}
	l := c.leader().srv.leader.Load()
	fsm := c.leader().srv.fsm
	var first state.Config
	fsm.read(func(st *state.State) { _, first, _ = st.Config(g) })
	if len(first.Secondaries) != 2 {
		t.Fatalf("configuration %+v", first)
	}
	second := first.WithPrimary(first.Secondaries[0])
	second.Ballot = first.Ballot + 1
	third := second.WithPrimary(first.Secondaries[1])
	third.Ballot = second.Ballot + 1
	l.parts.changed(g, &first, &second, 0, false, "test")
	l.parts.changed(g, &second, &third, 0, false, "test")
	l.mu.Lock()
	defer l.mu.Unlock()
	may := func(one, two bool) {
		t.Helper()
		if a, b := l.parts.mayLead(g, first.Primary), l.parts.mayLead(g, second.Primary); a != one || b != two {
			t.Errorf("the first primary may lead: %v, the second: %v; want %v, %v", a, b, one, two)
		}
	}
	fsm.read(func(st *state.State) {
		may(true, true)
		roles := []metadata.ReplicaInfo{{Pid: g, Status: metadata.PS_SECONDARY, Ballot: third.Ballot}}
		l.parts.noteBelievedRoles(st, second.Primary, roles, map[base.Gpid]bool{g: true})
		may(true, false)
		l.parts.noteBelievedRoles(st, first.Primary, nil, nil) // it doesn't hold it any more
		may(false, false)
	})
}
