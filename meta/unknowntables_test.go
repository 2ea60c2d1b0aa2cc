package meta

import (
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

// remembers gives a server a replica of a table that the metas don't know.
func (f *fakeReplica) remembers(id int32, name string, parts int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.infos[id] = layer2.AppInfo{AppId: id, AppName: name, AppType: "pegasus", IsStateful: true, PartitionCount: parts, MaxReplicaCount: 1, Status: layer2.AS_AVAILABLE, CreateSecond: 77}
	for i := range parts {
		g := base.Gpid{AppID: id, PartitionIndex: i}
		f.stored[g] = metadata.ReplicaInfo{Pid: g, Ballot: 5, Status: metadata.PS_INACTIVE, LastPreparedDecree: 9, LastCommittedDecree: 9}
	}
}

// Metas that lost their state give no id again that a replica server knows; a dropped table
// takes nothing of the old ones along, and they can be recovered beside the new ones.
func TestIDsOfUnknownTablesAreNotReused(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	old, fresh := c.reps[0], c.reps[1]
	// The first table is asked for as soon as the server with the old ones is there.
	old.remembers(1, "old", 2)
	old.remembers(3, "temp", 1)
	c.reported()
	if id := c.mustCreate("temp", 2, 1); id <= 3 {
		t.Fatalf("the new table has id %d, and a server has replicas of tables 1 and 3", id)
	}
	fresh.remembers(5000, "later", 1)
	c.reported()
	if id := c.mustCreate("next", 2, 1); id != 5001 {
		t.Errorf("the next table has id %d, though a server has replicas of table 5000", id)
	}
	srv := c.metas[0].srv
	for _, hint := range []string{srv.quorumStatus().Hint.Or(""), srv.leader.Load().nodes.unknownTablesHint()} {
		if !strings.Contains(hint, "[1 3 5000]") || !strings.Contains(hint, "recover") {
			t.Errorf("the hint is %q", hint)
		}
	}
	var drop metaadmin.ConfigurationDropAppResponse
	c.ask("RPC_CM_DROP_APP", &metaadmin.ConfigurationDropAppRequest{AppName: "next", Options: metaadmin.DropAppOptions{ReserveSeconds: base.Some(int64(1))}}, &drop)
	if drop.Err != base.ErrOK {
		t.Fatal(drop.Err)
	}
	c.reported()
	for _, f := range c.reps {
		f.mu.Lock()
		for _, g := range f.gc {
			if g.AppID != 5001 {
				t.Errorf("a replica of a table that nobody knows was given up: %v", g)
			}
		}
		f.mu.Unlock()
	}

	var r metaadmin.ConfigurationRecoveryResponse
	c.ask("RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{old.addr, fresh.addr}}, &r)
	if r.Err != base.ErrOK || !strings.Contains(r.HintMessage, `"temp", is taken`) {
		t.Fatalf("recover: %v %q", r.Err, r.HintMessage)
	}
	for name, id := range map[string]int32{"old": 1, "temp__3": 3, "later": 5000} {
		q := c.query(name)
		if q.Err != base.ErrOK || q.AppId != id || q.Partitions[0].Ballot < 6 {
			t.Errorf("table %s: %+v", name, q)
		}
	}
	if q := c.query("temp"); q.AppId != 1004 {
		t.Errorf("the table that was made meanwhile: %+v", q)
	}
	if hint := srv.leader.Load().nodes.unknownTablesHint(); hint != "" {
		t.Errorf("after the recovery: %q", hint)
	}
	// Again there is nothing to bring back.
	c.ask("RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{old.addr, fresh.addr}}, &r)
	if r.Err != base.ErrServiceAlreadyRunning {
		t.Errorf("a second recovery: %v", r.Err)
	}
}

// Metas that never had a table make none before all living servers have said what they store.
func TestFirstTableWaitsForReports(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	l := c.metas[0].srv.leader.Load()
	silent := base.RPCAddress(0x7f000001_00010001)
	beat := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.nodes.det.Expect(l.now(), silent)
	}
	beat()
	if err := func() error { // as if it never reported
		c.metas[0].srv.cfg.Meta.CreateWait = 0
		return l.nodes.settleIDs()
	}(); base.CodeOf(err) != base.ErrTryAgain {
		t.Errorf("with a silent server: %v", err)
	}
	l.mu.Lock()
	l.nodes.at(silent).reported = true
	l.mu.Unlock()
	until(t, "the other one reported", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.nodes.of(c.reps[0].addr).reported
	})
	if err := l.nodes.settleIDs(); err != nil {
		t.Errorf("when all have reported: %v", err)
	}
}

// A table whose id the metas gave to another one can't be brought back, and that is told.
func TestOtherTablesOfAnID(t *testing.T) {
	st := state.New()
	if _, err := st.Apply(state.Encode(&state.CreateTable{Name: "temp", Partitions: 1, MaxReplicas: 1, Now: 100})); err != nil {
		t.Fatal(err)
	}
	app := func(id int32, name string, created int64) layer2.AppInfo {
		return layer2.AppInfo{AppId: id, AppName: name, PartitionCount: 1, MaxReplicaCount: 1, CreateSecond: created}
	}
	inv := &inventory{tables: []layer2.AppInfo{app(1, "temp", 100), app(2, "x", 5)}}
	if got := otherTables(st, inv); got != "" {
		t.Errorf("nothing clashes: %q", got)
	}
	inv.tables = append(inv.tables, app(1, "users", 7))
	if got := otherTables(st, inv); !strings.Contains(got, `"users"`) || !strings.Contains(got, `"temp"`) {
		t.Errorf("a clash: %q", got)
	}
}

// TestRecoverWhileIDsAreSetAside: the metas take the first report of what a server stores while a recovery asks that server.
func TestRecoverWhileIDsAreSetAside(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	f := c.reps[0]
	c.reported()
	f.set(true, false) // it says nothing by itself
	f.remembers(1, "old", 2)
	f.mu.Lock()
	f.asked = func() {
		if code := c.metas[0].srv.leader.Load().nodes.apply(&state.ReserveIDs{Last: 1 + spareIDs}).Err; code != base.ErrOK {
			t.Errorf("set ids aside: %v", code)
		}
	}
	f.mu.Unlock()
	ask := func(want base.ErrorCode) {
		t.Helper()
		var r metaadmin.ConfigurationRecoveryResponse
		c.ask("RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{f.addr}}, &r)
		if r.Err != want {
			t.Fatalf("recover: %v %q, want %v", r.Err, r.HintMessage, want)
		}
	}
	ask(base.ErrOK)
	if q := c.query("old"); q.Err != base.ErrOK || q.AppId != 1 {
		t.Errorf("the table: %+v", q)
	}
	ask(base.ErrServiceAlreadyRunning)
}
