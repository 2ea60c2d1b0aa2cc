package balance

import (
	"cmp"
	"fmt"
	"slices"
)

// swapPrimaries exchanges replicas where the primaries of a table can't be evened out between
// those that are there: a primary goes to a node that leads too few, and a secondary comes
// back for it.
func (m *model) swapPrimaries() {
	for ti := range m.tables {
		t := &m.tables[ti]
		if t.Fixed {
			continue
		}
		one := func(a, b int32) bool { return m.swapBetween(int32(ti), a, b) }
		for range t.parts {
			if m.evenPrimaries(t) || !m.swapOne(func(i int32) int { return int(t.pri[i]) }, one) {
				break
			}
		}
	}
}

// swapAllPrimaries does the same for the primaries of all tables together.
func (m *model) swapAllPrimaries() {
	one := func(a, b int32) bool {
		for ti := range m.tables {
			if t := &m.tables[ti]; t.pri[a] > t.pri[b] && m.swapBetween(int32(ti), a, b) {
				return true
			}
		}
		return false
	}
	for m.swapOne(func(i int32) int { return m.nodes[i].primaries }, one) {
	}
}

// swapOne finds the most different pair of nodes for which swap does something.
func (m *model) swapOne(load func(i int32) int, swap func(a, b int32) bool) bool {
	order := slices.Clone(m.lead)
	slices.SortStableFunc(order, func(x, y int32) int { return cmp.Compare(load(x), load(y)) })
	return m.tryPairs(order, load, swap)
}

// swapBetween moves a primary of a table from a to b, and a secondary back if the replicas
// would be uneven otherwise.
func (m *model) swapBetween(ti, a, b int32) bool {
	t := &m.tables[ti]
	find := func(on, to int32, leads bool, pass func(t int32) bool) (best ref, ok bool) {
		var fewest int64
		for _, r := range m.nodes[on].reps {
			if !pass(r.t) {
				continue
			}
			_, p := m.part(r)
			if p.fixed || (p.lead && p.m[0] == on) != leads || !m.mayTake(p, to) || !m.keepsRacks(p, on, to) {
				continue
			}
			if !ok || cmp.Or(cmp.Compare(p.bytes, fewest), cmp.Compare(r.t, best.t), cmp.Compare(r.p, best.p)) < 0 {
				best, fewest, ok = r, p.bytes, true
			}
		}
		return best, ok
	}
	same := func(t int32) bool { return t == ti }
	x, ok := find(a, b, true, same)
	if !ok {
		return false
	}
	total := func(i int32) int { return len(m.nodes[i].reps) }
	why := fmt.Sprintf("table %s has %d primaries on %v and %d on %v, all tables have %d and %d", t.Name, t.pri[a], m.name(a), t.pri[b], m.name(b),
		m.nodes[a].primaries, m.nodes[b].primaries)
	surplus := t.rep[a] > t.rep[b]
	if surplus && total(a) > total(b) {
		m.replace(x, a, b, why)
		return true
	}
	y, back := find(b, a, false, same)
	if !back && surplus {
		y, back = find(b, a, false, func(o int32) bool { return m.tables[o].rep[b] > m.tables[o].rep[a] })
	}
	if back {
		m.replace(x, a, b, why)
		m.replace(y, b, a, "in exchange: "+why)
	}
	return back
}
