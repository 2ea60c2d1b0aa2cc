package meta

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

// transfer asks the leader for another one.
func (c *cluster) transfer(to string) (r metaquorum.QuorumTransferResponse) {
	c.t.Helper()
	until(c.t, "the leader answers", func() bool {
		r = metaquorum.QuorumTransferResponse{}
		err := c.call(c.leader().name, base.RPCQuorumTransfer, rpc.THFT1, &metaquorum.QuorumTransferRequest{Address: to}, &r)
		return err == nil && r.Err != base.ErrForwardToOthers && r.Err != base.ErrServiceNotActive
	})
	return r
}

// The leadership goes to the member that is named, or to any, while tables are made; none that was acknowledged is lost, and no
// client waits for an election.
func TestTransfer(t *testing.T) {
	c := newCluster(t, 3, 1, steady)
	var made atomic.Int32
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			name := fmt.Sprintf("t%d", i)
			until(t, "a table is made", func() bool {
				var r metaadmin.ConfigurationCreateAppResponse
				q := &metaadmin.ConfigurationCreateAppRequest{AppName: name, Options: metaadmin.CreateAppOptions{PartitionCount: 1, ReplicaCount: 1, SuccessIfExist: true, AppType: "pegasus", IsStateful: true}}
				err := c.call(c.leader().name, base.RPCCreateApp, rpc.THFT1, q, &r)
				return err == nil && r.Err == base.ErrOK || ctx.Err() != nil
			})
			made.Add(1)
		}
	})
	for i := range 6 {
		was, to := c.leader(), c.follower()
		name := to.name
		if i%3 == 2 {
			name = ""
		}
		r := c.transfer(name)
		if r.Err != base.ErrOK || name != "" && r.Leader != name || r.Leader == was.name || r.Was != was.name {
			t.Fatalf("from %s to %q: %+v", was.name, name, r)
		}
		until(t, "it leads", func() bool { return c.leader().name == r.Leader })
		seen := made.Load()
		until(t, "tables are made", func() bool { return made.Load() > seen })
	}
	// To one that was cut off meanwhile, and has to be sent what it lacks.
	behind := c.follower()
	c.net.isolate(behind.name)
	seen := made.Load()
	until(t, "tables are made without it", func() bool { return made.Load() > seen+20 })
	c.net.isolate()
	until(t, "it leads", func() bool { return c.transfer(behind.name).Leader == behind.name })
	stop()
	wg.Wait()
	var l metaadmin.ConfigurationListAppsResponse
	c.ask(base.RPCListApps, &metaadmin.ConfigurationListAppsRequest{}, &l)
	if n := int(made.Load()); len(l.Infos) < n-1 || n < 6 {
		t.Errorf("%d tables, %d were made", len(l.Infos), n)
	}
	leader := c.leader()
	term := leader.srv.quorum.raft.CurrentTerm()
	if r := c.transfer(leader.name); r.Err != base.ErrOK || r.Leader != leader.name || leader.srv.quorum.raft.CurrentTerm() != term {
		t.Errorf("to who leads: %+v", r)
	}
}

// Who can't take over is refused at once, and the leader goes on.
func TestTransferRefused(t *testing.T) {
	c := newCluster(t, 3, 1, steady)
	leader, down := c.leader(), c.follower()
	silent := listen(t, "127.0.0.1:0").Addr().String() // accepts, and doesn't answer
	c.stopMeta(down)
	check := func(what, to string, code base.ErrorCode, hint string) {
		t.Helper()
		began := time.Now()
		r := c.transfer(to)
		if r.Err != code || !strings.Contains(r.Hint, hint) || r.Leader != leader.name {
			t.Errorf("%s: %+v", what, r)
		}
		if took := time.Since(began); took > 2*transferAsk {
			t.Errorf("%s: refused after %v", what, took)
		}
	}
	check("a stranger", silent, base.ErrObjectNotFound, "no member of the quorum")
	check("nonsense", "x", base.ErrObjectNotFound, "no member of the quorum")
	check("one that is down", down.name, base.ErrTryAgain, down.name+" gives no answer")
	// One that takes connections and says nothing.
	l := listen(t, down.name)
	check("one that hangs", down.name, base.ErrTryAgain, down.name+" gives no answer")
	l.Close()
	c.mustCreate("after", 1, 1)
	if r := c.transfer(""); r.Err != base.ErrOK || r.Leader == down.name || r.Leader == leader.name {
		t.Errorf("to any with one down: %+v", r)
	}
}

func TestTransferOfOne(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	if r := c.transfer(""); r.Err != base.ErrInvalidState || !strings.Contains(r.Hint, "only member") {
		t.Errorf("%+v", r)
	}
	joins := c.addMeta(nil)
	if r := c.transfer(joins.name); r.Err != base.ErrObjectNotFound {
		t.Errorf("to one that isn't added: %+v", r)
	}
}

// One that lacks more than raft sends in a moment isn't asked to lead.
func TestUnfit(t *testing.T) {
	for _, tc := range []struct {
		st   metaquorum.QuorumStatusResponse
		want string
	}{
		{metaquorum.QuorumStatusResponse{Quorum: "q", Role: roleFollower, LastIndex: 5000}, ""},
		{metaquorum.QuorumStatusResponse{Quorum: "q", Role: roleFollower, LastIndex: 5000 - maxLag}, ""},
		{metaquorum.QuorumStatusResponse{Quorum: "q", Role: roleFollower, LastIndex: 5000 - maxLag - 1}, "has 3999 of 5000 entries: ask again when it has caught up"},
		{metaquorum.QuorumStatusResponse{Quorum: "q", Role: roleLearning, LastIndex: 5000}, "is learning, no follower"},
		{metaquorum.QuorumStatusResponse{Quorum: "p", Role: roleFollower, LastIndex: 5000}, "holds the state of another quorum"},
		{metaquorum.QuorumStatusResponse{Role: roleFollower, LastIndex: 5000}, ""},
	} {
		if got := unfit(&tc.st, "q", 5000); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.st, got, tc.want)
		}
	}
}
