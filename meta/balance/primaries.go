package balance

import (
	"cmp"
	"fmt"
	"slices"
)

// leadOrphans gives each partition whose primary is dead, or mustn't lead any more, the
// member that leads least.
func (m *model) leadOrphans() {
	m.each(func(r ref, t *table, p *part) {
		if p.lead && m.mayLead(p.m[0]) {
			return
		}
		best := int32(-1)
		for _, i := range p.m {
			if m.mayLead(i) && (best < 0 || m.leadsLess(t, i, best)) {
				best = i
			}
		}
		switch {
		case best >= 0 && p.lead:
			why := "%v is about to be restarted"
			if m.nodes[p.m[0]].Role == Leaving {
				why = "%v is being taken out"
			}
			m.promote(r, best, fmt.Sprintf(why, m.name(p.m[0])))
		case best >= 0:
			m.promote(r, best, "its primary is dead")
		}
	})
}

// mustLead reports the partitions that are led by a node that shouldn't.
func (m *model) mustLead() {
	m.each(func(r ref, t *table, p *part) {
		if p.lead && !m.mayLead(p.m[0]) {
			m.stuck = append(m.stuck, fmt.Sprintf("partition %v can't be led by another node than %v: no other has a replica and may lead", gpid(t, r.p), m.name(p.m[0])))
		}
	})
}

// leadsLess orders nodes by how many primaries they have, of the table first.
func (m *model) leadsLess(t *table, x, y int32) bool {
	return cmp.Or(cmp.Compare(t.pri[x], t.pri[y]), cmp.Compare(m.nodes[x].primaries, m.nodes[y].primaries)) < 0
}

// A flow moves primaries along a path: each hop makes another member of one partition its
// primary, so that the first node of the path has one less and the last one more. States of
// the search are nodes (any of their tables may give next) and, above them, pairs of a
// table and a node (that table must give next, for the node has as many as it may).
type flow struct {
	m      *model
	seen   []int32 // by state: in which search it was reached
	from   []hop
	search int32
	queue  []int32
	only   int32     // the table that is looked at, -1: all
	of     [][]int32 // by node, with only: the partitions that it leads
}

type hop struct {
	state int32 // before, -1: none
	r     ref   // partition that changes; t is -1 if none does
}

func newFlow(m *model) *flow {
	n := len(m.nodes) * (1 + len(m.tables))
	return &flow{m: m, seen: make([]int32, n), from: make([]hop, n), only: -1}
}

func (f *flow) pair(t, i int32) int32 { return int32(len(f.m.nodes))*(1+t) + i }

// split is the reverse of pair; t is -1 for a node.
func (f *flow) split(s int32) (t, i int32) {
	n := int32(len(f.m.nodes))
	return s/n - 1, s % n
}

func (f *flow) reach(s int32, h hop) bool {
	if f.seen[s] == f.search {
		return false
	}
	f.seen[s], f.from[s] = f.search, h
	f.queue = append(f.queue, s)
	return true
}

// run searches from the sources to the sink with the least primaries among the nearest, and
// moves primaries along the path. It reports false if there is none.
func (f *flow) run(sources []int32, sink func(s int32) bool, why func(from, to int32) string) bool {
	f.search++
	f.queue = f.queue[:0]
	for _, s := range sources {
		f.reach(s, hop{-1, ref{-1, -1}})
	}
	// Breadth first, level by level, to choose among the sinks of a level.
	for begin := 0; begin < len(f.queue); {
		end := len(f.queue)
		best := int32(-1)
		for k := begin; k < end; k++ {
			s := f.queue[k]
			if f.from[s].state >= 0 && sink(s) && (best < 0 || f.less(s, best)) {
				best = s
			}
		}
		if best >= 0 {
			return f.apply(best, why)
		}
		for k := begin; k < end; k++ {
			f.expand(f.queue[k])
		}
		begin = end
	}
	return false
}

func (f *flow) less(x, y int32) bool {
	tx, ix := f.split(x)
	ty, iy := f.split(y)
	p := func(t, i int32) int32 {
		if t < 0 {
			return 0
		}
		return f.m.tables[t].pri[i]
	}
	return cmp.Or(cmp.Compare(p(tx, ix), p(ty, iy)), cmp.Compare(f.m.nodes[ix].primaries, f.m.nodes[iy].primaries)) < 0
}

func (f *flow) expand(s int32) {
	t, i := f.split(s)
	if t >= 0 && f.only >= 0 {
		for _, p := range f.of[i] {
			f.offer(s, i, ref{t, p})
		}
		return
	}
	for _, r := range f.m.nodes[i].reps {
		if t >= 0 && r.t != t || t < 0 && f.m.tables[r.t].pri[i] <= f.m.tables[r.t].plow {
			continue
		}
		f.offer(s, i, r)
	}
}

// offer tries all that could lead a partition in the place of i.
func (f *flow) offer(s, i int32, r ref) {
	t, p := f.m.part(r)
	if p.fixed || !p.lead || p.m[0] != i || f.m.opts.MustOnly && p.oldLed && p.old[0] == i {
		return
	}
	for _, j := range p.m[1:] {
		if !f.m.mayLead(j) {
			continue
		}
		pair := f.pair(r.t, j)
		f.reach(pair, hop{s, r})
		if f.only < 0 && t.pri[j] < t.phi {
			f.reach(j, hop{pair, ref{-1, -1}})
		}
	}
}

func (f *flow) apply(sink int32, why func(from, to int32) string) bool {
	_, last := f.split(sink)
	type change struct {
		r        ref
		from, to int32
	}
	var changes []change // the last first
	at := sink
	for h := f.from[sink]; h.state >= 0; h = f.from[at] {
		if h.r.t >= 0 {
			_, to := f.split(at)
			_, from := f.split(h.state)
			changes = append(changes, change{h.r, from, to})
		}
		at = h.state
	}
	_, first := f.split(at)
	// A partition can be met twice, by its table and by its node: then the path is no use.
	for k, c := range changes {
		if slices.ContainsFunc(changes[:k], func(d change) bool { return d.r == c.r }) {
			return false
		}
	}
	text := why(first, last)
	for _, c := range slices.Backward(changes) {
		f.m.promote(c.r, c.to, text)
		if f.only >= 0 {
			f.of[c.from] = slices.DeleteFunc(f.of[c.from], func(p int32) bool { return p == c.r.p })
			f.of[c.to] = append(f.of[c.to], c.r.p)
		}
	}
	return true
}

// evenTablePrimaries makes the primaries of each table differ by no more than one, as far as
// the replicas are where that is possible.
func (m *model) evenTablePrimaries(f *flow) {
	for ti := range m.tables {
		t := &m.tables[ti]
		if t.Fixed || m.evenPrimaries(t) {
			continue
		}
		f.only = int32(ti)
		f.of = make([][]int32, len(m.nodes))
		for pi := range t.parts {
			if p := &t.parts[pi]; p.lead {
				f.of[p.m[0]] = append(f.of[p.m[0]], int32(pi))
			}
		}
		why := func(a, b int32) string {
			return fmt.Sprintf("table %s has %d primaries on %v and %d on %v", t.Name, t.pri[a], m.name(a), t.pri[b], m.name(b))
		}
		m.drain(f, func() []int32 { return m.pairs(f, t, func(p int32) bool { return p > t.phi }) },
			func(s int32) bool { _, i := f.split(s); return t.pri[i] < t.phi }, why)
		m.drain(f, func() []int32 {
			if len(m.pairs(f, t, func(p int32) bool { return p < t.plow })) == 0 {
				return nil
			}
			return m.pairs(f, t, func(p int32) bool { return p > t.plow })
		}, func(s int32) bool { _, i := f.split(s); return t.pri[i] < t.plow }, why)
	}
	f.only = -1
}

func (m *model) evenPrimaries(t *table) bool {
	return !slices.ContainsFunc(m.lead, func(i int32) bool { return t.pri[i] < t.plow || t.pri[i] > t.phi })
}

// pairs returns the states of a table's nodes whose primaries satisfy ok.
func (m *model) pairs(f *flow, t *table, ok func(int32) bool) (s []int32) {
	for _, i := range m.lead {
		if ok(t.pri[i]) {
			s = append(s, f.pair(f.only, i))
		}
	}
	return s
}

// drain runs the flow while there are sources and a path.
func (m *model) drain(f *flow, sources func() []int32, sink func(int32) bool, why func(from, to int32) string) {
	for s := sources(); len(s) > 0 && f.run(s, sink, why); s = sources() {
	}
}

// evenAllPrimaries makes the primaries of all tables together differ by no more than one,
// without making those of a table differ more.
func (m *model) evenAllPrimaries(f *flow) {
	nodes := func(ok func(n int) bool) (s []int32) {
		for _, i := range m.lead {
			if ok(m.nodes[i].primaries) {
				s = append(s, i)
			}
		}
		return s
	}
	isNode := func(s int32, ok func(n int) bool) bool {
		t, i := f.split(s)
		return t < 0 && ok(m.nodes[i].primaries)
	}
	why := func(a, b int32) string {
		return fmt.Sprintf("%v has %d primaries and %v has %d", m.name(a), m.nodes[a].primaries, m.name(b), m.nodes[b].primaries)
	}
	m.drain(f, func() []int32 { return nodes(func(n int) bool { return n > m.phi }) },
		func(s int32) bool { return isNode(s, func(n int) bool { return n < m.phi }) }, why)
	m.drain(f, func() []int32 {
		if len(nodes(func(n int) bool { return n < m.plow })) == 0 {
			return nil
		}
		return nodes(func(n int) bool { return n > m.plow })
	}, func(s int32) bool { return isNode(s, func(n int) bool { return n < m.plow }) }, why)
}
