package meta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaquorum"
	"pegasus/meta/archive"
	"pegasus/meta/raftrpc"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// How long a change of the quorum waits for things.
const (
	statusWait  = 2 * time.Second // for a meta's word about itself
	statusPause = 100 * time.Millisecond
	joinWait    = time.Minute // for a new meta to hold what the leader has
	memberWait  = 10 * time.Second
	outsideTick = time.Second
)

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
		Err: base.ErrOK, Cluster: s.cfg.Cluster.Name, Quorum: s.quorumID(), Server: s.name, Leader: s.quorum.leaderName(), Members: wireMembers(servers),
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
	s.fsm.read(func(st *state.State) { r.Tables, r.Restored = int32(countTables(st)), st.Restored() })
	return r
}

func wireMembers(servers []raft.Server) (list []metaquorum.QuorumMember) {
	for _, m := range servers {
		list = append(list, metaquorum.QuorumMember{Address: string(m.Address), Voter: m.Suffrage == raft.Voter})
	}
	return list
}

// askStatus asks another meta for its word about itself. One that was just started may be
// believed to be away for a moment yet, so a failure is tried again.
func (s *Server) askStatus(ctx context.Context, addr string) (*metaquorum.QuorumStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	for {
		var r metaquorum.QuorumStatusResponse
		err := s.pool.Call(ctx, addr, rpc.Outgoing{Code: "RPC_CM_QUORUM_STATUS", Arg: &metaquorum.QuorumStatusRequest{}, From: s.self}, &r)
		if err == nil && r.Err != base.ErrOK {
			err = r.Err
		}
		if err == nil {
			return &r, nil
		}
		pause := time.NewTimer(statusPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, fmt.Errorf("ask meta server %s: %w", addr, err)
		}
	}
}

// living returns the voters that answer and belong to this quorum, this server included.
func (s *Server) living(ctx context.Context, servers []raft.Server) map[string]bool {
	var mu sync.Mutex
	var wg sync.WaitGroup
	alive := map[string]bool{s.name: true}
	for _, m := range servers {
		if addr := string(m.Address); m.Suffrage == raft.Voter && addr != s.name {
			wg.Go(func() {
				if st, err := s.askStatus(ctx, addr); err == nil && (st.Quorum == s.quorumID() || st.Quorum == "") {
					mu.Lock()
					alive[addr] = true
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return alive
}

// changeQuorum adds a meta to the quorum or removes one.
func (c *call) changeQuorum(q *metaquorum.QuorumChangeRequest, r *metaquorum.QuorumChangeResponse) {
	if !c.s.changing.TryLock() {
		r.Err, r.Hint = base.ErrBusy, "another change of the quorum is under way"
		return
	}
	defer c.s.changing.Unlock()
	err := config.CheckAddr(q.Address)
	if err != nil {
		err = refuse(base.ErrInvalidParameters, "%v", err)
	} else if q.Remove {
		err = c.removeMeta(q.Address)
	} else {
		err = c.addMeta(q.Address)
	}
	if r := (*refusal)(nil); err != nil && c.ctx.Err() != nil && !errors.Is(err, base.ErrForwardToOthers) && !(errors.As(err, &r) && r.open) {
		err = refuse(base.ErrServiceNotActive, "%s stopped leading meanwhile, and nothing else is wrong: ask again (%v)", c.s.name, err)
	}
	r.Err, r.Members = base.ErrOK, wireMembers(c.s.quorum.servers())
	if err != nil {
		r.Err, r.Hint = base.CodeOf(err), err.Error()
		c.log.Warnf("change of the quorum (%s, remove: %v): %v", q.Address, q.Remove, err)
	}
}

// refusal is a code, and words that go without it.
type refusal struct {
	code base.ErrorCode
	why  string
	open bool // raft was asked: what it was asked for may yet be done
}

func (r *refusal) Error() string { return r.why }
func (r *refusal) Unwrap() error { return r.code }

func refuse(code base.ErrorCode, format string, args ...any) error {
	return &refusal{code: code, why: fmt.Sprintf(format, args...)}
}

// raftRefusal gives the error of a change that raft didn't make.
func raftRefusal(what string, err error) error {
	return &refusal{raftCode(err), fmt.Sprintf("%s: %v; `pegasus meta status` shows what became of it", what, err), true}
}

// addMeta makes addr, a server that was started to join, a voter. It gets the log first:
// a voter that holds nothing would stand in the way of a majority.
func (c *call) addMeta(addr string) error {
	q, s := c.s.quorum, c.s
	servers, version := q.serversAt()
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
		case s.addrOf(string(m.Address)) == packed:
			return refuse(base.ErrNodeAlreadyExist, "%s is the address of the member %s", addr, m.Address)
		}
	}
	st, err := s.askStatus(c.ctx, addr)
	if err != nil {
		return refuse(base.ErrTryAgain, "no answer from %s: start it with --join and an empty data directory first (%v)", addr, err)
	}
	switch {
	case st.Cluster != s.cfg.Cluster.Name:
		return refuse(base.ErrInvalidParameters, "%s is a meta server of cluster %q, this is %q: correct cluster.name there", addr, st.Cluster, s.cfg.Cluster.Name)
	case st.Server != addr:
		return refuse(base.ErrInvalidParameters, "the server at %s calls itself %s: add it by that name, or correct meta.listen there", addr, st.Server)
	case st.Quorum != "" && st.Quorum != s.quorumID():
		return refuse(base.ErrInvalidParameters, "%s holds the state of another quorum: stop it, empty its data directory, start it with --join", addr)
	case st.Role != roleJoining && !known:
		return refuse(base.ErrInvalidState, "%s is a %s of the quorum of %s: stop it, empty its data directory, start it with --join", addr, st.Role, nameList(st.Members))
	}
	alive := s.living(c.ctx, servers)
	if n := len(voters(servers)) + 1; len(alive)+1 < n/2+1 {
		return refuse(base.ErrInvalidState, "only %d of the %d members of the quorum would live with it: start the others, or remove the dead ones first", len(alive)+1, n)
	}
	if !known {
		f := q.raft.AddNonvoter(raft.ServerID(addr), raft.ServerAddress(addr), version, memberWait)
		if err := f.Error(); err != nil {
			return raftRefusal("add "+addr, err)
		}
		version = f.Index()
	}
	if err := c.awaitCaughtUp(addr); err != nil {
		if c.ctx.Err() != nil {
			return err // whoever leads next takes it up where it stands
		}
		if e := q.raft.RemoveServer(raft.ServerID(addr), 0, memberWait).Error(); e != nil {
			c.log.Warnf("take %s out again: %v", addr, e)
		}
		return err
	}
	if err := q.raft.AddVoter(raft.ServerID(addr), raft.ServerAddress(addr), version, memberWait).Error(); err != nil {
		return raftRefusal("give a vote to "+addr, err)
	}
	c.log.Warnf("meta server %s joined the quorum", addr)
	return nil
}

// awaitCaughtUp waits until a new meta has applied what this leader has now.
func (c *call) awaitCaughtUp(addr string) error {
	want := int64(c.s.quorum.raft.AppliedIndex())
	ctx, cancel := context.WithTimeout(c.ctx, joinWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := c.s.askStatus(ctx, addr)
		if err == nil && st.Applied >= want && st.Quorum == c.s.quorumID() {
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
func (c *call) removeMeta(addr string) error {
	q, s := c.s.quorum, c.s
	servers, version := q.serversAt()
	i := slices.IndexFunc(servers, func(m raft.Server) bool { return string(m.Address) == addr })
	if i < 0 {
		return refuse(base.ErrObjectNotFound, "%s is no member of the quorum, which is %s", addr, nameList(wireMembers(servers)))
	}
	if servers[i].Suffrage == raft.Voter {
		rest := len(voters(servers)) - 1
		if rest == 0 {
			return refuse(base.ErrInvalidState, "%s is the only member of the quorum: add another one first", addr)
		}
		alive := s.living(c.ctx, servers)
		delete(alive, addr)
		if len(alive) < rest/2+1 {
			return refuse(base.ErrInvalidState, "of the %d members that would be left only %d live, and that is no majority: start or replace the dead ones first", rest, len(alive))
		}
		if addr == s.name {
			// Who leads the change must be in the quorum that it leads to.
			if err := q.raft.LeadershipTransfer().Error(); err != nil {
				return refuse(base.ErrTryAgain, "%s leads, and could not hand over: %v", addr, err)
			}
			return refuse(base.ErrForwardToOthers, "%s led, and handed over: ask again", addr)
		}
	}
	if err := q.raft.RemoveServer(raft.ServerID(addr), version, memberWait).Error(); err != nil {
		return raftRefusal("remove "+addr, err)
	}
	c.log.Warnf("meta server %s left the quorum", addr)
	return nil
}

// backupQuorum hands out the whole state.
func (c *call) backupQuorum(_ *metaquorum.QuorumBackupRequest, r *metaquorum.QuorumBackupResponse) {
	if err := c.s.quorum.raft.VerifyLeader().Error(); err != nil {
		r.Err, r.Hint = raftCode(err), err.Error()
		return
	}
	b := archive.Backup{Cluster: c.s.cfg.Cluster.Name, Second: time.Now().Unix(), Index: c.s.quorum.raft.AppliedIndex(), Term: c.s.quorum.raft.CurrentTerm()}
	c.s.fsm.read(func(st *state.State) {
		b.Quorum = st.Quorum()
		b.State = st.AppendSnapshot(nil)
	})
	r.Err, r.Data = base.ErrOK, b.Append(nil)
	if limit := c.s.cfg.RPC.MaxFrameBytes - 4096; int64(len(r.Data)) > limit {
		r.Err, r.Hint, r.Data = base.ErrInvalidState, fmt.Sprintf("the backup has %d bytes: raise rpc.max_frame_bytes", len(r.Data)), nil
	}
}

func nameList(members []metaquorum.QuorumMember) string {
	var list []string
	for _, m := range members {
		list = append(list, m.Address)
	}
	return "[" + strings.Join(list, " ") + "]"
}

func voters(servers []raft.Server) (list []string) {
	for _, m := range servers {
		if m.Suffrage == raft.Voter {
			list = append(list, string(m.Address))
		}
	}
	return list
}

// admit says why a message of raft's isn't for this server.
func (s *Server) admit(m raftrpc.Message) error {
	mine := s.quorumID()
	switch {
	case string(m.From) == s.name:
		return fmt.Errorf("two meta servers are called %s: give each an address of its own (meta.listen), or stop one", s.name)
	case mine != "" && m.Quorum != "" && mine != m.Quorum:
		return fmt.Errorf("it belongs to the quorum %s of cluster %q, this server %s to %s: one of the two has the data of another cluster, or of before the quorum was made anew; stop it, empty its data directory, start it with --join and run `pegasus meta add`",
			m.Quorum, s.cfg.Cluster.Name, s.name, mine)
	case mine != "" && m.Quorum == mine:
		return nil // raft knows who has a vote
	case m.Vote && m.Quorum != "" && s.quorum.fresh():
		// Its disk may be one that was lost, with votes and entries on it that counted.
		return errors.New("this server has nothing of what the quorum decided yet, and votes once it has caught up")
	case s.cfg.Meta.Join && s.quorum.fresh() && !m.Vote:
		return nil // who adds it may be a stranger yet
	}
	if from := string(m.From); slices.Contains(s.metas, from) || slices.ContainsFunc(s.quorum.servers(), func(x raft.Server) bool { return string(x.Address) == from }) {
		return nil
	}
	return fmt.Errorf("%q is none of the meta servers of cluster %q", m.From, s.cfg.Cluster.Name)
}

// watchOutside ends a server that was started on an empty directory as if the cluster were
// new, though the metas it names form a quorum without it.
func (s *Server) watchOutside() {
	tick := time.NewTicker(outsideTick)
	defer tick.Stop()
	for s.quorum.fresh() && s.quorumID() == "" {
		for _, m := range s.metas {
			if m == s.name {
				continue
			}
			st, err := s.askStatus(s.ctx, m)
			if err != nil || st.Cluster != s.cfg.Cluster.Name || st.Quorum == "" || len(st.Members) == 0 {
				continue
			}
			if !slices.ContainsFunc(st.Members, func(x metaquorum.QuorumMember) bool { return x.Address == s.name }) {
				s.fail(fmt.Errorf("the meta servers %s are the quorum of cluster %q, and %s is none of them: start it with --join, then run `pegasus meta add %s`",
					nameList(st.Members), s.cfg.Cluster.Name, s.name, s.name))
				return
			}
		}
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// quorumID is the identity of the quorum that this server's data belongs to, "" if it has
// none yet.
func (s *Server) quorumID() string {
	if id := s.identity.Load(); id != nil {
		return *id
	}
	return ""
}

// learnIdentity is told of the identity that the state has. It is kept beside the log,
// because the state is only there once the log has been applied.
func (s *Server) learnIdentity(id string) {
	if id == "" || id == s.quorumID() {
		return
	}
	if was := s.quorumID(); was != "" {
		s.fail(fmt.Errorf("meta.data_dir %q belongs to the quorum %s, and what was received to %s: empty it and start this server with --join", s.cfg.Meta.DataDir, was, id))
		return
	}
	if err := writeOwner(s.cfg.Meta.DataDir, owner{s.cfg.Cluster.Name, s.name, id}); err != nil {
		s.fail(err)
		return
	}
	s.identity.Store(&id)
}

// addrOf returns the packed address of a meta, 0 if its name can't be resolved.
func (s *Server) addrOf(name string) base.RPCAddress {
	if a, ok := s.addrs.Load(name); ok {
		return a.(base.RPCAddress)
	}
	a, err := base.ParseAddr(name)
	if err != nil {
		return 0
	}
	s.addrs.Store(name, a)
	return a
}

// memberNames lists the metas, those of the configuration file first and in its order.
func (s *Server) memberNames() []string {
	have := voters(s.quorum.servers())
	var list []string
	for _, m := range s.metas {
		if slices.Contains(have, m) {
			list = append(list, m)
		}
	}
	for _, m := range have {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}
