package cure

import (
	"cmp"
	"slices"

	"pegasus/base"
	"pegasus/meta/state"
)

// addable returns whether a node may be given a replica. urgent: the partition can't be
// written, so how much the node has to do doesn't count.
func (r *round) addable(m *memory, cfg *state.Config, urgent bool) func(Addr) bool {
	possible := func(a Addr) bool {
		return !cfg.Has(a) && !slices.ContainsFunc(m.adds, func(t *try) bool { return t.node == a }) &&
			(urgent || r.room(a).adds < r.p.opts.MaxAdds) && !slices.Contains(r.p.banned, a)
	}
	// One that is being taken out is better than none.
	others := slices.ContainsFunc(r.v.Nodes, func(n Node) bool { return n.Alive && !n.Leaving && !n.Full && !cfg.Has(n.Addr) })
	if !others {
		return possible
	}
	return func(a Addr) bool { return r.leaving(a) == 0 && possible(a) }
}

// pickNew chooses a node without data that is given a replica: the emptiest one, unless there
// is still somebody to wait for.
func (r *round) pickNew(g base.Gpid, m *memory, t *state.Table, cfg *state.Config) Addr {
	writable := cfg.Members() >= r.p.opts.MinMembers(t.MaxReplicas)
	if writable && r.v.BelowThreshold != "" {
		return 0
	} else if writable && r.v.Now-m.shortSince < r.p.opts.ReplaceWait && len(r.returning(cfg)) > 0 {
		return 0
	} else if !writable && r.mayHold(m, cfg) {
		return 0
	}
	possible := r.addable(m, cfg, false)
	// One whose disks are full would refuse, unless it holds a replica already.
	takes := func(a Addr) bool { return r.full(a) == 0 && !r.atCapacity(a) && possible(a) }
	return r.pick(m, takes, func(x, y Addr) int {
		return cmp.Or(cmp.Compare(r.inRack(m, cfg, x), r.inRack(m, cfg, y)), r.lessReplicas(g.AppID, x, y))
	})
}

func (r *round) full(a Addr) int {
	n := r.nodes[a]
	return b2i(n != nil && n.Full)
}

// atCapacity tells that a has as many replicas as it can hold, with what is under way.
func (r *round) atCapacity(a Addr) bool {
	n := r.nodes[a]
	if n == nil || !n.MaxReplicas.Set {
		return false
	}
	_, all := r.load(0, a)
	return all.Replicas >= int(n.MaxReplicas.V)
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

// returning are the former members that may still come back with their data. One that isn't known may,
// unless it was given up: a leader that has just taken over knows none.
func (r *round) returning(cfg *state.Config) (l []Addr) {
	for _, a := range cfg.LastDrops {
		n := r.nodes[a]
		_, gone := r.p.gone[a]
		if n == nil && !gone || n != nil && (!n.Alive || !n.Reported) {
			l = append(l, a)
		}
	}
	return l
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
		if n.Alive && !n.Stopping && ok(n.Addr) && (best == 0 || less(n.Addr, best) < 0) {
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

// mayHold tells that a node lives that hasn't said yet what it has. It is waited for a moment.
func (r *round) mayHold(m *memory, cfg *state.Config) bool {
	return r.v.Now-m.shortSince < r.p.opts.ReportWait && slices.ContainsFunc(r.v.Nodes, func(n Node) bool {
		return n.Alive && !n.Reported && !cfg.Has(n.Addr) && !slices.ContainsFunc(m.adds, func(t *try) bool { return t.node == n.Addr })
	})
}
