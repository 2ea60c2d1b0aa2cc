package meta

import (
	"maps"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/gen/metadata"
	"pegasus/meta/cure"
	"pegasus/meta/state"
)

// partitions is what the leader knows of partitions beside their configurations, and the one way
// to change those. The term's mu guards it.
type partitions struct {
	*term
	nodes   *nodes
	plan    *cure.Planner
	toCheck map[base.Gpid]struct{} // that may not be in order
	copies  copies
	deposed map[deposed]int64   // who may still believe to be the primary, and the ballot from which on they aren't
	bytes   map[base.Gpid]int64 // of a replica, as the primary told last
	loads   loads
	history map[base.Gpid]*history
	waiters map[int32][]chan struct{} // told when a partition of the table changes
	configs int64                     // configurations changed
	changes changeQueue
	seeds   seeds // nil: no partition is made of something
	// strained returns for which duplications, of those given, a partition's log has little room left. It is called with mu and
	// the State held. nil: there are none.
	strained func(ds []state.Duplication, partition int32) []judge.Sending
	// moving tells whether a replica of a partition is being moved between the disks of its server. It is called with mu held.
	moving func(base.Gpid) bool
}

// seeds knows who makes first replicas of something. Its methods are called with mu and the State held.
type seeds interface {
	Seed(g base.Gpid) cure.Seed
}

// deposed is a former primary that lives and hasn't said yet that it knows of its successor.
// As long as it is a member it does no harm: the successor commits nothing without it, and so
// it learns of the new ballot. Taken out of the group it could answer reads under its lease
// that are no longer true. So it stays until it has said so, or is dead. A partition can have several: the lead may
// move again before the first one has heard of it.
type deposed struct {
	gpid base.Gpid
	node base.RPCAddress
}

func newPartitions(ns *nodes) *partitions {
	ps := &partitions{
		term: ns.term, nodes: ns, plan: cure.New(ns.s.cureOpts), toCheck: map[base.Gpid]struct{}{}, copies: newCopies(),
		deposed: map[deposed]int64{}, bytes: map[base.Gpid]int64{}, loads: newLoads(ns.s.cfg.Meta.BalanceLoadHalf.D()), history: map[base.Gpid]*history{}, waiters: map[int32][]chan struct{}{},
	}
	ps.changes.init()
	return ps
}

// forget drops what is remembered of partitions.
func (ps *partitions) forget(gone func(base.Gpid) bool) {
	maps.DeleteFunc(ps.bytes, func(g base.Gpid, _ int64) bool { return gone(g) })
	maps.DeleteFunc(ps.loads.of, func(g base.Gpid, _ *load) bool { return gone(g) })
	maps.DeleteFunc(ps.history, func(g base.Gpid, _ *history) bool { return gone(g) })
	maps.DeleteFunc(ps.deposed, func(d deposed, _ int64) bool { return gone(d.gpid) })
}

// recheckTable puts all partitions of an available table on the planner's list. The caller
// holds mu, or is the only one who knows ps.
func (ps *partitions) recheckTable(t *state.Table) {
	if t.Status != state.Available {
		return
	}
	for i := range t.Parts {
		ps.toCheck[base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}] = struct{}{}
	}
}

// recheck has the planner look at all partitions of a table.
func (ps *partitions) recheck(id int32) {
	ps.mu.Lock()
	ps.s.fsm.read(func(st *state.State) {
		if t := st.Table(id); t != nil {
			ps.recheckTable(t)
		}
	})
	ps.mu.Unlock()
	ps.kick()
}

// planView is the cluster as the planner sees it. The caller holds mu, and the State.
func (ps *partitions) planView(st *state.State) *cure.View {
	v := &cure.View{Now: ps.now(), State: st, Unfit: func(a base.RPCAddress, g base.Gpid) bool { return ps.nodes.of(a).unfit[g] }}
	ps.viewCopies(v)
	if ps.seeds != nil {
		v.Seed = func(g base.Gpid) (s cure.Seed) {
			if t, cfg, ok := st.Config(g); ok && st.NeedsSeed(t, &cfg) {
				s = ps.seeds.Seed(g)
			}
			return s
		}
	}
	v.BelowThreshold = ps.nodes.belowLiveThreshold(st)
	for _, n := range ps.nodes.det.Nodes() {
		role, of := st.Role(n.Addr), ps.nodes.of(n.Addr)
		v.Nodes = append(v.Nodes, cure.Node{Addr: n.Addr, Alive: n.Alive, Stopping: n.Stopping, Reported: of.reported, Rack: of.rack, Full: of.space.full(), MaxReplicas: of.space.max,
			Leaving: role == state.RoleLeaving, NoPrimaries: role == state.RoleNoPrimaries})
	}
	return v
}

// readiness tells whether every partition of a table has enough members to be written, and
// whether it has all of them.
func (ps *partitions) readiness(id int32) (writable, whole bool) {
	ps.s.fsm.read(func(st *state.State) {
		t := st.Table(id)
		if t == nil {
			return
		}
		writable, whole = true, true
		needed := ps.s.minMembers(t.MaxReplicas)
		for i := range t.Parts {
			if t.Parts[i].Unborn() {
				continue
			}
			n := t.Parts[i].Members()
			writable = writable && n >= needed && n > 0
			whole = whole && n >= int(t.MaxReplicas)
		}
	})
	return writable, whole
}

// mayLead tells whether node, which isn't the primary of g, may believe that it is. The
// caller holds mu.
func (ps *partitions) mayLead(g base.Gpid, node base.RPCAddress) bool {
	if ps.nodes.knownDead(node) {
		return false
	}
	// What a node believes that hasn't reported since this leader began is not known.
	_, may := ps.deposed[deposed{g, node}]
	return may || !ps.nodes.of(node).reported
}

// noteBelievedRoles takes note of what a node says of the replicas that it stores, all of which stand
// in stored too. The caller holds mu, and the State.
func (ps *partitions) noteBelievedRoles(st *state.State, node base.RPCAddress, list []metadata.ReplicaInfo, stored map[base.Gpid]bool) {
	for i := range list {
		rep := &list[i]
		_, cfg, ok := st.Config(rep.Pid)
		if !ok || cfg.Primary == node {
			continue
		}
		d := deposed{rep.Pid, node}
		ballot, on := ps.deposed[d]
		switch {
		case rep.Status == metadata.PS_PRIMARY:
			// Also of a primary that an earlier leader deposed.
			if !on {
				ps.deposed[d] = cfg.Ballot
			}
		case on && rep.Ballot >= ballot:
			delete(ps.deposed, d)
		}
	}
	maps.DeleteFunc(ps.deposed, func(d deposed, _ int64) bool {
		_, holds := stored[d.gpid]
		return d.node == node && !holds
	})
}

// successor returns the secondary that takes over from a primary without data: a living
// one with few primaries, or if none lives, any: it has the data, and comes back with it.
// One that said that it has no usable data comes last. The caller holds mu, and the State.
func (ps *partitions) successor(st *state.State, g base.Gpid, cur *state.Config) (best base.RPCAddress) {
	rank := func(a base.RPCAddress) int {
		n := st.TableLoad(g.AppID, a).Primaries
		if !ps.nodes.det.Alive(a) {
			n += 1 << 30
		}
		if ps.nodes.of(a).unfit[g] {
			n += 1 << 31
		}
		return n
	}
	for _, a := range cur.Secondaries {
		if best == 0 || rank(a) < rank(best) {
			best = a
		}
	}
	return best
}

// giveUp notes that the last member of a partition can't be used. The caller holds mu.
func (ps *partitions) giveUp(g base.Gpid, cur *state.Config) {
	now := memberAt{cur.Primary, cur.Ballot}
	if ps.copies.gaveUp[g] != now {
		ps.copies.gaveUp[g] = now
		ps.log.Errorf("partition %v serves nothing: the replica of its last member %v is damaged; it goes on by itself once a replica is known that has all that was acknowledged, or when `pegasus recover --accept-loss` says so", g, cur.Primary)
		ps.recordEvent(g, "serves nothing", "the replica of its last member "+cur.Primary.String()+" is damaged")
	}
	ps.toCheck[g] = struct{}{}
	ps.kick()
}
