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
	seed := r.v.seed(g, r.alive)
	if t := m.assign; t != nil && (seed.Wait || seed.By != 0 && seed.By != t.node) {
		unassign(r, g, m)
	}
	if seed.By != 0 && m.assign == nil {
		m.assign = r.newTry(seed.By)
		r.count(g, seed.By, 1, 1).assigns++
	}
	if seed.Wait {
		return
	}
	if t := m.assign; t != nil {
		if r.alive(t.node) && (t.count < r.p.opts.AssignTries || seed.By == t.node) {
			if r.due(t) {
				r.propose(g, metaadmin.CT_ASSIGN_PRIMARY, t.node, t, whyFirst)
			}
			return
		}
		if r.alive(t.node) && r.v.Now-t.last < r.p.opts.Resend {
			return
		}
		unassign(r, g, m)
	}
	m.avoid = slices.DeleteFunc(m.avoid, func(a avoided) bool { return a.until <= r.v.Now })
	a := r.pick(m, func(a Addr) bool { return r.room(a).assigns < r.p.opts.MaxAssigns && !r.atCapacity(a) }, func(x, y Addr) int {
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

// unassign gives up the node that is asked to be the first primary.
func unassign(r *round, g base.Gpid, m *memory) {
	r.count(g, m.assign.node, -1, -1).assigns--
	m.avoid = append(m.avoid, avoided{m.assign.node, r.v.Now + r.p.opts.AvoidFor})
	m.assign = nil
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
	may := slices.DeleteFunc(slices.Clone(cfg.Secondaries), func(a Addr) bool { return !r.alive(a) || r.unfit(a, g) })
	if len(may) == 0 || r.hearing(g, m, cfg, may) {
		return
	}
	floor := r.floor(g, m, may)
	m.below = nil
	for _, a := range may {
		if r.behind(a, g, m, floor) {
			m.below = append(m.below, a)
		}
	}
	to := r.bestPrimary(g, slices.DeleteFunc(may, func(a Addr) bool { return r.below(a, g, m) }))
	if to == 0 {
		return // the dead may come back with what these lack
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
	if to == 0 || !r.stays(to) || !slices.Contains(cfg.Secondaries, to) {
		return false
	}
	// What the primary says it has committed is told to the one that follows, who must hold it.
	if r.hearing(g, m, cfg, slices.DeleteFunc([]Addr{cfg.Primary, to}, func(a Addr) bool { return !r.alive(a) })) {
		return true
	}
	if c, ok := r.claim(to, g, m); ok && c.Damaged {
		return false
	}
	r.count(g, to, 1, 0)
	r.count(g, cfg.Primary, -1, 0)
	r.change(g, m, cfg.WithPrimary(to), nil, why)
	return true
}

// Yields returns a function that tells whether a partition goes on without a member that ends:
// whether, once that is dead or said that it ends soon, the planner takes the lead from it or,
// when it is gone, takes it out of the group.
func (p *Planner) Yields(v *View) func(g base.Gpid, t *state.Table, cfg *state.Config, gone Addr) bool {
	r := &round{p: p, v: v, nodes: make(map[Addr]*Node, len(v.Nodes))}
	for i := range v.Nodes {
		r.nodes[v.Nodes[i].Addr] = &v.Nodes[i]
	}
	return func(g base.Gpid, t *state.Table, cfg *state.Config, gone Addr) bool {
		switch {
		case !cfg.Has(gone) || r.thin(t, cfg):
			return false
		case cfg.Primary == gone:
			return r.bestPrimary(g, cfg.Secondaries) != 0
		}
		return !r.alive(gone) && r.stays(cfg.Primary) && !r.unfit(cfg.Primary, g)
	}
}

// bestPrimary returns the living one of the nodes with the fewest primaries. A node that
// hasn't reported since it came to life may still be busy loading its replicas: it comes
// last. One that said that its replica can't be used isn't considered.
func (r *round) bestPrimary(g base.Gpid, from []Addr) (best Addr) {
	less := func(x, y Addr) int {
		return cmp.Or(-cmp.Compare(b2i(r.nodes[x].Reported), b2i(r.nodes[y].Reported)), cmp.Compare(r.unwilling(x), r.unwilling(y)), r.lessPrimaries(g.AppID, x, y))
	}
	for _, a := range from {
		if r.stays(a) && !r.unfit(a, g) && (best == 0 || less(a, best) < 0) {
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
		if r.v.Now-t.learnAt < r.p.opts.LearnTimeout {
			return false
		}
		m.avoid = append(m.avoid, avoided{t.node, r.v.Now + r.p.opts.AvoidFor})
		r.count(g, t.node, 0, -1).adds--
		return true
	})
	wanted := int(t.MaxReplicas) - cfg.Members()
	r.addHolders(g, m, t, cfg, wanted)
	for len(m.adds) > wanted { // those with data stand first
		r.cancel(g, m, m.adds[len(m.adds)-1], "the partition lacks fewer replicas now")
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
