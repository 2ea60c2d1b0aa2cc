package meta

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/gen/metaquorum"
	"pegasus/meta/raftrpc"
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

// membership is what this server knows of the quorum's members, and of its own place among them.
type membership struct {
	s        *Server
	addrs    sync.Map               // packed addresses of metas, by name
	identity atomic.Pointer[string] // see quorumID
}

// quorumID is the identity of the quorum that this server's data belongs to, "" if it has
// none yet.
func (ms *membership) quorumID() string {
	if id := ms.identity.Load(); id != nil {
		return *id
	}
	return ""
}

// learnIdentity is told of the identity that the state has. It is kept beside the log,
// because the state is only there once the log has been applied.
func (ms *membership) learnIdentity(id string) {
	if id == "" || id == ms.quorumID() {
		return
	}
	if was := ms.quorumID(); was != "" {
		ms.s.fail(fmt.Errorf("meta.data_dir %q belongs to the quorum %s, and what was received to %s: empty it and start this server with --join", ms.s.cfg.Meta.DataDir, was, id))
		return
	}
	if err := writeOwner(ms.s.cfg.Meta.DataDir, owner{ms.s.cfg.Cluster.Name, ms.s.name, id}); err != nil {
		ms.s.fail(err)
		return
	}
	ms.identity.Store(&id)
}

// addrOf returns the packed address of a meta, 0 if its name wasn't resolved yet.
func (ms *membership) addrOf(name string) base.RPCAddress {
	if ap, err := netip.ParseAddrPort(name); err == nil {
		return base.MakeRPCAddress(ap)
	}
	if a, ok := ms.addrs.Load(name); ok {
		return a.(base.RPCAddress)
	}
	return 0
}

// watchNames looks up where the names of metas lead, this one's too, and looks again. A name that can't be
// looked up leads where it did.
func (ms *membership) watchNames() {
	for ms.lookUp(); pause.For(ms.s.ctx, base.LookUpEvery); ms.lookUp() {
	}
}

func (ms *membership) lookUp() {
	names := append(slices.Clone(ms.s.metas), ms.s.name)
	for _, m := range ms.s.quorum.servers() {
		names = append(names, string(m.Address))
	}
	slices.Sort(names)
	var wg sync.WaitGroup
	for _, name := range slices.Compact(names) {
		if _, err := netip.ParseAddrPort(name); err == nil {
			continue
		}
		wg.Go(func() {
			was := ms.addrOf(name)
			is, err := base.LookUp(ms.s.ctx, name, was)
			if err != nil || is == was {
				return
			}
			ms.addrs.Store(name, is)
			if was != 0 {
				ms.s.log.Infof("meta server %s is at %v now", name, is)
			}
			if name == ms.s.name {
				ms.s.addr.Store(uint64(is))
				ms.s.rpc.Advertise(is)
			}
		})
	}
	wg.Wait()
}

// isMeta tells whether a is one of the meta servers.
func (ms *membership) isMeta(a base.RPCAddress) bool {
	return a != 0 && slices.ContainsFunc(ms.s.quorum.servers(), func(m raft.Server) bool { return ms.addrOf(string(m.Address)) == a })
}

// memberNames lists the metas, those of the configuration file first and in its order.
func (ms *membership) memberNames() []string {
	have := voters(ms.s.quorum.servers())
	var list []string
	for _, m := range ms.s.metas {
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

// askStatus asks another meta for its word about itself. One that was just started may be
// believed to be away for a moment yet, so a failure is tried again.
func (ms *membership) askStatus(ctx context.Context, addr string) (*metaquorum.QuorumStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	for {
		var r metaquorum.QuorumStatusResponse
		err := ms.s.pool.Call(ctx, addr, rpc.Outgoing{Code: base.RPCQuorumStatus, Arg: &metaquorum.QuorumStatusRequest{}, From: ms.s.self()}, &r)
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

// reachable returns the voters that answer and belong to this quorum, this server included.
func (ms *membership) reachable(ctx context.Context, servers []raft.Server) map[string]bool {
	var mu sync.Mutex
	var wg sync.WaitGroup
	alive := map[string]bool{ms.s.name: true}
	for _, m := range servers {
		if addr := string(m.Address); m.Suffrage == raft.Voter && addr != ms.s.name {
			wg.Go(func() {
				if st, err := ms.askStatus(ctx, addr); err == nil && (st.Quorum == ms.quorumID() || st.Quorum == "") {
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

// admit says why a message of raft's isn't for this server.
func (ms *membership) admit(m raftrpc.Message) error {
	mine := ms.quorumID()
	switch {
	case string(m.From) == ms.s.name:
		return fmt.Errorf("two meta servers are called %s: give each an address of its own (meta.listen), or stop one", ms.s.name)
	case mine != "" && m.Quorum != "" && mine != m.Quorum:
		return fmt.Errorf("it belongs to the quorum %s of cluster %q, this server %s to %s: one of the two has the data of another cluster, or of before the quorum was made anew; stop it, empty its data directory, start it with --join and run `pegasus meta add`",
			m.Quorum, ms.s.cfg.Cluster.Name, ms.s.name, mine)
	case m.Vote && m.Quorum != "" && ms.s.quorum.fresh():
		// Its disk, or its log alone, may have been lost, with votes and entries that counted.
		return errors.New("this server has nothing of what the quorum decided yet, and votes once it has caught up")
	case mine != "" && m.Quorum == mine:
		return nil // raft knows who has a vote
	case ms.s.cfg.Meta.Join && ms.s.quorum.fresh() && !m.Vote:
		return nil // who adds it may be a stranger yet
	}
	if from := string(m.From); slices.Contains(ms.s.metas, from) || slices.ContainsFunc(ms.s.quorum.servers(), func(x raft.Server) bool { return string(x.Address) == from }) {
		return nil
	}
	return fmt.Errorf("%q is none of the meta servers of cluster %q", m.From, ms.s.cfg.Cluster.Name)
}

// watchOutside ends a server that was started on an empty directory as if the cluster were
// new, though the metas it names form a quorum without it.
func (ms *membership) watchOutside() {
	tick := time.NewTicker(outsideTick)
	defer tick.Stop()
	for ms.s.quorum.fresh() && ms.quorumID() == "" {
		for _, m := range ms.s.metas {
			if m == ms.s.name {
				continue
			}
			st, err := ms.askStatus(ms.s.ctx, m)
			if err != nil || st.Cluster != ms.s.cfg.Cluster.Name || st.Quorum == "" || len(st.Members) == 0 {
				continue
			}
			if !slices.ContainsFunc(st.Members, func(x metaquorum.QuorumMember) bool { return x.Address == ms.s.name }) {
				ms.s.fail(fmt.Errorf("the meta servers %s are the quorum of cluster %q, and %s is none of them: start it with --join, then run `pegasus meta add %s`",
					nameList(st.Members), ms.s.cfg.Cluster.Name, ms.s.name, ms.s.name))
				return
			}
		}
		select {
		case <-ms.s.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func nameList(members []metaquorum.QuorumMember) string {
	var list []string
	for _, m := range members {
		list = append(list, m.Address)
	}
	return "[" + strings.Join(list, " ") + "]"
}
