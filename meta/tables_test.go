package meta

import (
	"math"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

// A dropped table is forgotten some time after its data may go; then whoever still stores a
// replica of it is told to throw it away, and its id isn't used again.
func TestPurge(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	gone, stays, kept := c.mustCreate("gone", 1, 1), c.mustCreate("stays", 1, 1), c.mustCreate("kept", 1, 1)
	if e := c.drop("gone", false, 3600); e != base.ErrOK {
		t.Fatal(e)
	}
	if e := c.drop("kept", false, math.MaxInt64); e != base.ErrOK {
		t.Fatal(e)
	}
	purge := func(after time.Duration) { c.leader().srv.tables().purgeOnce(time.Now().Add(after)) }
	ids := func() (ids []int32) {
		for _, a := range c.list(layer2.AS_INVALID) {
			ids = append(ids, a.AppId)
		}
		return ids
	}
	useless := func(id int32) bool {
		q := &metaadmin.ConfigurationQueryByNodeRequest{Node: c.reps[0].addr, StoredReplicas: base.Some([]metadata.ReplicaInfo{{Pid: base.Gpid{AppID: id}, Ballot: 2, Status: metadata.PS_INACTIVE}})}
		var r metaadmin.ConfigurationQueryByNodeResponse
		until(t, "the configuration is told", func() bool {
			c.ask("RPC_CM_CONFIG_SYNC", q, &r)
			return r.Err == base.ErrOK
		})
		return len(r.GcReplicas.V) == 1
	}
	if purge(30 * time.Minute); len(ids()) != 3 {
		t.Errorf("before its time: tables %v", ids())
	}
	if useless(gone) {
		t.Error("a replica of a dropped table is of no use before its time")
	}
	purge(2 * time.Hour)
	check := func(when string) {
		t.Helper()
		if l := ids(); len(l) != 2 || l[0] != stays || l[1] != kept {
			t.Errorf("%s: tables %v", when, l)
		}
		if r := c.recall(gone, ""); r.Err != base.ErrAppNotExist {
			t.Errorf("%s: recall: %v", when, r.Err)
		}
		if !useless(gone) || useless(kept) || useless(stays+100) {
			t.Errorf("%s: of use: forgotten table %v, kept one %v, one that never was %v", when, !useless(gone), !useless(kept), !useless(stays+100))
		}
	}
	check("forgotten")
	m := c.leader()
	if err := m.srv.quorum.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.stopMeta(m)
	c.startMeta(m, nil)
	check("after a restart")
	if id := c.mustCreate("gone", 1, 1); id <= kept {
		t.Errorf("a new table has id %d", id)
	}
}

func TestCompactionProgress(t *testing.T) {
	at := func(part int32, st metadata.ManualCompactionStatus) metadata.ReplicaInfo {
		return metadata.ReplicaInfo{Pid: base.Gpid{AppID: 1, PartitionIndex: part}, ManualCompactStatus: base.Some(st)}
	}
	table := &state.Table{ID: 1, MaxReplicas: 2, Parts: []state.Config{
		{Primary: 1, Secondaries: []base.RPCAddress{2}},
		{Primary: 2, Secondaries: []base.RPCAddress{3}},
	}}
	for _, c := range []struct {
		nodes   map[base.RPCAddress][]metadata.ReplicaInfo
		percent int32
		ok      bool
	}{
		{nil, 0, false},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.IDLE)}, 2: {at(0, metadata.IDLE)}}, 0, false},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.QUEUING)}}, 0, true},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.FINISHED)}, 2: {at(0, metadata.RUNNING), at(1, metadata.FINISHED)}}, 50, true},
		// What is no member doesn't count.
		{map[base.RPCAddress][]metadata.ReplicaInfo{3: {at(0, metadata.FINISHED)}, 4: {at(1, metadata.FINISHED)}}, 0, false},
		{map[base.RPCAddress][]metadata.ReplicaInfo{1: {at(0, metadata.FINISHED)}, 2: {at(0, metadata.FINISHED), at(1, metadata.FINISHED)},
			3: {at(1, metadata.FINISHED)}}, 100, true},
	} {
		ts := &tables{nodes: &nodes{byAddr: map[base.RPCAddress]*node{}}}
		for n, rs := range c.nodes {
			ts.nodes.at(n).compactions = compactionsOf(rs)
		}
		if percent, ok := ts.progress(table); percent != c.percent || ok != c.ok {
			t.Errorf("%v: %d %% %t, want %d %% %t", c.nodes, percent, ok, c.percent, c.ok)
		}
	}
}
