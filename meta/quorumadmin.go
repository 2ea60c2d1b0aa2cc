package meta

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/metabackup"
	"pegasus/base/version"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// quorumAdmin is the service of the quorum of metas, and of the cluster as a whole.
type quorumAdmin struct {
	service.Quiet
	*term
	nodes *nodes
	parts *partitions
	bal   *balancer
}

func newQuorumAdmin(l *leader) service.Service {
	return &quorumAdmin{term: l.term, nodes: l.nodes, parts: l.parts, bal: l.bal}
}

// Register adds the requests and pages about the quorum and the cluster.
func (*quorumAdmin) Register(r *service.Routes) {
	const fast, slow = service.Fast, service.Slow
	service.Handle(r, base.RPCQuorumChange, slow, (*quorumAdmin).changeQuorum)
	service.Handle(r, base.RPCQuorumTransfer, slow, (*quorumAdmin).transferQuorum)
	service.Handle(r, base.RPCQuorumBackup, slow, (*quorumAdmin).backupQuorum)
	service.Handle(r, base.RPCUpgradeVersion, slow, (*quorumAdmin).upgradeVersion)
	service.Handle(r, base.RPCClusterInfo, fast, (*quorumAdmin).clusterInfo)
	service.Handle(r, base.RPCControlMeta, slow, (*quorumAdmin).controlMeta)
	service.Page(r, "meta/cluster", "Show the cluster.", (*quorumAdmin).clusterPage)
}

// The roles of a meta in its own words.
const (
	roleLeader    = "leader"
	roleFollower  = "follower"
	roleCandidate = "candidate"
	roleLearning  = "learning" // gets the log, has no vote yet
	roleJoining   = "joining"  // waits to be added
	roleRemoved   = "removed"
)

// onQuorumStatus answers for this server alone, whoever leads.
func (s *Server) onQuorumStatus(req *rpc.Request) {
	var q metaquorum.QuorumStatusRequest
	if err := req.DecodeArg(&q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	req.Reply(s.quorumStatus())
}

func (s *Server) quorumStatus() *metaquorum.QuorumStatusResponse {
	servers := s.quorum.servers()
	r := &metaquorum.QuorumStatusResponse{
		Err: base.ErrOK, Cluster: s.cfg.Cluster.Name, Quorum: s.members.quorumID(), Server: s.name, Leader: s.quorum.leaderName(), Members: wireMembers(servers),
	}
	last, lastTerm, _ := lastEntry(s.quorum)
	r.LastIndex, r.LastTerm, r.Applied = int64(last), int64(lastTerm), int64(s.quorum.raft.AppliedIndex())
	r.Term = int64(s.quorum.raft.CurrentTerm())
	switch i := slices.IndexFunc(servers, func(m raft.Server) bool { return string(m.Address) == s.name }); {
	case len(servers) == 0:
		r.Role = roleJoining
	case i < 0:
		r.Role = roleRemoved
	case servers[i].Suffrage != raft.Voter:
		r.Role = roleLearning
	case s.quorum.raft.State() == raft.Leader:
		r.Role = roleLeader
	case s.quorum.raft.State() == raft.Candidate:
		r.Role = roleCandidate
	default:
		r.Role = roleFollower
	}
	hints := []string{s.quorum.room.hint()}
	if l := s.leader.Load(); l != nil {
		hints = append(hints, l.nodes.unknownTablesHint())
	}
	hints = slices.DeleteFunc(hints, func(h string) bool { return h == "" })
	if len(hints) > 0 {
		r.Hint = base.Some(strings.Join(hints, "; "))
	}
	s.fsm.read(func(st *state.State) { r.Tables, r.Restored = int32(countTables(st)), st.Restored() })
	v, id := s.fsm.cluster()
	r.Version, r.ClusterVersion, r.ClusterId = base.Some(int32(version.Newest)), base.Some(int32(v)), base.NonZero(id)
	r.Number = base.NonZero(int32(s.cfg.Cluster.ID))
	return r
}

// changeQuorum adds a meta to the quorum or removes one.
func (qa *quorumAdmin) changeQuorum(c *service.Call, q *metaquorum.QuorumChangeRequest, r *metaquorum.QuorumChangeResponse) {
	waitsForRaft()
	if !qa.s.changing.TryLock() {
		r.Err, r.Hint = base.ErrBusy, "another change of the quorum is under way"
		return
	}
	defer qa.s.changing.Unlock()
	err := config.CheckAddr(q.Address)
	if err != nil {
		err = refuse(base.ErrInvalidParameters, "%v", err)
	} else if q.Remove {
		err = qa.removeMeta(q.Address)
	} else {
		err = qa.addMeta(q.Address)
	}
	if r := (*refusal)(nil); err != nil && qa.ctx.Err() != nil && !errors.Is(err, base.ErrForwardToOthers) && !(errors.As(err, &r) && r.open) {
		err = refuse(base.ErrServiceNotActive, "%s stopped leading meanwhile, and nothing else is wrong: ask again (%v)", qa.s.name, err)
	}
	r.Err, r.Members = base.ErrOK, wireMembers(qa.s.quorum.servers())
	if err != nil {
		r.Err, r.Hint = base.CodeOf(err), err.Error()
		qa.log.Warnf("change of the quorum (%s, remove: %v), asked by %s: %v", q.Address, q.Remove, c.From, err)
		return
	}
	if q.Remove {
		qa.changed(c, "meta server %s left the quorum", q.Address)
	} else {
		qa.changed(c, "meta server %s joined the quorum", q.Address)
	}
}

// transferQuorum has another member lead.
func (qa *quorumAdmin) transferQuorum(c *service.Call, q *metaquorum.QuorumTransferRequest, r *metaquorum.QuorumTransferResponse) {
	waitsForRaft()
	r.Was, r.Leader = qa.s.name, qa.s.name
	if q.Address == qa.s.name {
		r.Err = base.ErrOK // it leads already
		return
	}
	if !qa.s.changing.TryLock() {
		r.Err, r.Hint = base.ErrBusy, "a change of the quorum is under way: ask again"
		return
	}
	defer qa.s.changing.Unlock()
	leader, err := qa.s.transfer(qa.s.ctx, q.Address) // not for as long as this server leads
	if err != nil {
		r.Err, r.Hint = base.CodeOf(err), err.Error()
		qa.log.Warnf("another leader (%s), asked by %s: %v", cmp.Or(q.Address, "any"), c.From, err)
		return
	}
	r.Err, r.Leader = base.ErrOK, leader
	qa.changed(c, "meta server %s leads now", leader)
}

// addMeta makes addr, a server that was started to join, a voter. It gets the log first:
// a voter that holds nothing would stand in the way of a majority.
func (qa *quorumAdmin) addMeta(addr string) error {
	q, s := qa.s.quorum, qa.s
	servers, at := q.serversAt()
	packed, err := base.ParseAddr(addr)
	if err != nil {
		return refuse(base.ErrInvalidParameters, "%v", err)
	}
	known := false
	for _, m := range servers {
		switch {
		case string(m.Address) == addr && m.Suffrage == raft.Voter:
			return refuse(base.ErrNodeAlreadyExist, "%s is a member of the quorum already", addr)
		case string(m.Address) == addr:
			known = true // an addition that was cut short
		case s.members.addrOf(string(m.Address)) == packed:
			return refuse(base.ErrNodeAlreadyExist, "%s is the address of the member %s", addr, m.Address)
		}
	}
	st, err := s.members.askStatus(qa.ctx, addr)
	if err != nil {
		return refuse(base.ErrTryAgain, "no answer from %s: start it with --join and an empty data directory first (%v)", addr, err)
	}
	switch {
	case st.Cluster != s.cfg.Cluster.Name:
		return refuse(base.ErrInvalidParameters, "%s is a meta server of cluster %q, this is %q: correct cluster.name there", addr, st.Cluster, s.cfg.Cluster.Name)
	case st.Server != addr:
		return refuse(base.ErrInvalidParameters, "the server at %s calls itself %s: add it by that name, or correct meta.listen there", addr, st.Server)
	case st.Quorum != "" && st.Quorum != s.members.quorumID():
		return refuse(base.ErrInvalidParameters, "%s holds the state of another quorum: stop it, empty its data directory, start it with --join", addr)
	case version.Version(st.Version.V).OrFirst() < s.fsm.version():
		return refuse(base.ErrInvalidParameters, "%s understands cluster versions up to %d, and the cluster has %d: start it with the program that the other meta servers run", addr, version.Version(st.Version.V).OrFirst(), s.fsm.version())
	case st.Role != roleJoining && !known:
		return refuse(base.ErrInvalidState, "%s is a %s of the quorum of %s: stop it, empty its data directory, start it with --join", addr, st.Role, nameList(st.Members))
	}
	alive := s.members.reachable(qa.ctx, servers)
	if n := len(voters(servers)) + 1; len(alive)+1 < n/2+1 {
		return refuse(base.ErrInvalidState, "only %d of the %d members of the quorum would live with it: start the others, or remove the dead ones first", len(alive)+1, n)
	}
	if !known {
		f := q.raft.AddNonvoter(raft.ServerID(addr), raft.ServerAddress(addr), at, memberWait)
		if err := f.Error(); err != nil {
			return raftRefusal("add "+addr, err)
		}
		at = f.Index()
	}
	if err := qa.awaitCaughtUp(addr); err != nil {
		if qa.ctx.Err() != nil {
			return err // whoever leads next takes it up where it stands
		}
		if e := q.raft.RemoveServer(raft.ServerID(addr), 0, memberWait).Error(); e != nil {
			qa.log.Warnf("take %s out again: %v", addr, e)
		}
		return err
	}
	if err := q.raft.AddVoter(raft.ServerID(addr), raft.ServerAddress(addr), at, memberWait).Error(); err != nil {
		return raftRefusal("give a vote to "+addr, err)
	}
	return nil
}

// awaitCaughtUp waits until a new meta has applied what this leader has now.
func (qa *quorumAdmin) awaitCaughtUp(addr string) error {
	want := int64(qa.s.quorum.raft.AppliedIndex())
	ctx, cancel := context.WithTimeout(qa.ctx, joinWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := qa.s.members.askStatus(ctx, addr)
		if err == nil && st.Applied >= want && st.Quorum == qa.s.members.quorumID() {
			return nil
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("it has %d of %d entries", st.Applied, want)
			}
			return refuse(base.ErrTimeout, "%s didn't catch up within %v, and was taken out again: %v", addr, joinWait, err)
		case <-tick.C:
		}
	}
}

// removeMeta takes a member, dead or alive, out of the quorum.
func (qa *quorumAdmin) removeMeta(addr string) error {
	q, s := qa.s.quorum, qa.s
	servers, at := q.serversAt()
	i := slices.IndexFunc(servers, func(m raft.Server) bool { return string(m.Address) == addr })
	if i < 0 {
		return refuse(base.ErrObjectNotFound, "%s is no member of the quorum, which is %s", addr, nameList(wireMembers(servers)))
	}
	if servers[i].Suffrage == raft.Voter {
		rest := len(voters(servers)) - 1
		if rest == 0 {
			return refuse(base.ErrInvalidState, "%s is the only member of the quorum: add another one first", addr)
		}
		alive := s.members.reachable(qa.ctx, servers)
		delete(alive, addr)
		if len(alive) < rest/2+1 {
			return refuse(base.ErrInvalidState, "of the %d members that would be left only %d live, and that is no majority: start or replace the dead ones first", rest, len(alive))
		}
		if addr == s.name {
			// Who leads the change must be in the quorum that it leads to.
			if _, err := s.transfer(qa.s.ctx, ""); err != nil {
				return refuse(base.ErrTryAgain, "%s leads, and could not hand over: %v", addr, err)
			}
			return refuse(base.ErrForwardToOthers, "%s led, and handed over: ask again", addr)
		}
	}
	if err := q.raft.RemoveServer(raft.ServerID(addr), at, memberWait).Error(); err != nil {
		return raftRefusal("remove "+addr, err)
	}
	return nil
}

// backupQuorum hands out the whole state.
func (qa *quorumAdmin) backupQuorum(_ *service.Call, _ *metaquorum.QuorumBackupRequest, r *metaquorum.QuorumBackupResponse) {
	if err := qa.s.quorum.raft.VerifyLeader().Error(); err != nil {
		r.Err, r.Hint = raftCode(err), err.Error()
		return
	}
	b := metabackup.Backup{Cluster: qa.s.cfg.Cluster.Name, Second: time.Now().Unix(), Index: qa.s.quorum.raft.AppliedIndex(), Term: qa.s.quorum.raft.CurrentTerm()}
	qa.s.fsm.read(func(st *state.State) {
		b.Quorum = st.Quorum()
		b.State = st.AppendSnapshot(nil)
	})
	r.Err, r.Data = base.ErrOK, b.Append(nil)
	if limit := qa.s.cfg.RPC.MaxFrameBytes - 4096; int64(len(r.Data)) > limit {
		r.Err, r.Hint, r.Data = base.ErrInvalidState, fmt.Sprintf("the backup has %d bytes: raise rpc.max_frame_bytes", len(r.Data)), nil
	}
}

// upgradeVersion raises the version of the cluster. Nothing but a log entry tells the others,
// and who doesn't understand it stops. So every meta is asked first, and every replica server
// that lives must have said that it understands. One that is dead is let in again by its
// beacon only if it does.
func (qa *quorumAdmin) upgradeVersion(c *service.Call, q *metaquorum.VersionUpgradeRequest, r *metaquorum.VersionUpgradeResponse) {
	if !qa.s.changing.TryLock() {
		r.Err, r.Hint = base.ErrBusy, "a change of the quorum is under way: ask again"
		return
	}
	defer qa.s.changing.Unlock()
	was := qa.s.fsm.version()
	to := cmp.Or(version.Version(q.To), version.Newest)
	r.Was, r.Now, r.Err = int32(was), int32(was), base.ErrOK
	r.Members = qa.members()
	switch {
	case version.Understood(to) != nil:
		r.Err, r.Hint = base.ErrInvalidParameters, fmt.Sprintf("there is no cluster version %d that %s understands: it understands %d to %d", to, qa.s.name, version.First, version.Newest)
		return
	case to < was:
		r.Err, r.Hint = base.ErrInvalidParameters, fmt.Sprintf("the cluster has version %d: it is never lowered", was)
		return
	case to == was:
		return
	}
	var cannot []string
	for i := range r.Members {
		m := &r.Members[i]
		if !m.Must || version.Version(m.Version) >= to {
			continue
		}
		what := "replica server"
		if m.Meta {
			what = "meta server"
		}
		why := m.Error
		if why == "" {
			why = fmt.Sprintf("understands versions up to %d", m.Version)
		}
		cannot = append(cannot, fmt.Sprintf("%s %s %s", what, m.Address, why))
	}
	if len(cannot) > 0 {
		r.Err = base.ErrInvalidState
		r.Hint = fmt.Sprintf("these don't understand version %d: %s; start each with a program that does, or take it out of the cluster", to, strings.Join(cannot, "; "))
		return
	}
	if q.DryRun {
		return
	}
	res, err := qa.s.quorum.apply(&state.SetVersion{To: to, ID: rand.Text()})
	if err == nil && res.Err != base.ErrOK {
		err = res.Err
	}
	if err != nil {
		r.Err, r.Hint = base.CodeOf(err), err.Error()
		return
	}
	r.Now = int32(to)
	qa.changed(c, "the cluster has version %d now, it had %d: members go back no more to a program that doesn't understand it", to, was)
}

// members returns every member of the cluster, the metas first, and what it understands.
func (qa *quorumAdmin) members() []metaquorum.VersionMember {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var list []metaquorum.VersionMember
	for _, m := range qa.s.quorum.servers() {
		wg.Go(func() {
			v := metaquorum.VersionMember{Address: string(m.Address), Meta: true, Must: true}
			if v.Address == qa.s.name {
				v.Version = int32(version.Newest)
			} else if st, err := qa.s.members.askStatus(qa.ctx, v.Address); err != nil {
				v.Error = fmt.Sprintf("gives no answer (%v)", err)
			} else {
				v.Version = int32(version.Version(st.Version.V).OrFirst())
			}
			mu.Lock()
			defer mu.Unlock()
			list = append(list, v)
		})
	}
	wg.Wait()
	qa.mu.Lock()
	for _, n := range qa.nodes.det.Nodes() {
		v := metaquorum.VersionMember{Address: n.Addr.String(), Must: n.Alive, Version: int32(qa.nodes.of(n.Addr).speaks)}
		if v.Version == 0 {
			v.Error = "has said nothing yet"
		}
		if !n.Alive {
			v.Error = "is dead; it is let in again only if it understands the cluster's version then"
		}
		list = append(list, v)
	}
	qa.mu.Unlock()
	slices.SortFunc(list, func(a, b metaquorum.VersionMember) int {
		order := func(m *metaquorum.VersionMember) int {
			if m.Meta {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(order(&a), order(&b)), strings.Compare(a.Address, b.Address))
	})
	return list
}

func (qa *quorumAdmin) clusterInfo(_ *service.Call, _ *metaadmin.ConfigurationClusterInfoRequest, r *metaadmin.ConfigurationClusterInfoResponse) {
	r.Err = base.ErrOK
	primaries, replicas := qa.nodes.balance()
	for _, kv := range [][2]string{
		{"meta_servers", strings.Join(qa.s.members.memberNames(), ",")},
		{"primary_meta_server", qa.s.name},
		{"zookeeper_hosts", ""}, // there is none; tools look for the keys
		{"zookeeper_root", ""},
		{"meta_function_level", strings.TrimPrefix(metaadmin.MetaFunctionLevel(qa.level()).String(), "fl_")},
		{"balance_operation_count", indented(qa.bal.operations())},
		{"primary_replica_count_stddev", fmt.Sprintf("%.2f", primaries)},
		{"total_replica_count_stddev", fmt.Sprintf("%.2f", replicas)},
		{"cluster_name", qa.s.cfg.Cluster.Name},
	} {
		r.Keys = append(r.Keys, kv[0])
		r.Values = append(r.Values, kv[1])
	}
}

func (qa *quorumAdmin) controlMeta(c *service.Call, q *metaadmin.ConfigurationMetaControlRequest, r *metaadmin.ConfigurationMetaControlResponse) {
	r.Err, r.OldLevel = base.ErrOK, metaadmin.MetaFunctionLevel(qa.level())
	if q.Level == metaadmin.FlInvalid {
		return // just asking
	}
	if r.Err = qa.apply(&state.SetLevel{Level: state.Level(q.Level)}).Err; r.Err != base.ErrOK {
		return
	}
	qa.changed(c, "function level %v, was %v", q.Level, r.OldLevel)
	qa.mu.Lock()
	qa.bal.guest.levelSet(qa.now(), state.Level(r.OldLevel), state.Level(q.Level), qa.s.overrides.onlyPrimaries())
	if q.Level <= metaadmin.FlSteady {
		qa.parts.plan.ClearSteps("the function level was set to " + q.Level.String())
	}
	qa.mu.Unlock()
	qa.kick()
}

func (qa *quorumAdmin) clusterPage(*service.Call, *httpapi.Request) httpapi.Response {
	var info metaadmin.ConfigurationClusterInfoResponse
	qa.clusterInfo(nil, nil, &info)
	var o httpapi.Object
	for i, k := range info.Keys {
		if k != "cluster_name" { // this page doesn't have it
			o.Add(k, info.Values[i])
		}
	}
	return httpapi.JSON(o)
}
