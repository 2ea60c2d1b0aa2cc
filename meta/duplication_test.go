package meta

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/duplication"
	"pegasus/gen/utils"
)

func (c *cluster) addDup(q duplication.DuplicationAddRequest) (r duplication.DuplicationAddResponse) {
	c.t.Helper()
	c.ask(base.RPCAddDuplication, &q, &r)
	return r
}

func (c *cluster) modifyDup(q duplication.DuplicationModifyRequest) base.ErrorCode {
	c.t.Helper()
	var r duplication.DuplicationModifyResponse
	c.ask(base.RPCModifyDuplication, &q, &r)
	return r.Err
}

func (c *cluster) dups(table string) (r duplication.DuplicationQueryResponse) {
	c.t.Helper()
	c.ask(base.RPCQueryDuplication, &duplication.DuplicationQueryRequest{AppName: table, Why: base.Some(true)}, &r)
	return r
}

// sync tells the meta what a replica server confirms of a partition.
func (c *cluster) syncDup(f *fakeReplica, g base.Gpid, e ...duplication.DuplicationConfirmEntry) (r duplication.DuplicationSyncResponse) {
	c.t.Helper()
	q := &duplication.DuplicationSyncRequest{Node: f.addr}
	if len(e) > 0 {
		q.ConfirmList = []base.Pair[base.Gpid, []duplication.DuplicationConfirmEntry]{{Key: g, Val: e}}
	}
	c.ask(base.RPCDuplicationSync, q, &r)
	return r
}

func twoClusters(t *testing.T, metas int) (a, b *cluster) {
	b = newCluster(t, 1, 1, func(c *config.Config) { c.Cluster.Name, c.Cluster.ID = "east", 2; c.Meta.MinReplicaCount = 1 })
	remotes := func(c *config.Config) {
		steady(c)
		c.Cluster.ID = 1
		c.Clusters = map[string]config.Remote{"east": {ID: 2, MetaServers: []string{b.metas[0].name}}, "south": {ID: 3},
			"gone": {ID: 4, MetaServers: []string{"127.0.0.1:1"}}, "nobody": {MetaServers: []string{"127.0.0.1:1"}}}
	}
	return newCluster(t, metas, 3, remotes), b
}

func TestAddDuplicationRefuses(t *testing.T) {
	c, _ := twoClusters(t, 1)
	c.mustCreate("temp", 2, 3)
	huge := strings.Repeat("\xff\n", 1<<20)
	for _, x := range []struct {
		q    duplication.DuplicationAddRequest
		want base.ErrorCode
		hint string
	}{
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: c.cfg.Cluster.Name}, base.ErrInvalidParameters, "adding duplication to itself"},
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "none"}, base.ErrInvalidParameters, "failed to get cluster id for  << none"},
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "nobody"}, base.ErrInvalidParameters, "failed to get cluster id"},
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "south"}, base.ErrInvalidParameters, "clusters.south.meta_servers"},
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east", RemoteReplicaCount: base.Some(int32(-1))}, base.ErrInvalidParameters, "never be negative"},
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east", RemoteAppName: base.Some(strings.Repeat("x", base.MaxTableName+1))}, base.ErrInvalidParameters, "1 to"},
		{duplication.DuplicationAddRequest{AppName: "none", RemoteClusterName: "east"}, base.ErrAppNotExist, "app none was not found"},
		{duplication.DuplicationAddRequest{}, base.ErrInvalidParameters, "failed to get cluster id"},
		{duplication.DuplicationAddRequest{AppName: huge, RemoteClusterName: "east"}, base.ErrInvalidParameters, "1 to"},
		{duplication.DuplicationAddRequest{AppName: huge, RemoteClusterName: "east", RemoteAppName: base.Some("x")}, base.ErrAppNotExist, "app \xff"},
		{duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: huge}, base.ErrInvalidParameters, "get_duplication_cluster_id(\xff"},
	} {
		if r := c.addDup(x.q); r.Err != x.want || !strings.Contains(r.Hint.V, x.hint) || r.Dupid != 0 || len(r.Hint.V) > 2048 {
			t.Errorf("%.300s: %.300s", fmt.Sprintf("%+v", x.q), fmt.Sprintf("%+v", r))
		}
	}
	if r := c.dups("temp"); r.Err != base.ErrOK || len(r.EntryList) != 0 {
		t.Errorf("%+v", r)
	}
	if r := c.dups("none"); r.Err != base.ErrAppNotExist {
		t.Errorf("%+v", r)
	}
	var l duplication.DuplicationListResponse
	c.ask(base.RPCListDuplication, &duplication.DuplicationListRequest{MatchType: 77}, &l)
	if l.Err != base.ErrNotImplemented {
		t.Errorf("%+v", l)
	}
}

// A duplication of what is written from now on: confirmed by primaries only, paused, resumed,
// removed, and as it was under the next leader.
func TestDuplicationOfTheLog(t *testing.T) {
	c, _ := twoClusters(t, 3)
	c.mustCreate("temp", 1, 2) // one server has none
	cfg := c.whole("temp", 2)
	g, primary, secondary := cfg.Partitions[0].Pid, c.replica(cfg.Partitions[0].Primary), c.replica(cfg.Partitions[0].Secondaries[0])
	no := base.Some(false)
	r := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east", IsDuplicatingCheckpoint: no})
	if r.Err != base.ErrOK || r.Appid != cfg.AppId || r.Dupid == 0 || r.RemoteAppName.V != "temp" || r.RemoteReplicaCount.V != 2 {
		t.Fatalf("%+v", r)
	}
	if again := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east", IsDuplicatingCheckpoint: no}); again.Err != base.ErrDupExist || again.Dupid != r.Dupid {
		t.Errorf("added again: %+v", again)
	}
	if again := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east"}); again.Err != base.ErrInvalidParameters {
		t.Errorf("added again with a copy: %+v", again)
	}
	progress := func(s duplication.DuplicationSyncResponse) int64 {
		t.Helper()
		if s.Err != base.ErrOK || len(s.DupMap) != 1 || len(s.DupMap[0].Val) != 1 || len(s.DupMap[0].Val[0].Val.Progress.V) != 1 {
			t.Fatalf("%+v", s)
		}
		return s.DupMap[0].Val[0].Val.Progress.V[0].Val
	}
	if p := progress(c.syncDup(secondary, g)); p != -1 {
		t.Errorf("before the begin: %d", p)
	}
	ballot := cfg.Partitions[0].Ballot
	confirm := func(d int64) duplication.DuplicationConfirmEntry {
		return duplication.DuplicationConfirmEntry{Dupid: r.Dupid, ConfirmedDecree: d, Ballot: base.Some(ballot), LastCommittedDecree: base.Some(int64(20)), Why: base.Some("shipping"), Skipped: base.Some(int64(2))}
	}
	if p := progress(c.syncDup(secondary, g, confirm(9))); p != -1 {
		t.Errorf("a secondary confirmed %d", p)
	}
	ballot--
	if p := progress(c.syncDup(primary, g, confirm(9))); p != -1 {
		t.Errorf("confirmed %d under an earlier ballot", p)
	}
	ballot++
	if p := progress(c.syncDup(primary, g, confirm(7))); p != 7 {
		t.Errorf("confirmed %d", p)
	}
	if p := progress(c.syncDup(primary, g, confirm(5))); p != 7 {
		t.Errorf("what is confirmed fell to %d", p)
	}
	if p := progress(c.syncDup(secondary, g)); p != 7 {
		t.Errorf("the secondary hears %d", p)
	}
	// Who isn't a member now may be one again: it must keep its log, and knows from where on.
	for _, f := range c.reps {
		if p := progress(c.syncDup(f, g)); p != 7 {
			t.Errorf("%v hears %d", f.addr, p)
		}
	}
	// The other cluster's table is remembered as the first one that a primary found.
	table := func(f *fakeReplica, id int32) int32 {
		t.Helper()
		e := confirm(7)
		e.RemoteAppId = base.Some(id)
		s := c.syncDup(f, g, e)
		progress(s)
		return s.DupMap[0].Val[0].Val.RemoteAppId.V
	}
	if id := table(secondary, 5); id != 0 {
		t.Errorf("a secondary tells of table %d", id)
	}
	if id := table(primary, 5); id != 5 {
		t.Errorf("the other table is %d", id)
	}
	if id := table(primary, 6); id != 5 {
		t.Errorf("the other table became %d", id)
	}
	state := func() duplication.DuplicationPartitionState {
		t.Helper()
		q := c.dups("temp")
		if len(q.EntryList) != 1 || len(q.EntryList[0].PartitionStates.V) != 1 {
			t.Fatalf("%+v", q)
		}
		return q.EntryList[0].PartitionStates.V[0].Val
	}
	if s := state(); s.ConfirmedDecree != 7 || s.LastCommittedDecree != 20 || s.Why.V != "shipping" || s.Skipped.V != 2 {
		t.Errorf("%+v", s)
	}
	var l duplication.DuplicationListResponse
	c.ask(base.RPCListDuplication, &duplication.DuplicationListRequest{AppNamePattern: "te", MatchType: utils.PMT_MATCH_PREFIX}, &l)
	if len(l.AppStates) != 1 || len(l.AppStates[0].Val.Duplications) != 1 || l.AppStates[0].Val.Duplications[0].Val.PartitionStates.V[0].Val.Why.Set ||
		l.AppStates[0].Val.Duplications[0].Val.RemoteAppId.Set {
		t.Errorf("%+v", l)
	}
	set := func(s duplication.DuplicationStatus) base.ErrorCode {
		t.Helper()
		return c.modifyDup(duplication.DuplicationModifyRequest{AppName: "temp", Dupid: r.Dupid, Status: base.Some(s)})
	}
	for _, x := range []struct {
		to   duplication.DuplicationStatus
		want base.ErrorCode
	}{{duplication.DS_PAUSE, base.ErrOK}, {duplication.DS_PAUSE, base.ErrOK}, {duplication.DS_LOG, base.ErrOK}, {duplication.DS_APP, base.ErrInvalidParameters},
		{duplication.DS_INIT, base.ErrInvalidParameters}, {99, base.ErrInvalidParameters}} {
		if code := set(x.to); code != x.want {
			t.Errorf("to %v: %v", x.to, code)
		}
	}
	if code := c.modifyDup(duplication.DuplicationModifyRequest{AppName: "temp", Dupid: r.Dupid, FailMode: base.Some(duplication.FAIL_SKIP)}); code != base.ErrOK {
		t.Error(code)
	}
	was := c.leader()
	c.stopMeta(was)
	if s := state(); s.ConfirmedDecree != 7 || s.LastCommittedDecree != -1 {
		t.Errorf("under the next leader: %+v", s)
	}
	if e := c.dups("temp").EntryList[0]; e.RemoteAppId.V != 5 || e.Status != duplication.DS_LOG || e.FailMode.V != duplication.FAIL_SKIP {
		t.Errorf("under the next leader: %+v", e)
	}
	if code := set(duplication.DS_REMOVED); code != base.ErrOK {
		t.Error(code)
	}
	if code := set(duplication.DS_REMOVED); code != base.ErrObjectNotFound {
		t.Error(code)
	}
	if s := c.syncDup(primary, g, confirm(11)); s.Err != base.ErrOK || len(s.DupMap) != 0 {
		t.Errorf("after the removal: %+v", s)
	}
	stranger := duplication.DuplicationSyncResponse{}
	c.ask(base.RPCDuplicationSync, &duplication.DuplicationSyncRequest{Node: c.reps[0].addr + 1}, &stranger)
	if stranger.Err != base.ErrObjectNotFound {
		t.Errorf("a stranger: %v", stranger.Err)
	}
}

// With a copy the other cluster is given the table first; the duplication is DS_LOG when all partitions have begun.
func TestDuplicationWithCopy(t *testing.T) {
	c, other := twoClusters(t, 1)
	c.mustCreate("temp", 2, 3)
	cfg := c.whole("temp", 3)
	r := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east", RemoteAppName: base.Some("copy"), RemoteReplicaCount: base.Some(int32(1))})
	if r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	status := func() duplication.DuplicationStatus { return c.dups("temp").EntryList[0].Status }
	until(t, "the table is there", func() bool { return status() == duplication.DS_APP })
	if q := other.query("copy"); q.Err != base.ErrOK || q.PartitionCount != 2 || q.Partitions[0].MaxReplicaCount != 1 {
		t.Errorf("in the other cluster: %+v", q)
	}
	// Primaries are told that it was made for them: nothing is in it.
	made := func() duplication.DuplicationEntry {
		t.Helper()
		p := &cfg.Partitions[0]
		s := c.syncDup(c.replica(p.Primary), p.Pid)
		if len(s.DupMap) != 1 || len(s.DupMap[0].Val) != 1 {
			t.Fatalf("%+v", s)
		}
		return s.DupMap[0].Val[0].Val
	}
	if e, q := made(), other.query("copy"); !e.RemoteMade.V || e.RemoteAppId.V != q.AppId {
		t.Errorf("%+v, and in the other cluster %+v", e, q)
	}
	for i := range cfg.Partitions {
		p := &cfg.Partitions[i]
		if s := status(); s != duplication.DS_APP {
			t.Errorf("%d partitions have begun: %v", i, s)
		}
		c.syncDup(c.replica(p.Primary), p.Pid, duplication.DuplicationConfirmEntry{Dupid: r.Dupid, ConfirmedDecree: int64(i), Ballot: base.Some(p.Ballot)})
	}
	if s := status(); s != duplication.DS_LOG {
		t.Errorf("all have begun: %v", s)
	}
	if code := c.modifyDup(duplication.DuplicationModifyRequest{AppName: "temp", Dupid: r.Dupid, Status: base.Some(duplication.DS_REMOVED)}); code != base.ErrOK {
		t.Fatal(code)
	}
	if r = c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "east", RemoteAppName: base.Some("copy")}); r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	until(t, "the table is found", func() bool { return status() == duplication.DS_APP })
	if e := made(); e.RemoteMade.V {
		t.Errorf("a table that was there was made: %+v", e)
	}
	c.mustCreate("lost", 1, 3)
	if r := c.addDup(duplication.DuplicationAddRequest{AppName: "lost", RemoteClusterName: "gone"}); r.Err != base.ErrOK {
		t.Fatalf("%+v", r)
	}
	before := time.Now()
	until(t, "it says that the other cluster isn't there", func() bool {
		e := c.dups("lost").EntryList[0]
		if e.Status != duplication.DS_PREPARE {
			t.Fatalf("%+v", e)
		}
		return strings.Contains(e.PartitionStates.V[0].Val.Why.V, "127.0.0.1:1")
	})
	t.Logf("after %v", time.Since(before))
}
