package meta

import (
	"hash/maphash"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/meta/balance"
	"pegasus/meta/state"
)

// planGoal says what a plan is for.
type planGoal struct {
	must    bool // nodes have to be relieved
	even    bool // what is uneven is moved
	check   bool // nothing will be moved: it is only counted
	run     *balanceRun
	inTurn  bool
	options balance.Options
}

// planGoal decides what to plan for. The caller holds mu.
func (b *balancer) planGoal() (w planGoal) {
	k := b.s.overrides
	b.limits(&w.options)
	b.s.fsm.read(func(st *state.State) {
		for _, a := range st.Roles() {
			load := st.Load(a)
			if b.nodes.det.Alive(a) && (load.Primaries > 0 || load.Replicas > 0 && st.Role(a) == state.RoleLeaving) {
				w.must = true
			}
		}
	})
	w.run = b.run
	w.even = w.run != nil || b.level >= state.LevelLively
	if w.check = !w.even && !w.must; w.check {
		w.options.LoadMoves = 0 // tools wait for a cluster that is in order, and load is never still
	}
	if w.run != nil {
		w.options.RolesOnly = w.run.primariesOnly
		return w
	}
	if w.inTurn = k.balancerInTurn.Load(); w.inTurn {
		w.options.LoadMoves = 0 // what is exchanged for load may be of two tables
	}
	w.options.RolesOnly = k.onlyMovePrimary.Load()
	w.options.PrimariesOnly = k.onlyPrimary.Load()
	return w
}

// makePlan makes the first plan that has moves: what relieves nodes of their primaries, what
// relieves them of their replicas, and what evens out, if that is wanted.
func makePlan(v *balance.View, w *planGoal) (p *balance.Plan) {
	if w.must {
		for _, o := range []balance.Options{{MustOnly: true, RolesOnly: true}, {MustOnly: true}} {
			p = balance.MakePlan(v, o)
			if p.Moves = withoutAdds(p); len(p.Moves) > 0 {
				return p
			}
		}
		if !w.even {
			return p
		}
	}
	p = balance.MakePlan(v, w.options)
	p.Moves = withoutAdds(p)
	if w.inTurn && len(p.Moves) > 0 {
		table := p.Moves[0].Gpid.AppID
		for i := range p.Moves {
			table = min(table, p.Moves[i].Gpid.AppID)
		}
		p.Moves = slices.DeleteFunc(p.Moves, func(m balance.Move) bool { return m.Gpid.AppID != table })
	}
	return p
}

// withoutAdds leaves what is missing to the cure.
func withoutAdds(p *balance.Plan) []balance.Move {
	return slices.DeleteFunc(p.Moves, func(m balance.Move) bool { return m.Kind == balance.Add || m.From == 0 })
}

// bytesAge is after what time a plan is made anew for the bytes of replicas alone.
const bytesAge = 10 * time.Minute

var keySeed = maphash.MakeSeed()

// planKey changes when a plan could come out differently. The caller holds mu.
func (b *balancer) planKey(w *planGoal) uint64 {
	var h maphash.Hash
	h.SetSeed(keySeed)
	maphash.WriteComparable(&h, w.options)
	maphash.WriteComparable(&h, [3]bool{w.inTurn, w.must, w.even})
	maphash.WriteComparable(&h, b.parts.configs)
	maphash.WriteComparable(&h, b.now()/bytesAge)
	if w.options.LoadMoves > 0 && b.loadUnknown() == "" {
		maphash.WriteComparable(&h, b.now()/b.s.cfg.Meta.BalanceLoadHalf.D())
	}
	b.s.fsm.read(func(st *state.State) {
		maphash.WriteComparable(&h, [2]int{int(st.LastID()), countTables(st)})
		for _, l := range st.BulkLoads() {
			if l.Loading() {
				maphash.WriteComparable(&h, l.Table)
			}
		}
	})
	k := b.s.overrides
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range k.ignored {
		maphash.WriteComparable(&h, id)
	}
	for _, a := range k.banned {
		maphash.WriteComparable(&h, a)
	}
	return h.Sum64()
}

// balanceView is the cluster as a plan sees it, how many partitions aren't whole, and how many
// are busy: have steps to take, or a member that doesn't say that it has a usable replica. All
// of these are fixed. It takes mu for a piece at a time; what
// changes meanwhile is found out when a move is begun.
func (b *balancer) balanceView(run *balanceRun) (v *balance.View, ill, busy int) {
	v = &balance.View{}
	banned, ignored := b.s.overrides.leftAlone()
	takers, loads := 0, false
	b.locked(func(st *state.State) {
		loads = b.loadUnknown() == ""
		for _, n := range b.nodes.det.Nodes() {
			if !b.nodes.det.Stays(n.Addr) {
				continue
			}
			role := balance.Role(st.Role(n.Addr))
			v.Nodes = append(v.Nodes, balance.Node{Addr: n.Addr, Rack: b.nodes.of(n.Addr).rack, Role: role, Closed: slices.Contains(banned, n.Addr) || !b.nodes.takes(st, n.Addr)})
			if role != balance.Leaving {
				takers++
			}
		}
	})
	part := func(g base.Gpid, c *state.Config, whole int) (q balance.Part) {
		if c.Unborn() {
			return balance.Part{Fixed: true} // of a table that is being split
		}
		if c.Primary != 0 {
			q.Orphan = !b.nodes.det.Stays(c.Primary)
			q.Members = c.AppendMembers(make([]base.RPCAddress, 0, 1+len(c.Secondaries)))
		}
		q.Bytes = b.parts.bytes[g]
		if loads {
			q.Reads, q.Writes = b.parts.loads.mean(g)
		}
		q.Disks = b.nodes.disksOf(g, q.Members)
		alive := 0
		for _, a := range q.Members {
			if b.nodes.det.Stays(a) {
				alive++
			}
			// Whoever has no usable replica will say so, or has just been given it.
			q.Fixed = q.Fixed || b.nodes.of(a).unfit[g]
		}
		if q.Fixed = q.Fixed || b.parts.plan.Steps(g) > 0; q.Fixed {
			busy++
		}
		q.Fixed = q.Fixed || b.parts.moving(g)
		if alive < whole || q.Orphan {
			ill++
			q.Fixed = true
		}
		return q
	}
	for w := (walk{}); !w.done; {
		b.locked(func(st *state.State) {
			w.piece(st, func(t *state.Table, from, to int) {
				if from == 0 {
					_, splitting := st.SplitOf(t.ID)
					v.Tables = append(v.Tables, balance.Table{ID: t.ID, Name: t.Name, Replicas: int(t.MaxReplicas), Parts: make([]balance.Part, len(t.Parts)),
						Fixed: splitting || slices.Contains(ignored, t.ID) || run != nil && run.table != 0 && run.table != t.ID})
				}
				seen := &v.Tables[len(v.Tables)-1]
				loading := st.Loading(t.ID) // its members have what would have to be made anew elsewhere
				for i := from; i < to; i++ {
					seen.Parts[i] = part(base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i], min(int(t.MaxReplicas), takers))
					seen.Parts[i].Fixed = seen.Parts[i].Fixed || loading
				}
			})
		})
	}
	return v, ill, busy
}
