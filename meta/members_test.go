package meta

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
	"pegasus/meta/raftrpc"
	"pegasus/rpc"
)

// change asks the leader for a change of the quorum, again if it handed over first.
func (c *cluster) change(addr string, remove bool) (r metaquorum.QuorumChangeResponse) {
	c.t.Helper()
	until(c.t, "the quorum's leader answers", func() bool {
		r = metaquorum.QuorumChangeResponse{}
		err := c.call(c.leader().name, "RPC_CM_QUORUM_CHANGE", rpc.RDSN, &metaquorum.QuorumChangeRequest{Address: addr, Remove: remove}, &r)
		return err == nil && r.Err != base.ErrForwardToOthers && r.Err != base.ErrServiceNotActive
	})
	return r
}

func (c *cluster) status(addr string) (r metaquorum.QuorumStatusResponse) {
	c.t.Helper()
	until(c.t, addr+" tells its status", func() bool {
		// The connection may be one to a process before that hasn't been seen to end.
		r = metaquorum.QuorumStatusResponse{}
		err := c.call(addr, "RPC_CM_QUORUM_STATUS", rpc.THFT0, &metaquorum.QuorumStatusRequest{}, &r)
		if err != nil && !errors.Is(err, base.ErrNetworkFailure) {
			c.t.Fatal(err)
		}
		return err == nil
	})
	return r
}

// addMeta makes another meta with an empty directory; change may alter its configuration.
func (c *cluster) addMeta(change func(*config.Config)) *metaProc {
	c.t.Helper()
	l := listen(c.t, "127.0.0.3:0")
	m := &metaProc{name: l.Addr().String(), cfg: c.cfg}
	m.cfg.Meta.DataDir = c.t.(*testing.T).TempDir()
	m.cfg.Meta.Join = true
	if change != nil {
		change(&m.cfg)
	}
	c.metas = append(c.metas, m)
	c.startMeta(m, l)
	return m
}

func (c *cluster) members() string {
	c.t.Helper()
	var list []string
	for _, m := range c.status(c.leader().name).Members {
		list = append(list, m.Address)
		if !m.Voter {
			list[len(list)-1] += "?"
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func sorted(metas ...*metaProc) string {
	var list []string
	for _, m := range metas {
		list = append(list, m.name)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// A quorum of one grows to three, all of it new, and back to one; the tables stay, and
// everybody learns of it.
func TestQuorumGrowsAndShrinks(t *testing.T) {
	c := newCluster(t, 1, 1, steady)
	c.mustCreate("temp", 2, 1)
	a := c.metas[0]
	b, d := c.addMeta(nil), c.addMeta(nil)
	if st := c.status(b.name); st.Role != roleJoining || len(st.Members) != 0 || st.Quorum != "" {
		t.Errorf("before it is added: %+v", st)
	}
	for i, m := range []*metaProc{b, d} {
		if r := c.change(m.name, false); r.Err != base.ErrOK || len(r.Members) != 2+i {
			t.Fatalf("add %s: %+v", m.name, r)
		}
	}
	if got, want := c.members(), sorted(a, b, d); got != want {
		t.Errorf("members %s, want %s", got, want)
	}
	first := c.status(a.name)
	for _, m := range []*metaProc{b, d} {
		until(t, "it follows", func() bool {
			st := c.status(m.name)
			return st.Role == roleFollower && st.Leader == a.name && st.Tables == 1 && st.Quorum == first.Quorum && len(st.Members) == 3
		})
	}
	var info metaadmin.ConfigurationClusterInfoResponse
	c.ask("RPC_CM_CLUSTER_INFO", &metaadmin.ConfigurationClusterInfoRequest{}, &info)
	if len(strings.Split(info.Values[0], ",")) != 3 {
		t.Errorf("cluster info says %s", info.Values[0])
	}
	var ack fd.BeaconAck
	if err := c.call(a.name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, &fd.BeaconMsg{Version: base.Some(int32(version.Newest)), FromNode: c.reps[0].addr, StartTime: base.Some(c.reps[0].start)}, &ack); err != nil || len(ack.MetaServers.V) != 3 {
		t.Errorf("ack: %+v %v", ack, err)
	}
	// The member that began it all goes. It leads, so it hands over first.
	if r := c.change(a.name, true); r.Err != base.ErrOK || len(r.Members) != 2 {
		t.Fatalf("remove the leader: %+v", r)
	}
	if got, want := c.members(), sorted(b, d); got != want {
		t.Errorf("members %s, want %s", got, want)
	}
	c.stopMeta(a)
	// If it has heard of its removal it doesn't start; else nobody votes for it.
	if err := c.tryStart(a); err != nil && !strings.Contains(err.Error(), "removed from the quorum") {
		t.Errorf("the removed one starts: %v", err)
	}
	if r := c.query("temp"); r.Err != base.ErrOK || len(r.Partitions) != 2 {
		t.Errorf("the table: %+v", r)
	}
	// New metas know their quorum without --join, whatever the list says.
	c.stopMeta(b)
	b.cfg.Meta.Join, b.cfg.Cluster.MetaServers = false, []string{a.name}
	c.startMeta(b, nil)
	until(t, "both are there again", func() bool { return c.status(b.name).Leader != "" })
	// On a busy machine the other one may be silent for longer than its word is waited for.
	var back metaquorum.QuorumChangeResponse
	until(t, "back to one", func() bool {
		back = c.change(b.name, true)
		return back.Err != base.ErrInvalidState || !strings.Contains(back.Hint, "only 0 live")
	})
	if back.Err != base.ErrOK {
		t.Fatalf("back to one: %+v", back)
	}
	if got := c.members(); got != d.name {
		t.Errorf("members %s, want %s", got, d.name)
	}
	if r := c.change(d.name, true); r.Err != base.ErrInvalidState || !strings.Contains(r.Hint, "only member") {
		t.Errorf("the last one: %+v", r)
	}
	c.mustCreate("after", 1, 1)
}

// tryStart starts a meta and stops it.
func (c *cluster) tryStart(m *metaProc) error {
	s, err := New(Options{Config: m.cfg, Listener: listen(c.t, m.name), Log: testLog()})
	if err != nil {
		return err
	}
	err = s.Start()
	if e := s.Stop(c.t.Context()); e != nil {
		c.t.Error(e)
	}
	return err
}

// Changes that are wrong or unsafe are refused with a word that helps, and change nothing.
func TestQuorumChangeRefused(t *testing.T) {
	c := newCluster(t, 3, 0, func(c *config.Config) {
		steady(c)
		c.Meta.Listen = "127.0.0.1:0" // which has another name
	})
	before := c.members()
	follower := c.follower()
	stranger := c.addMeta(func(cfg *config.Config) { cfg.Cluster.Name = "other" })
	founder := listen(t, "127.0.0.1:0").Addr().String() // accepts, and doesn't answer
	for _, tc := range []struct {
		what, addr string
		remove     bool
		code       base.ErrorCode
		hint       string
	}{
		{"no address", "", false, base.ErrInvalidParameters, "host:port"},
		{"no port", "127.0.0.1", false, base.ErrInvalidParameters, "host:port"},
		{"port 0", "127.0.0.1:0", true, base.ErrInvalidParameters, "port"},
		{"IPv6", "[::1]:5", false, base.ErrInvalidParameters, "IPv4"},
		{"a member", follower.name, false, base.ErrNodeAlreadyExist, "already"},
		{"a member by another name", strings.Replace(follower.name, "127.0.0.1", "localhost", 1), false, base.ErrNodeAlreadyExist, follower.name},
		{"nobody there", "127.0.0.1:1", false, base.ErrTryAgain, "--join"},
		{"who doesn't answer", founder, false, base.ErrTryAgain, "--join"},
		{"another cluster", stranger.name, false, base.ErrInvalidParameters, `"other"`},
		{"removal of no member", "127.0.0.1:1", true, base.ErrObjectNotFound, follower.name},
	} {
		if r := c.change(tc.addr, tc.remove); r.Err != tc.code || !strings.Contains(r.Hint, tc.hint) {
			t.Errorf("%s: %v %q, want %v and %q", tc.what, r.Err, r.Hint, tc.code, tc.hint)
		}
	}
	// A follower over THFT says who leads by its code.
	var r metaquorum.QuorumChangeResponse
	if err := c.call(follower.name, "RPC_CM_QUORUM_CHANGE", rpc.THFT0, &metaquorum.QuorumChangeRequest{Address: follower.name, Remove: true}, &r); err != nil || r.Err != base.ErrForwardToOthers {
		t.Errorf("asked of a follower: %+v %v", r, err)
	}
	// With one dead, the removal of a living one would leave no majority.
	i := slices.IndexFunc(c.metas, func(m *metaProc) bool { return m != follower && m != c.leader() })
	dead := c.metas[i]
	c.stopMeta(dead)
	if r := c.change(follower.name, true); r.Err != base.ErrInvalidState || !strings.Contains(r.Hint, "no majority") {
		t.Errorf("removal of a living one: %+v", r)
	}
	if got := c.members(); got != before {
		t.Errorf("members %s, were %s", got, before)
	}
	// The dead one can go.
	if r := c.change(dead.name, true); r.Err != base.ErrOK {
		t.Fatalf("removal of the dead one: %+v", r)
	}
	if got, want := c.members(), sorted(c.leader(), c.follower2(dead, stranger)); got != want {
		t.Errorf("members %s, want %s", got, want)
	}
}

// A leader that is deposed while it waits for a new meta says that, and the new meta stays
// what it is: who leads next goes on with it.
func TestDeposedWhileAdding(t *testing.T) {
	c := newCluster(t, 3, 0, steady)
	led := c.leader()
	l := listen(t, "127.0.0.1:0")
	joins := l.Addr().String()
	mux := rpc.NewMux(nil)
	mux.HandleFunc("RPC_CM_QUORUM_STATUS", func(r *rpc.Request) { // it never catches up
		r.Reply(&metaquorum.QuorumStatusResponse{Err: base.ErrOK, Cluster: c.cfg.Cluster.Name, Server: joins, Role: roleJoining, Version: base.Some(int32(version.Newest))})
	})
	srv := rpc.NewServer(rpc.ServerOptions{}, mux, nil, nil)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		srv.Shutdown(context.Background())
		<-served
	}()
	var r metaquorum.QuorumChangeResponse
	asked := make(chan error, 1)
	go func() {
		asked <- c.call(led.name, "RPC_CM_QUORUM_CHANGE", rpc.RDSN, &metaquorum.QuorumChangeRequest{Address: joins}, &r)
	}()
	until(t, "it is a member without a vote", func() bool {
		return slices.Contains(c.status(led.name).Members, metaquorum.QuorumMember{Address: joins})
	})
	if err := led.srv.quorum.raft.LeadershipTransfer().Error(); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil || r.Err != base.ErrServiceNotActive || !strings.Contains(r.Hint, "ask again") {
		t.Errorf("%+v %v", r, err)
	}
	until(t, "somebody leads, and the new one is still there", func() bool {
		return strings.Contains(c.members(), joins+"?")
	})
}

// follower2 is the follower that is none of others.
func (c *cluster) follower2(others ...*metaProc) *metaProc {
	l := c.leader()
	return c.metas[slices.IndexFunc(c.metas, func(m *metaProc) bool { return m != l && !slices.Contains(others, m) })]
}

// A disk is lost: the meta starts empty, has no vote before it has caught up, and does.
func TestLostDisk(t *testing.T) {
	c := newCluster(t, 3, 1, nil)
	c.mustCreate("temp", 2, 1)
	lost := c.follower()
	c.stopMeta(lost)
	c.mustCreate("meanwhile", 2, 1)
	emptyDir(t, lost.cfg.Meta.DataDir)
	lost.cfg.Cluster.MetaServers = c.cfg.Cluster.MetaServers
	c.startMeta(lost, nil)
	want := c.status(c.leader().name).Quorum
	until(t, "it has caught up", func() bool {
		st := c.status(lost.name)
		return st.Tables == 2 && st.Role == roleFollower && st.Quorum == want && want != ""
	})
	// Now it counts: with one of the others gone there still is a majority.
	c.stopMeta(c.follower2(lost))
	c.mustCreate("then", 2, 1)

	// While the majority is away, an empty server doesn't make one with who lacks something.
	c.stopMeta(lost)
	emptyDir(t, lost.cfg.Meta.DataDir)
	rest := c.leaderOrRest(lost)
	until(t, "the last one leads no more", func() bool { return !rest.srv.Leading() })
	c.startMeta(lost, nil)
	if err := lost.srv.members.admit(message(rest.name, want, true)); err == nil || !strings.Contains(err.Error(), "caught up") {
		t.Errorf("an empty server votes: %v", err)
	}
	c.stopMeta(lost)

	// Nor does one whose log alone is lost, which knows its quorum yet.
	dir := lost.cfg.Meta.DataDir
	emptyDir(t, dir)
	if err := writeOwner(dir, owner{c.cfg.Cluster.Name, lost.name, want}); err != nil {
		t.Fatal(err)
	}
	c.startMeta(lost, nil)
	if err := lost.srv.members.admit(message(rest.name, want, true)); err == nil || !strings.Contains(err.Error(), "caught up") {
		t.Errorf("a server without a log votes: %v", err)
	}
	c.startMeta(c.metas[slices.IndexFunc(c.metas, func(m *metaProc) bool { return m.srv == nil })], nil)
	until(t, "it has caught up", func() bool {
		st := c.status(lost.name)
		return st.Tables == 3 && st.Role == roleFollower && st.Quorum == want
	})
}

func (c *cluster) leaderOrRest(not *metaProc) *metaProc {
	return c.metas[slices.IndexFunc(c.metas, func(m *metaProc) bool { return m.srv != nil && m != not })]
}

func emptyDir(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) == 0 {
		t.Fatalf("%d files: %v", len(list), err)
	}
	for _, f := range list {
		if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func message(from, quorum string, vote bool) raftrpc.Message {
	return raftrpc.Message{From: raft.ServerAddress(from), Quorum: quorum, Vote: vote}
}

// What may not reach raft.
func TestAdmission(t *testing.T) {
	c := newCluster(t, 3, 0, nil)
	s := c.leader().srv
	mine := s.members.quorumID()
	peer := c.follower().name
	if mine == "" {
		t.Fatal("the leader doesn't know its quorum")
	}
	for _, tc := range []struct {
		what, from, quorum string
		vote               bool
		want               string // "": admitted
	}{
		{"a member", peer, mine, true, ""},
		{"a member that doesn't know the quorum yet", peer, "", true, ""},
		{"one of this quorum that isn't on the list yet", "127.0.0.1:9", mine, false, ""},
		{"nobody", "127.0.0.1:9", "", false, "none of the meta servers"},
		{"two with one name", s.name, mine, false, "two meta servers are called"},
		{"the data of another cluster", peer, "ANOTHER", false, "has the data of another cluster"},
	} {
		err := s.members.admit(message(tc.from, tc.quorum, tc.vote))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.want)
		}
	}
}

// A meta that is started as one of a new cluster, though the cluster has a quorum without
// it, ends and says what to do.
func TestOutsiderEnds(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	l := listen(t, "127.0.0.1:0")
	cfg := c.cfg
	cfg.Meta.DataDir = t.TempDir()
	cfg.Cluster.MetaServers = append(slices.Clone(cfg.Cluster.MetaServers), l.Addr().String())
	until(t, "the quorum knows itself", func() bool { return c.status(c.metas[0].name).Quorum != "" })
	s, err := New(Options{Config: cfg, Listener: l, Log: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer s.Stop(t.Context())
	until(t, "it ends", func() bool {
		select {
		case err = <-s.Failed():
			return true
		default:
			return false
		}
	})
	if err == nil || !strings.Contains(err.Error(), "--join") || !strings.Contains(err.Error(), c.metas[0].name) {
		t.Errorf("it says %v", err)
	}
	// With --join the same directory is good.
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := &metaProc{name: l.Addr().String(), cfg: cfg}
	m.cfg.Meta.Join = true
	c.metas = append(c.metas, m)
	c.startMeta(m, nil)
	if r := c.change(m.name, false); r.Err != base.ErrOK || len(r.Members) != 2 {
		t.Errorf("add: %+v", r)
	}
}
