package meta

import (
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/cure"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// gcMargin is how long after its time a dropped table's data is kept, because the clocks of
// two leaders differ.
const gcMargin = time.Minute

// configSync takes what a node stores and answers with what it should serve.
func (c *call) configSync(q *metaadmin.ConfigurationQueryByNodeRequest, r *metaadmin.ConfigurationQueryByNodeResponse) {
	node := resolve(q.Node, q.HpNode)
	if !isServer(node) {
		r.Err = base.ErrInvalidParameters
		return
	}
	if !c.s.allowed(node, q.HpNode.V) {
		r.Err = base.ErrACLDeny
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// A dead node has to be acknowledged first; and a leader that may be deposed could be
	// wrong about what is of no use. What a backup says of roles may be long past.
	if _, known := c.det.Node(node); known && !c.det.Alive(node) || !c.confirmed() || c.restored() {
		r.Err = base.ErrBusy
		return
	}
	r.Err = base.ErrOK
	c.takeReport(node, q)
	first := !c.reported[node]
	c.reported[node] = true
	c.holds[node] = len(q.StoredReplicas.V) > 0
	stored, unfit := map[base.Gpid]cure.Replica{}, map[base.Gpid]bool{}
	usable := make(map[base.Gpid]bool, len(q.StoredReplicas.V))
	for _, rep := range q.StoredReplicas.V {
		usable[rep.Pid] = rep.Status != metadata.PS_ERROR
	}
	c.s.fsm.read(func(st *state.State) {
		c.believes(st, node, q.StoredReplicas.V, usable)
		mine := st.PartitionsOf(node)
		r.Partitions = make([]metaadmin.ConfigurationUpdateRequest, 0, len(mine))
		for _, g := range mine {
			t, cfg, _ := st.Config(g)
			if q.StoredReplicas.Set && !usable[g] {
				unfit[g] = true
			}
			r.Partitions = append(r.Partitions, metaadmin.ConfigurationUpdateRequest{
				Info: appInfo(t), Config: partition(t, g, &cfg), Type: metaadmin.CT_INVALID, Node: node,
			})
		}
		for _, rep := range q.StoredReplicas.V {
			if c.useless(st, node, &rep) {
				r.GcReplicas.Set = true
				r.GcReplicas.V = append(r.GcReplicas.V, rep)
				continue
			}
			if _, cfg, ok := st.Config(rep.Pid); ok && !cfg.Has(node) && rep.Status != metadata.PS_ERROR {
				stored[rep.Pid] = cure.Replica{Ballot: rep.Ballot, Committed: rep.LastCommittedDecree}
				if rep.Status == metadata.PS_POTENTIAL_SECONDARY {
					c.plan.Learning(c.now(), rep.Pid, node)
				}
			}
		}
	})
	c.stored[node], c.unfit[node] = stored, unfit
	c.compacts[node] = compactsOf(q.StoredReplicas.V)
	if first || len(unfit) > 0 {
		c.kick()
	}
}

// restored tells whether the state comes from a backup, and is to be compared first.
func (l *leader) restored() (yes bool) {
	l.s.fsm.read(func(st *state.State) { yes = st.Restored() })
	return yes
}

// useless tells whether a node may throw a stored replica away: its table was dropped long
// enough ago, and may be forgotten since, or its partition has all the members it wants, alive, without that node. What
// the meta doesn't know is never useless.
func (l *leader) useless(st *state.State, node base.RPCAddress, rep *metadata.ReplicaInfo) bool {
	t := st.Table(rep.Pid.AppID)
	if st.Level() < state.LevelSteady {
		return false
	}
	if t == nil {
		return st.Purged(rep.Pid.AppID)
	}
	if t.Status == state.Dropped {
		return t.Expired(time.Now().Add(-gcMargin).Unix())
	}
	_, cfg, ok := st.Config(rep.Pid)
	if !ok || cfg.Has(node) || rep.Status == metadata.PS_POTENTIAL_SECONDARY || cfg.Members() < int(t.MaxReplicas) {
		return false
	}
	return !slices.ContainsFunc(cfg.AppendMembers(nil), func(a base.RPCAddress) bool { return !l.det.Alive(a) })
}

// onUpdate takes a change that a replica server asks for.
func (s *Server) onUpdate(req *rpc.Request) {
	l := s.leader.Load()
	if l == nil {
		s.redirect(req, func(code base.ErrorCode) tbin.Encoder {
			return &metaadmin.ConfigurationUpdateResponse{Err: code}
		})
		return
	}
	q := new(metaadmin.ConfigurationUpdateRequest)
	if err := req.DecodeArg(q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	g := q.Config.Pid
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
		cur = partition(t, g, &cfg)
		if st.Level() < state.LevelSteady {
			code = base.ErrStateFreezed
			return
		}
		change, code = l.decide(t, g, &cfg, q, req.FromAddress)
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
			reply(res.Err, partition(&table, g, &res.Config))
		}
	}
	l.changes.put(change)
}

// decide turns a request into a change, or into the code of a refusal; ERR_OK is for one
// that was carried out before. The caller holds mu.
func (l *leader) decide(t *state.Table, g base.Gpid, cur *state.Config, q *metaadmin.ConfigurationUpdateRequest, from base.RPCAddress) (*pendingChange, base.ErrorCode) {
	want := state.Config{Ballot: q.Config.Ballot, Primary: resolve(q.Config.Primary, q.Config.HpPrimary), Secondaries: q.Config.Secondaries}
	if cur.SameGroup(&want) && cur.Members() > 0 {
		return nil, base.ErrOK
	}
	if q.Config.Ballot != cur.Ballot+1 {
		return nil, base.ErrInvalidVersion
	}
	node := resolve(q.Node, q.HpNode)
	fromPrimary := want.Primary == cur.Primary
	p := &pendingChange{old: *cur, why: fmt.Sprintf("%v asks for %s of %v", from, typeName(q.Type), node)}
	next := *cur
	next.Ballot++
	next.LastCommitted = max(cur.LastCommitted, q.Config.LastCommittedDecree)
	switch q.Type {
	case metaadmin.CT_ASSIGN_PRIMARY:
		if cur.Members() > 0 || !isServer(node) || want.Primary != node {
			return nil, base.ErrInvalidState
		}
		next.Primary = node
	case metaadmin.CT_UPGRADE_TO_SECONDARY:
		// A member more than wanted is right while one is being replaced.
		if !fromPrimary || !isServer(node) || cur.Has(node) || cur.Members() > int(t.MaxReplicas) || l.knownDead(node) {
			return nil, base.ErrInvalidState
		}
		p.change.Adds = node
		next.Secondaries = append(slices.Clone(cur.Secondaries), node)
	case metaadmin.CT_DOWNGRADE_TO_INACTIVE, metaadmin.CT_REMOVE:
		switch {
		case node == 0 || !cur.Has(node):
			return nil, base.ErrInvalidState
		case node == cur.Primary: // it lost its data, and says so itself
			to := l.successor(g, cur)
			if to == 0 {
				return nil, base.ErrInvalidState // the last member is kept, whatever it has
			}
			next = withBallot(cur.WithPrimary(to), next.Ballot)
			p.push = true
		case node != from && l.mayLead(g, node):
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
		l.log.Warnf("refused: %v", err)
		return nil, base.CodeOf(err)
	}
	return p, ""
}

func withBallot(c state.Config, ballot int64) state.Config {
	c.Ballot = ballot
	return c
}

func (l *leader) knownDead(a base.RPCAddress) bool {
	_, known := l.det.Node(a)
	return known && !l.det.Alive(a)
}

// successor returns the secondary that takes over from a primary without data: a living
// one with few primaries, or if none lives, any: it has the data, and comes back with it.
// One that said that it has no usable data comes last.
func (l *leader) successor(g base.Gpid, cur *state.Config) (best base.RPCAddress) {
	l.s.fsm.read(func(st *state.State) {
		rank := func(a base.RPCAddress) int {
			n := st.TableLoad(g.AppID, a).Primaries
			if !l.det.Alive(a) {
				n += 1 << 30
			}
			if l.unfit[a][g] {
				n += 1 << 31
			}
			return n
		}
		for _, a := range cur.Secondaries {
			if best == 0 || rank(a) < rank(best) {
				best = a
			}
		}
	})
	return best
}

// maxSteps is how many steps may be proposed for a partition at a time.
const maxSteps = 100

// proposeBalancer takes the steps that an administrator or a tool wants for a partition.
func (c *call) proposeBalancer(q *metaadmin.ConfigurationBalancerRequest, r *metaadmin.ConfigurationBalancerResponse) {
	var cfg state.Config
	var ok, exists bool
	c.s.fsm.read(func(st *state.State) {
		exists = st.Table(q.Gpid.AppID) != nil
		_, cfg, ok = st.Config(q.Gpid)
	})
	switch {
	case !exists:
		r.Err = base.ErrAppNotExist
		return
	case !ok:
		r.Err = base.ErrInvalidParameters
		return
	}
	if len(q.ActionList) > maxSteps {
		c.req.Complain(fmt.Errorf("%d steps are proposed for partition %v, more than %d", len(q.ActionList), q.Gpid, maxSteps))
		r.Err = base.ErrInvalidParameters
		return
	}
	var steps []cure.Step
	for _, a := range q.ActionList {
		if resolve(a.Target, a.HpTarget) == 0 && cfg.Primary == 0 {
			r.Err = base.ErrInvalidParameters
			return
		}
		steps = append(steps, cure.Step{Type: a.Type, Node: resolve(a.Node, a.HpNode)})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.Force.Or(false) {
		c.plan.ClearStepsOf(q.Gpid)
	}
	if !c.plan.Propose(q.Gpid, steps) {
		r.Err = base.ErrInvalidParameters
		return
	}
	c.note(q.Gpid, fmt.Sprintf("%d steps are proposed", len(steps)), "by an administrator or a tool")
	c.unsure[q.Gpid] = struct{}{}
	c.kick()
	r.Err = base.ErrOK
}
