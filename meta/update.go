package meta

import (
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	"pegasus/rpc"
)

// onUpdate takes a change that a replica server asks for.
func (s *Server) onUpdate(req *rpc.Request) {
	l := s.leader.Load()
	if l == nil {
		s.redirect(req, func(code base.ErrorCode) tbin.Encoder {
			return &metaadmin.ConfigurationUpdateResponse{Err: code}
		}, 0, nil) // a server turns to another meta by itself
		return
	}
	q := new(metaadmin.ConfigurationUpdateRequest)
	if err := req.DecodeArg(q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	g := q.Config.Pid
	if _, id := s.fsm.cluster(); foreign(id, q.ClusterId.V) != "" {
		l.nodes.refuse(req.FromAddress, foreign(id, q.ClusterId.V), false)
		req.Reply(&metaadmin.ConfigurationUpdateResponse{Err: base.ErrClusterNotFound, Config: layer2.PartitionConfiguration{Pid: g}})
		return
	}
	reply := func(code base.ErrorCode, p layer2.PartitionConfiguration) {
		req.Reply(&metaadmin.ConfigurationUpdateResponse{Err: code, Config: p})
	}
	var cur layer2.PartitionConfiguration
	var change *pendingChange
	var code base.ErrorCode
	var table state.Table
	l.mu.Lock()
	s.fsm.read(func(st *state.State) {
		t, cfg, ok := st.Config(g)
		if !ok {
			code, cur = base.ErrObjectNotFound, layer2.PartitionConfiguration{Pid: g}
			return
		}
		table = *t
		cur = wire.Partition(t, g, &cfg)
		if st.Level() < state.LevelSteady {
			code = base.ErrStateFreezed
			return
		}
		change, code = l.parts.decide(st, t, g, &cfg, q, req.FromAddress)
	})
	l.mu.Unlock()
	if change == nil {
		reply(code, cur)
		return
	}
	change.done = func(res state.ChangeResult, err error) {
		switch {
		case err != nil:
			reply(base.CodeOf(err), cur)
		case res.Err == base.ErrObjectNotFound:
			reply(res.Err, layer2.PartitionConfiguration{Pid: g})
		default:
			reply(res.Err, wire.Partition(&table, g, &res.Config))
		}
	}
	l.parts.changes.put(change)
}

// decide turns a request into a change, or into the code of a refusal; ERR_OK is for one
// that was carried out before. The caller holds mu, and the State.
func (ps *partitions) decide(st *state.State, t *state.Table, g base.Gpid, cur *state.Config, q *metaadmin.ConfigurationUpdateRequest, from base.RPCAddress) (*pendingChange, base.ErrorCode) {
	want := state.Config{Ballot: q.Config.Ballot, Primary: wire.Resolve(q.Config.Primary, q.Config.HpPrimary), Secondaries: q.Config.Secondaries}
	if cur.SameGroup(&want) && cur.Members() > 0 {
		return nil, base.ErrOK
	}
	if q.Config.Ballot != cur.Ballot+1 {
		return nil, base.ErrInvalidVersion
	}
	node := wire.Resolve(q.Node, q.HpNode)
	fromPrimary := want.Primary == cur.Primary
	p := &pendingChange{old: *cur, why: fmt.Sprintf("%v asks for %s of %v", from, typeName(q.Type), node)}
	next := *cur
	next.Ballot++
	next.LastCommitted = max(cur.LastCommitted, q.Config.LastCommittedDecree)
	switch q.Type {
	case metaadmin.CT_ASSIGN_PRIMARY:
		if cur.Members() > 0 || !wire.IsServer(node) || want.Primary != node {
			return nil, base.ErrInvalidState
		}
		if st.NeedsSeed(t, cur) && next.LastCommitted <= 0 {
			ps.log.Warnf("partition %v is being restored, and %v has nothing of it: it isn't made the primary", g, node)
			return nil, base.ErrInvalidState
		}
		next.Primary = node
	case metaadmin.CT_UPGRADE_TO_SECONDARY:
		// A member more than wanted is right while one is being replaced.
		if !fromPrimary || !wire.IsServer(node) || cur.Has(node) || cur.Members() > int(t.MaxReplicas) || ps.nodes.knownDead(node) {
			return nil, base.ErrInvalidState
		}
		p.change.Adds = node
		next.Secondaries = append(slices.Clone(cur.Secondaries), node)
	case metaadmin.CT_DOWNGRADE_TO_INACTIVE, metaadmin.CT_REMOVE:
		switch {
		case node == 0 || !cur.Has(node):
			return nil, base.ErrInvalidState
		case node == cur.Primary: // it lost its data, and says so itself
			to := ps.successor(st, g, cur)
			if to == 0 {
				// The last member is kept, whatever it has, until another replica is known that has
				// as much, or an administrator says to go on with what there is.
				if node != from {
					return nil, base.ErrInvalidState
				}
				if ps.copies.accepted[g] == (memberAt{node, cur.Ballot}) {
					return nil, base.ErrOK
				}
				ps.giveUp(g, cur)
				return nil, base.ErrInvalidState
			}
			next = withBallot(cur.WithPrimary(to), next.Ballot)
			p.push = true
		case node != from && ps.mayLead(g, node):
			return nil, base.ErrBusy // asked again soon, see deposed
		}
		next = next.Without(func(a base.RPCAddress) bool { return a == node })
		if node == from {
			p.lost = node
		}
	case metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT:
		if !fromPrimary || cur.Primary == 0 {
			return nil, base.ErrInvalidState
		}
	default:
		return nil, base.ErrInvalidParameters
	}
	p.change.Gpid, p.change.Config = g, next
	if err := state.CheckChange(cur, &p.change); err != nil {
		ps.log.Warnf("refused: %v", err)
		return nil, base.CodeOf(err)
	}
	return p, ""
}

func withBallot(c state.Config, ballot int64) state.Config {
	c.Ballot = ballot
	return c
}
