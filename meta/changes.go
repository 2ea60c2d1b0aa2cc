package meta

import (
	"slices"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	"pegasus/rpc"
)

// maxBatch is how many configuration changes one raft entry carries.
const maxBatch = 512

// pendingChange is a configuration change that waits to be committed.
type pendingChange struct {
	first  *state.Change // goes before change, in the same entry
	change state.Change
	old    state.Config    // what it was decided on
	lost   base.RPCAddress // a member that leaves because it has no data
	why    string
	loss   bool // what other replicas have more is given up
	push   bool // tell the members, who didn't ask for it
	done   func(state.ChangeResult, error)
}

// changeQueue gathers configuration changes while the ones before are being committed, so
// that one entry carries many.
type changeQueue struct {
	mu     mutex
	cond   sync.Cond
	list   []*pendingChange
	closed bool
}

func (q *changeQueue) init() { q.mu.rank, q.cond.L = rankLeaf, &q.mu }

// put queues c; its done is called exactly once, on another goroutine.
func (q *changeQueue) put(c *pendingChange) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		go c.done(state.ChangeResult{}, base.ErrForwardToOthers)
		return
	}
	q.list = append(q.list, c)
	q.cond.Signal()
}

func (q *changeQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.cond.Broadcast()
}

// waiting is how many changes are queued.
func (q *changeQueue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}

// take waits for changes; nil means that the queue is closed and empty.
func (q *changeQueue) take() []*pendingChange {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.cond.Wait()
	}
	n := min(len(q.list), maxBatch)
	if n == 0 {
		return nil
	}
	batch := q.list[:n:n]
	q.list = q.list[n:]
	return batch
}

// commitAll commits what is queued until the queue is closed.
func (ps *partitions) commitAll() {
	for batch := ps.changes.take(); batch != nil; batch = ps.changes.take() {
		ps.commit(batch)
	}
}

// commit makes one raft entry of the changes and tells everybody concerned.
func (ps *partitions) commit(batch []*pendingChange) {
	cmd := &state.ChangeConfigs{Changes: make([]state.Change, 0, len(batch))}
	at := make([]int, len(batch))
	for i, c := range batch {
		if c.first != nil {
			cmd.Changes = append(cmd.Changes, *c.first)
		}
		at[i] = len(cmd.Changes)
		cmd.Changes = append(cmd.Changes, c.change)
	}
	res, err := ps.s.quorum.apply(cmd)
	if err != nil {
		for _, c := range batch {
			c.done(state.ChangeResult{}, err)
		}
		return
	}
	for i, c := range batch {
		r := &res.Changes[at[i]]
		c.done(*r, nil)
		if r.Err != base.ErrOK {
			continue
		}
		g := c.change.Gpid
		ps.changed(g, &c.old, &r.Config, c.lost, c.loss, c.why)
		if c.push {
			ps.push(g, &r.Config)
		}
	}
}

// push is pushChange of a partition whose table may be gone.
func (ps *partitions) push(g base.Gpid, cfg *state.Config) {
	var t *state.Table
	ps.s.fsm.read(func(st *state.State) {
		if cur := st.Table(g.AppID); cur != nil {
			cp := *cur
			t = &cp
		}
	})
	if t != nil {
		ps.pushChange(t, g, cfg)
	}
}

// changed is told of every configuration that was changed. lost says that the member that
// left has no data.
func (ps *partitions) changed(g base.Gpid, old, now *state.Config, lost base.RPCAddress, loss bool, why string) {
	ps.mu.Lock()
	ps.configs++
	ps.copies.changed(g, now, loss)
	ps.recordEvent(g, difference(old, now), why)
	ps.toCheck[g] = struct{}{}
	if old.Primary != 0 && old.Primary != now.Primary {
		ps.deposed[deposed{g, old.Primary}] = now.Ballot
	}
	for _, a := range old.AppendMembers(nil) {
		// Who left still holds its replica; it will say so itself, but later.
		if !now.Has(a) && a != lost && ps.nodes.det.Alive(a) {
			ps.nodes.at(a).left(g, old)
		}
	}
	if lost != 0 && !loss {
		if c, told := ps.nodes.of(lost).stored[g]; told && !c.Damaged {
			delete(ps.nodes.of(lost).stored, g)
		}
	}
	waiting := ps.waiters[g.AppID]
	ps.mu.Unlock()
	for _, ch := range waiting {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	ps.kick()
}

// pushChange tells the members of a partition what the meta decided: the primary that it
// is one, the others their configuration.
func (ps *partitions) pushChange(t *state.Table, g base.Gpid, cfg *state.Config) {
	msgs := []proposal{ps.proposal(t, g, cfg, metaadmin.CT_UPGRADE_TO_PRIMARY, cfg.Primary, cfg.Primary)}
	for _, a := range cfg.Secondaries {
		msgs = append(msgs, ps.proposal(t, g, cfg, metaadmin.CT_INVALID, a, a))
	}
	ps.s.send(slices.DeleteFunc(msgs, func(p proposal) bool { return ps.nodes.isDead(p.to) }))
}

const proposalTimeout = 2 * time.Second

// proposal is a one-way message to a replica server.
type proposal struct {
	to  base.RPCAddress
	msg *metaadmin.ConfigurationUpdateRequest
}

// proposal makes one about a partition as it is configured now.
func (tm *term) proposal(t *state.Table, g base.Gpid, cfg *state.Config, typ metaadmin.ConfigType, to, node base.RPCAddress) proposal {
	return proposal{to, &metaadmin.ConfigurationUpdateRequest{Info: wire.InfoFor(t, g), Config: wire.Partition(t, g, cfg), Type: typ, Node: node}}
}

// send sends proposals, and doesn't care whether they arrive: what has no effect is sent
// again.
func (s *Server) send(list []proposal) {
	_, id := s.fsm.cluster()
	for _, p := range list {
		s.log.Debugf("proposes %v of %v to %v, ballot %d", p.msg.Type, p.msg.Config.Pid, p.to, p.msg.Config.Ballot)
		p.msg.ClusterId = base.NonZero(id)
		s.pool.Go(p.to.String(), proposalTimeout, rpc.Outgoing{
			Code: base.RPCConfigProposal, Gpid: p.msg.Config.Pid, Arg: p.msg, OneWay: true, From: s.self(),
		}, nil)
	}
}
