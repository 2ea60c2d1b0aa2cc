package cure

import (
	"cmp"
	"slices"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// assignFirst finds a primary for a partition that never had a member.
func (r *round) assignFirst(g base.Gpid, m *memory) {
	if t := m.assign; t != nil {
		if r.alive(t.node) && t.count < r.p.opts.AssignTries {
			if r.due(t) {
				r.propose(g, metaadmin.CT_ASSIGN_PRIMARY, t.node, t, whyFirst)
			}
			return
		}
		if r.alive(t.node) && r.v.Now-t.last < r.p.opts.Resend {
			return
		}
		n := r.count(g, t.node, -1, -1)
		n.assigns--
		m.avoid = append(m.avoid, avoided{t.node, r.v.Now + r.p.opts.AvoidFor})
		m.assign = nil
	}
	m.avoid = slices.DeleteFunc(m.avoid, func(a avoided) bool { return a.until <= r.v.Now })
	a := r.pick(m, func(a Addr) bool { return r.room(a).assigns < r.p.opts.MaxAssigns }, func(x, y Addr) int {
		return cmp.Or(-cmp.Compare(b2i(x == m.prefer), b2i(y == m.prefer)), cmp.Compare(r.full(x), r.full(y)), cmp.Compare(r.unwilling(x), r.unwilling(y)), r.lessPrimaries(g.AppID, x, y))
	})
	if a == 0 {
		return
	}
	m.assign = r.newTry(a)
	r.due(m.assign)
	r.count(g, a, 1, 1).assigns++
	r.propose(g, metaadmin.CT_ASSIGN_PRIMARY, a, m.assign, whyFirst)
}

const whyFirst = "the partition never had a member"

// unwilling tells how little a node should lead.
func (r *round) unwilling(a Addr) int {
	n := r.nodes[a]
	return b2i(n.Leaving || n.NoPrimaries)
}

// replacePrimary promotes a living secondary after the primary died, and drops all members
// that are dead. Without a living member everything stays as it is: only a member has the
// data.
func (r *round) replacePrimary(g base.Gpid, m *memory, cfg *state.Config) {
	to := r.bestPrimary(g, cfg.Secondaries)
	if to == 0 {
		return
	}
	dead := slices.DeleteFunc(cfg.AppendMembers(nil), r.alive)
	r.count(g, to, 1, 0)
	r.count(g, cfg.Primary, -1, 0)
	r.change(g, m, withoutDead(cfg.WithPrimary(to), dead), dead, "the primary "+cfg.Primary.String()+" is dead")
}

// movePrimary makes to, or if that is 0 the best living secondary, the primary; the former
// one stays as a secondary. It reports false if that is impossible.
func (r *round) movePrimary(g base.Gpid, m *memory, cfg *state.Config, to Addr, why string) bool {
	if to == 0 {
		to = r.bestPrimary(g, cfg.Secondaries)
	}
	if to == 0 || !r.alive(to) || !slices.Contains(cfg.Secondaries, to) {
		return false
	}
	r.count(g, to, 1, 0)
	r.count(g, cfg.Primary, -1, 0)
	r.change(g, m, cfg.WithPrimary(to), nil, why)
	return true
}

// bestPrimary returns the living one of the nodes with the fewest primaries. A node that
// hasn't reported since it came to life may still be busy loading its replicas: it comes
// last. One that said that its replica can't be used isn't considered.
func (r *round) bestPrimary(g base.Gpid, from []Addr) (best Addr) {
	less := func(x, y Addr) int {
		return cmp.Or(-cmp.Compare(b2i(r.nodes[x].Reported), b2i(r.nodes[y].Reported)), cmp.Compare(r.unwilling(x), r.unwilling(y)), r.lessPrimaries(g.AppID, x, y))
	}
	for _, a := range from {
		if r.alive(a) && !r.unfit(a, g) && (best == 0 || less(a, best) < 0) {
			best = a
		}
	}
	return best
}

// dropDead takes dead secondaries out, unless the primary is of no use: then they may be
// the only ones that have the data.
func (r *round) dropDead(g base.Gpid, m *memory, cfg *state.Config) bool {
	dead := slices.DeleteFunc(slices.Clone(cfg.Secondaries), r.alive)
	if len(dead) == 0 || r.unfit(cfg.Primary, g) {
		return false
	}
	r.change(g, m, withoutDead(*cfg, dead), dead, "secondaries are dead")
	return true
}

func withoutDead(cfg state.Config, dead []Addr) state.Config {
	return cfg.Without(func(a Addr) bool { return slices.Contains(dead, a) })
}

// removeOne asks the primary to remove the surplus secondary on the fullest node.
func (r *round) removeOne(g base.Gpid, m *memory, cfg *state.Config) {
	m.short, m.adds = false, nil
	if m.remove == nil {
		var worst Addr
		for _, a := range cfg.Secondaries {
			if worst == 0 || cmp.Or(cmp.Compare(r.leaving(worst), r.leaving(a)), r.lessReplicas(g.AppID, worst, a)) < 0 {
				worst = a
			}
		}
		if worst == 0 {
			return
		}
		m.remove = r.newTry(worst)
		r.count(g, worst, 0, -1)
	}
	if r.due(m.remove) {
		r.propose(g, metaadmin.CT_REMOVE, cfg.Primary, m.remove, "the partition has more replicas than the table wants")
	}
}

// addMissing asks the primary to add members until it has as many as the table wants.
func (r *round) addMissing(g base.Gpid, m *memory, t *state.Table, cfg *state.Config) {
	m.remove = nil
	if !m.short {
		m.short, m.shortSince = true, r.v.Now
	}
	m.adds = slices.DeleteFunc(m.adds, func(t *try) bool {
		if r.v.Now-t.learnAt < r.p.opts.LearnPatience {
			return false
		}
		m.avoid = append(m.avoid, avoided{t.node, r.v.Now + r.p.opts.AvoidFor})
		r.count(g, t.node, 0, -1).adds--
		return true
	})
	wanted := int(t.MaxReplicas) - cfg.Members()
	if len(m.adds) > wanted {
		m.adds = m.adds[:wanted]
	}
	for len(m.adds) < wanted {
		a := r.pickNew(g, m, t, cfg)
		if a == 0 {
			break
		}
		m.adds = append(m.adds, r.newTry(a))
		r.count(g, a, 0, 1).adds++
	}
	for _, t := range m.adds {
		if r.due(t) {
			r.propose(g, metaadmin.CT_ADD_SECONDARY, cfg.Primary, t, "the partition lacks replicas")
		}
	}
}

// pickNew chooses whom to add: a node that holds a replica, the newest; else the emptiest
// one, unless there is still somebody to wait for.
func (r *round) pickNew(g base.Gpid, m *memory, t *state.Table, cfg *state.Config) Addr {
	possible := func(a Addr) bool {
		return !cfg.Has(a) && !slices.ContainsFunc(m.adds, func(t *try) bool { return t.node == a }) &&
			r.room(a).adds < r.p.opts.MaxAdds && !slices.Contains(r.p.banned, a)
	}
	// One whose disks are full would refuse, unless it holds a replica already.
	takes := func(a Addr) bool { return r.full(a) == 0 && possible(a) }
	// One that is being taken out is better than none.
	others := slices.ContainsFunc(r.v.Nodes, func(n Node) bool { return n.Alive && !n.Leaving && !n.Full && !cfg.Has(n.Addr) })
	if others {
		of := possible
		possible = func(a Addr) bool { return r.leaving(a) == 0 && of(a) }
	}
	holds := func(a Addr) bool {
		_, ok := r.v.Stored(a, g)
		return ok && possible(a)
	}
	newest := func(x, y Addr) int {
		rx, _ := r.v.Stored(x, g)
		ry, _ := r.v.Stored(y, g)
		return cmp.Or(-cmp.Compare(rx.Ballot, ry.Ballot), -cmp.Compare(rx.Committed, ry.Committed), r.lessReplicas(g.AppID, x, y))
	}
	fresh := func(a Addr) bool { return !r.avoids(m, a) }
	if a := r.pickOf(func(a Addr) bool { return holds(a) && fresh(a) }, newest); a != 0 {
		return a
	}
	if writable := cfg.Members() >= r.p.opts.MinMembers(t.MaxReplicas); writable && r.v.Few != "" {
		return 0
	} else if writable && r.v.Now-m.shortSince < r.p.opts.ReplaceWait && r.mayReturn(cfg) {
		return 0
	}
	return r.pick(m, takes, func(x, y Addr) int {
		return cmp.Or(cmp.Compare(r.inRack(m, cfg, x), r.inRack(m, cfg, y)), r.lessReplicas(g.AppID, x, y))
	})
}

func (r *round) full(a Addr) int {
	n := r.nodes[a]
	return b2i(n != nil && n.Full)
}

func (r *round) leaving(a Addr) int {
	n := r.nodes[a]
	return b2i(n != nil && n.Leaving)
}

// inRack counts the members, and those to be, that are in a's rack.
func (r *round) inRack(m *memory, cfg *state.Config, a Addr) (n int) {
	rack := r.nodes[a].Rack
	if rack == "" {
		return 0
	}
	in := func(x Addr) {
		if o := r.nodes[x]; o != nil && o.Rack == rack {
			n++
		}
	}
	for _, x := range cfg.AppendMembers(nil) {
		in(x)
	}
	for _, t := range m.adds {
		in(t.node)
	}
	return n
}

// mayReturn tells whether a former member may still come back with its data.
func (r *round) mayReturn(cfg *state.Config) bool {
	return slices.ContainsFunc(cfg.LastDrops, func(a Addr) bool {
		n := r.nodes[a]
		return n == nil || !n.Alive || !n.Reported
	})
}

// pick returns the first living node in the order of less for which ok holds; one that is
// to be avoided only if there is no other.
func (r *round) pick(m *memory, ok func(Addr) bool, less func(x, y Addr) int) Addr {
	if a := r.pickOf(func(a Addr) bool { return ok(a) && !r.avoids(m, a) }, less); a != 0 || len(m.avoid) == 0 {
		return a
	}
	return r.pickOf(ok, less)
}

func (r *round) pickOf(ok func(Addr) bool, less func(x, y Addr) int) (best Addr) {
	for i := range r.v.Nodes {
		n := &r.v.Nodes[i]
		if n.Alive && ok(n.Addr) && (best == 0 || less(n.Addr, best) < 0) {
			best = n.Addr
		}
	}
	return best
}

func (r *round) avoids(m *memory, a Addr) bool {
	return slices.ContainsFunc(m.avoid, func(v avoided) bool { return v.node == a })
}

var noPending pending

// room returns what is under way to a.
func (r *round) room(a Addr) *pending {
	if n := r.pending[a]; n != nil {
		return n
	}
	return &noPending
}

// load returns what a serves of a table and of all, with what is under way.
func (r *round) load(id int32, a Addr) (table, all state.Load) {
	table, all = r.v.State.TableLoad(id, a), r.v.State.Load(a)
	if n := r.pending[a]; n != nil {
		all.Primaries += n.primaries
		all.Replicas += n.replicas
		if t := n.tables[id]; t != nil {
			table.Primaries += t.Primaries
			table.Replicas += t.Replicas
		}
	}
	return table, all
}

// lessPrimaries orders nodes by how many primaries they serve, of the table first.
func (r *round) lessPrimaries(id int32, x, y Addr) int {
	tx, ax := r.load(id, x)
	ty, ay := r.load(id, y)
	return cmp.Or(cmp.Compare(tx.Primaries, ty.Primaries), cmp.Compare(tx.Replicas, ty.Replicas),
		cmp.Compare(ax.Primaries, ay.Primaries), cmp.Compare(ax.Replicas, ay.Replicas), cmp.Compare(x, y))
}

// lessReplicas orders nodes by how many replicas they serve, of the table first.
func (r *round) lessReplicas(id int32, x, y Addr) int {
	tx, ax := r.load(id, x)
	ty, ay := r.load(id, y)
	return cmp.Or(cmp.Compare(tx.Replicas, ty.Replicas), cmp.Compare(ax.Replicas, ay.Replicas), cmp.Compare(x, y))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
