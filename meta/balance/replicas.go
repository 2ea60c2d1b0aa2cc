package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

func (m *model) name(i int32) Addr { return m.nodes[i].Addr }

// emptiest returns the node that should get a replica of r, -1 if none may. from is the
// member that it replaces, -1 if it comes in addition.
func (m *model) emptiest(r ref, from int32) int32 {
	t, p := m.part(r)
	best, bestRacks := int32(-1), 0
	// Somebody must be able to lead afterwards.
	leader := slices.ContainsFunc(p.m, func(j int32) bool { return j != from && m.mayLead(j) })
	for _, i := range m.stay {
		if !m.mayTake(p, i) || !leader && !m.mayLead(i) && len(m.lead) > 0 {
			continue
		}
		racks := 0
		if from >= 0 {
			racks = m.spread(p, from, i)
		} else if !slices.ContainsFunc(p.m, func(j int32) bool { return m.nodes[j].rack == m.nodes[i].rack }) {
			racks = 1
		}
		if best < 0 || racks > bestRacks || racks == bestRacks && m.fewer(t, i, best) {
			best, bestRacks = i, racks
		}
	}
	return best
}

// fewer orders nodes by how many replicas they have, of the table first.
func (m *model) fewer(t *table, x, y int32) bool {
	return cmp.Or(cmp.Compare(t.rep[x], t.rep[y]), cmp.Compare(len(m.nodes[x].reps), len(m.nodes[y].reps)),
		cmp.Compare(m.nodes[x].bytes, m.nodes[y].bytes)) < 0
}

// each calls f for every partition that may be changed.
func (m *model) each(f func(r ref, t *table, p *part)) {
	for ti := range m.tables {
		t := &m.tables[ti]
		for pi := range t.parts {
			if p := &t.parts[pi]; !p.fixed && len(p.m) > 0 {
				f(ref{int32(ti), int32(pi)}, t, p)
			}
		}
	}
}

// addMissing gives each partition the replicas that it lacks.
func (m *model) addMissing() {
	m.each(func(r ref, t *table, p *part) {
		for len(p.m) < t.Replicas {
			to := m.emptiest(r, -1)
			if to < 0 {
				m.stuck = append(m.stuck, fmt.Sprintf("partition %v has %d of %d replicas, and no other node lives that may take one", gpid(t, r.p), len(p.m), t.Replicas))
				return
			}
			m.add(r, to, fmt.Sprintf("partition has %d of %d replicas", len(p.m), t.Replicas))
		}
	})
}

// empty takes all replicas from leaving nodes.
func (m *model) empty() {
	m.each(func(r ref, t *table, p *part) {
		for _, i := range slices.Clone(p.m) {
			if m.nodes[i].Role != Leaving {
				continue
			}
			to := m.emptiest(r, i)
			if to < 0 {
				m.stuck = append(m.stuck, fmt.Sprintf("partition %v can't leave %v: no other node may take it", gpid(t, r.p), m.name(i)))
				continue
			}
			m.replace(r, i, to, fmt.Sprintf("%v is being taken out", m.name(i)))
		}
	})
}

// spreadRacks moves replicas that share a rack to racks where the partition has none.
func (m *model) spreadRacks() {
	if m.racks == len(m.nodes) {
		return
	}
	m.each(func(r ref, t *table, p *part) {
		for range p.m {
			now := m.spread(p, -1, -1)
			bestFrom, bestTo := int32(-1), int32(-1)
			for _, from := range p.m {
				to := m.emptiest(r, from)
				if to >= 0 && m.spread(p, from, to) > now && (bestFrom < 0 || m.fewer(t, bestFrom, from)) {
					bestFrom, bestTo = from, to
				}
			}
			if bestFrom < 0 {
				return
			}
			m.replace(r, bestFrom, bestTo, fmt.Sprintf("two replicas are in rack %q", m.nodes[bestFrom].Rack))
		}
	})
}

// evenTables makes the replicas of each table differ by no more than one.
func (m *model) evenTables() {
	for ti := range m.tables {
		t := &m.tables[ti]
		if t.Fixed {
			continue
		}
		pass := func(r ref) bool { return r.t == int32(ti) }
		m.even(m.stay,
			func(i int32) int { return int(t.rep[i]) },
			func(x, y int32) bool { return m.fewer(t, x, y) },
			pass,
			func(a, b int32) string {
				return fmt.Sprintf("table %s has %d replicas on %v and %d on %v", t.Name, t.rep[a], m.name(a), t.rep[b], m.name(b))
			})
	}
}

// evenAll makes the replicas of all tables together differ by no more than one, without
// making those of a table differ more.
func (m *model) evenAll() {
	load := func(i int32) int { return len(m.nodes[i].reps) }
	m.even(m.stay, load,
		func(x, y int32) bool {
			return cmp.Or(cmp.Compare(load(x), load(y)), cmp.Compare(m.nodes[x].bytes, m.nodes[y].bytes)) < 0
		},
		nil,
		func(a, b int32) string {
			return fmt.Sprintf("%v has %d replicas and %v has %d", m.name(a), load(a), m.name(b), load(b))
		})
}

// even moves replicas from nodes with more to nodes with at least two less, until there is no
// such pair between which one can be moved. pass, if not nil, chooses the replicas; without
// it those of tables are moved of which the giver has more than the taker.
func (m *model) even(nodes []int32, load func(int32) int, less func(x, y int32) bool, pass func(ref) bool, why func(a, b int32) string) {
	if len(nodes) < 2 {
		return
	}
	try := func(a, b int32) bool {
		r, ok := m.choose(a, b, pass)
		if ok {
			m.replace(r, a, b, why(a, b))
		}
		return ok
	}
	order := slices.Clone(nodes)
	for {
		// The fullest and the emptiest nearly always do.
		a, b := nodes[0], nodes[0]
		for _, i := range nodes[1:] {
			if less(a, i) {
				a = i
			}
			if less(i, b) {
				b = i
			}
		}
		if load(a)-load(b) < 2 {
			return
		}
		if try(a, b) {
			continue
		}
		slices.SortFunc(order, func(x, y int32) int {
			switch {
			case less(x, y):
				return -1
			case less(y, x):
				return 1
			}
			return cmp.Compare(x, y)
		})
		if !m.tryPairs(order, load, try) {
			return
		}
	}
}

func (m *model) tryPairs(order []int32, load func(int32) int, try func(a, b int32) bool) bool {
	for k := len(order) - 1; k > 0; k-- {
		a := order[k]
		for _, b := range order {
			if load(a)-load(b) < 2 {
				break
			}
			if try(a, b) {
				return true
			}
		}
	}
	return false
}

// choose picks the replica on a that should move to b.
func (m *model) choose(a, b int32, pass func(ref) bool) (best ref, ok bool) {
	na, nb := &m.nodes[a], &m.nodes[b]
	if nb.Role == Leaving || nb.Closed {
		return best, false
	}
	ideal := max(0, (na.bytes-nb.bytes)/2)
	type rank struct {
		role  int // 0: it evens out primaries as well
		bytes int64
		disk  int64
	}
	bestRank := rank{role: math.MaxInt}
	for _, r := range na.reps {
		t, p := m.part(r)
		if p.fixed || p.has(b) || m.opts.MustOnly && slices.Contains(p.old, a) {
			continue // with MustOnly, only what moves anyway goes elsewhere
		}
		if pass != nil && !pass(r) || pass == nil && t.rep[a] <= t.rep[b] || !m.keepsRacks(p, a, b) {
			continue
		}
		k := rank{bytes: max(p.bytes-ideal, ideal-p.bytes)}
		leads := p.lead && p.m[0] == a
		if leads && !m.mayLead(b) {
			continue
		}
		// A primary goes along if both are the better for it, for it costs nothing then.
		wanted := m.mayLead(b) && t.pri[a] > max(t.pri[b], t.plow) && na.primaries > m.plow && nb.primaries < m.phi
		if leads != wanted {
			k.role = 1
		}
		if disk, known := p.diskOn(a); known {
			k.disk = -na.disks[disk]
		}
		if !ok || cmp.Or(cmp.Compare(k.role, bestRank.role), cmp.Compare(k.bytes, bestRank.bytes), cmp.Compare(k.disk, bestRank.disk),
			cmp.Compare(r.t, best.t), cmp.Compare(r.p, best.p)) < 0 {
			best, bestRank, ok = r, k, true
		}
	}
	return best, ok
}

// evenBytes exchanges replicas between nodes so that none is too far above the mean. Counts
// and roles stay as they are.
func (m *model) evenBytes() {
	if m.opts.Tolerance <= 0 || len(m.stay) < 2 {
		return
	}
	var total int64
	for _, i := range m.stay {
		total += m.nodes[i].bytes
	}
	mean := float64(total) / float64(len(m.stay))
	for range 10 * len(m.stay) {
		order := slices.Clone(m.stay)
		slices.SortFunc(order, func(x, y int32) int {
			return cmp.Or(cmp.Compare(m.nodes[x].bytes, m.nodes[y].bytes), cmp.Compare(x, y))
		})
		a := order[len(order)-1]
		if float64(m.nodes[a].bytes) <= mean*(1+m.opts.Tolerance) || !m.exchange(a, order, mean) {
			return
		}
	}
}

// exchange swaps a large replica on a for a small one of the same table, in the same role, on
// one of the emptier nodes.
func (m *model) exchange(a int32, order []int32, mean float64) bool {
	for _, b := range order {
		gap := m.nodes[a].bytes - m.nodes[b].bytes
		if gap <= 0 {
			return false
		}
		var bx, by ref
		var best int64
		lead := m.mayLead(a) && m.mayLead(b)
		for _, x := range m.nodes[a].reps {
			tx, px := m.part(x)
			if !m.mayTake(px, b) || px.fixed || px.m[0] == a && !lead || px.bytes <= best || !m.keepsRacks(px, a, b) {
				continue
			}
			for _, y := range m.nodes[b].reps {
				if y.t != x.t {
					continue
				}
				py := &tx.parts[y.p]
				// What is gained is how much closer the two come.
				d := px.bytes - py.bytes
				gain := min(d, gap-d)
				if gain > best && !py.fixed && (px.m[0] == a) == (py.m[0] == b) && m.mayTake(py, a) && m.keepsRacks(py, b, a) {
					bx, by, best = x, y, gain
				}
			}
		}
		// Small gains aren't worth two copies.
		if float64(best) < mean/50 || best == 0 {
			continue
		}
		why := fmt.Sprintf("%v holds %d bytes and %v %d", m.name(a), m.nodes[a].bytes, m.name(b), m.nodes[b].bytes)
		m.replace(bx, a, b, why)
		m.replace(by, b, a, "in exchange: "+why)
		return true
	}
	return false
}
