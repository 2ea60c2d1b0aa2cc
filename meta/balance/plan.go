package balance

import (
	"cmp"
	"slices"
)

// MakePlan returns the moves that lead from v to a better placement, in the order in which
// they should be begun: first what brings partitions back to their number of replicas, then
// what takes primaries from nodes that mustn't lead, other changes of primaries, and copies,
// those from leaving nodes first.
func MakePlan(v *View, o Options) *Plan {
	m := newModel(v, o)
	m.bounds()
	p := &Plan{Before: m.figures()}
	p.MinPrimaries, p.MinCopies = m.lowerBounds()
	if len(m.stay) > 0 {
		m.place()
	}
	p.After = m.figures()
	p.Stuck = m.stuck
	m.moves(p)
	return p
}

func (m *model) place() {
	copies := !m.opts.RolesOnly && !m.opts.PrimariesOnly
	if copies {
		m.addMissing()
		m.leadOrphans()
		m.empty()
		if !m.opts.MustOnly {
			m.spreadRacks()
		}
		m.evenTables()
		m.evenAll()
	}
	if len(m.lead) == 0 {
		return
	}
	m.leadOrphans()
	m.mustLead()
	f := newFlow(m)
	m.evenTablePrimaries(f)
	swap := !m.opts.RolesOnly && !m.opts.MustOnly
	if swap {
		m.swapPrimaries()
		m.evenTablePrimaries(f)
	}
	m.evenAllPrimaries(f)
	if swap {
		m.swapAllPrimaries()
	}
	if copies && !m.opts.MustOnly {
		m.evenBytes()
	}
	m.evenLoad()
}

// lowerBounds computes how many changes of primaries and copies any plan needs that evens the
// tables, and all together, to within one.
func (m *model) lowerBounds() (primaries, copies int) {
	type need struct{ lack, excess, missing int }
	cost := func(n need) int { return max(n.lack, n.missing+n.excess) }
	add := func(n *need, have, low, hi int) {
		n.lack += max(0, low-have)
		n.excess += max(0, have-hi)
	}
	var allR, allP need
	var tablesR, tablesP int
	for ti := range m.tables {
		t := &m.tables[ti]
		var r, p need
		for i := range m.nodes {
			low, hi, plow, phi := 0, 0, 0, 0
			if m.nodes[i].Role != Leaving {
				low, hi = int(t.low), int(t.hi)
			}
			if m.nodes[i].Role == Full {
				plow, phi = int(t.plow), int(t.phi)
			}
			add(&r, int(t.rep[i]), low, hi)
			add(&p, int(t.pri[i]), plow, phi)
		}
		for i := range t.parts {
			q := &t.parts[i]
			if len(q.m) == 0 {
				continue
			}
			r.missing += max(0, t.Replicas-len(q.m))
			if !q.lead {
				p.missing++
			}
		}
		tablesR, tablesP = tablesR+cost(r), tablesP+cost(p)
		allR.missing, allP.missing = allR.missing+r.missing, allP.missing+p.missing
	}
	for i := range m.nodes {
		low, hi, plow, phi := 0, 0, 0, 0
		if m.nodes[i].Role != Leaving {
			low, hi = m.low, m.hi
		}
		if m.nodes[i].Role == Full {
			plow, phi = m.plow, m.phi
		}
		add(&allR, len(m.nodes[i].reps), low, hi)
		add(&allP, m.nodes[i].primaries, plow, phi)
	}
	return max(tablesP, cost(allP)), max(tablesR, cost(allR))
}

// moves writes down how the placement differs from what it was.
func (m *model) moves(p *Plan) {
	type ranked struct {
		Move
		rank int
	}
	var list []ranked
	put := func(rank int, v Move) {
		list = append(list, ranked{v, rank})
		if v.Kind == Promote || v.Primary {
			p.Primaries++
		}
		if v.Kind != Promote {
			p.Copies++
			p.Bytes += v.Bytes
		}
	}
	for ti := range m.tables {
		t := &m.tables[ti]
		for pi := range t.parts {
			q := &t.parts[pi]
			if len(q.m) == 0 || slices.Equal(q.m, q.old) && q.lead == q.oldLed {
				continue
			}
			g := gpid(t, int32(pi))
			was, is := int32(-1), int32(-1)
			if q.oldLed {
				was = q.old[0]
			}
			if q.lead {
				is = q.m[0]
			}
			gone := slices.DeleteFunc(slices.Clone(q.old), q.has)
			var come []int32
			for _, i := range q.m {
				if !slices.Contains(q.old, i) {
					come = append(come, i)
				}
			}
			if is != was && slices.Contains(q.old, is) {
				v := Move{Gpid: g, Kind: Promote, To: m.name(is), Why: q.whyPri, ForLoad: q.forLoad}
				rank := 2
				if was >= 0 {
					v.From = m.name(was)
					if m.nodes[was].Role != Full {
						rank = 1
					}
				}
				put(rank, v)
			}
			// The new primary takes the place of the old one, if both change.
			first := func(l []int32, i int32) {
				if k := slices.Index(l, i); k > 0 {
					l[0], l[k] = l[k], l[0]
				}
			}
			if slices.Contains(come, is) {
				first(come, is)
				first(gone, was)
			}
			for k, to := range come {
				v := Move{Gpid: g, Kind: Add, To: m.name(to), Bytes: q.bytes, Why: q.why, Primary: to == is, ForLoad: q.forLoad}
				rank := 0
				if k < len(gone) {
					v.Kind, v.From = Copy, m.name(gone[k])
					if rank = 4; m.nodes[gone[k]].Role == Leaving {
						rank = 3
					}
				}
				put(rank, v)
			}
		}
	}
	slices.SortStableFunc(list, func(x, y ranked) int { return cmp.Compare(x.rank, y.rank) })
	p.Moves = make([]Move, len(list))
	for i := range list {
		p.Moves[i] = list[i].Move
	}
}
