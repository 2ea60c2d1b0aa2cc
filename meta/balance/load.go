package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

const (
	// quiet is the load, in capacity units a second, that a server of a cluster must carry on average before load is a reason
	// to move anything.
	quiet = 100
	// promoteGain and copyGain are the part of a server's load by which it must come closer to another one, for a change of
	// primaries and for copies: less isn't worth it.
	promoteGain, copyGain = 0.01, 0.02
	// clear is the part of a partition's load that must be gained by moving it. What is measured is never still: less may be noise.
	clear = 0.2
)

// A shift is a change of one partition that takes load from a node.
type shift struct {
	r        ref
	from, to int32
}

// evenLoad moves load away from nodes that carry too much. Counts and roles stay as even as they are. It begins when a node is
// more than the tolerance above the mean, and goes on to half of that, so that what is just below the tolerance afterwards
// isn't touched again soon.
func (m *model) evenLoad() {
	o := &m.opts
	if o.LoadTolerance <= 0 || o.LoadMoves <= 0 || o.MustOnly || len(m.stay) < 2 || m.changed() {
		return
	}
	var total float64
	for _, i := range m.stay {
		total += m.nodes[i].load
	}
	mean := total / float64(len(m.stay))
	if mean < quiet {
		return
	}
	order := slices.Clone(m.stay)
	sort := func() {
		slices.SortFunc(order, func(x, y int32) int {
			return cmp.Or(cmp.Compare(m.nodes[y].load, m.nodes[x].load), cmp.Compare(x, y))
		})
	}
	sort()
	if m.nodes[order[0]].load <= mean*(1+o.LoadTolerance) {
		return
	}
	s := loadStage{m: m, mean: mean, left: o.LoadMoves, enough: mean * (1 + o.LoadTolerance/2), full: math.MaxInt64}
	if o.Tolerance > 0 {
		var bytes int64
		for _, i := range m.stay {
			bytes += m.nodes[i].bytes
		}
		s.full = float64(bytes) / float64(len(m.stay)) * (1 + o.Tolerance)
	}
	for s.left > 0 && s.step(order) {
		sort()
	}
}

// changed tells whether a partition isn't as it was. Load is looked at in a placement that is in order otherwise: what it
// moves is known then to be moved for its sake alone.
func (m *model) changed() bool {
	for ti := range m.tables {
		for pi := range m.tables[ti].parts {
			if p := &m.tables[ti].parts[pi]; p.lead != p.oldLed || !slices.Equal(p.m, p.old) {
				return true
			}
		}
	}
	return false
}

type loadStage struct {
	m      *model
	mean   float64
	enough float64 // load of a node that need not give any
	left   int     // moves
	full   float64 // bytes above which a node has too many
}

// step relieves the first of these nodes, the most loaded ones first, that can be relieved. It reports false if none can.
func (s *loadStage) step(order []int32) bool {
	for _, a := range order {
		if s.m.nodes[a].load <= s.enough {
			return false
		}
		if l := s.promotions(a); l != nil {
			s.make(l, (*model).promote)
			return true
		}
		if s.m.opts.RolesOnly || s.m.opts.PrimariesOnly {
			continue
		}
		if l := s.copies(a, order); l != nil {
			s.make(l, func(m *model, r ref, to int32, why string) {
				k := slices.IndexFunc(l, func(x shift) bool { return x.r == r })
				m.replace(r, l[k].from, to, why)
			})
			return true
		}
	}
	return false
}

func (s *loadStage) make(l []shift, do func(m *model, r ref, to int32, why string)) {
	m := s.m
	a, b := &m.nodes[l[0].from], &m.nodes[l[0].to]
	why := fmt.Sprintf("load: %v carries %.0f units/s, %.0f %% above the mean, and %v %.0f", a.Addr, a.load, (a.load/s.mean-1)*100, b.Addr, b.load)
	for k, x := range l {
		_, p := m.part(x.r)
		p.forLoad = true
		if k > 0 {
			do(m, x.r, x.to, "in exchange, "+why)
		} else {
			do(m, x.r, x.to, why)
		}
	}
	s.left -= len(l)
}

// best remembers the shifts that bring two nodes closest to each other.
type best struct {
	gain   float64
	shifts []shift
}

// offer takes shifts that carry d, of a partition's load, from a node with gap more load than the other one.
func (b *best) offer(d, of, gap float64, x ...shift) {
	// What is gained is how much closer the two come. Of equal gains the one with fewer moves counts.
	if gain := min(d, gap-d); gain < clear*of {
		return
	} else if gain > b.gain || gain == b.gain && len(x) < len(b.shifts) {
		b.gain, b.shifts = gain, slices.Clone(x)
	}
}

// movable tells whether a partition may be moved for load: each is moved once.
func (p *part) movable() bool { return !p.fixed && !p.forLoad }

// promotions finds a partition that another member than a should lead; and one that a leads in exchange, unless a leads more
// than that member anyway.
func (s *loadStage) promotions(a int32) []shift {
	m := s.m
	na := &m.nodes[a]
	if !m.mayLead(a) {
		return nil
	}
	b := best{gain: na.load * promoteGain}
	for _, x := range na.reps {
		tx, px := m.part(x)
		if !px.movable() || !px.lead || px.m[0] != a || px.reads <= b.gain {
			continue
		}
		for _, to := range px.m[1:] {
			nb := &m.nodes[to]
			gap := na.load - nb.load
			if !m.mayLead(to) || gap <= b.gain {
				continue
			}
			if tx.pri[a] > tx.pri[to] && na.primaries > nb.primaries {
				b.offer(px.reads, px.reads, gap, shift{x, a, to})
			}
			if s.left < 2 {
				continue
			}
			for _, y := range nb.reps {
				ty, py := m.part(y)
				if !py.movable() || !py.lead || py.m[0] != to || !py.has(a) || y.t != x.t && !(tx.pri[a] > tx.pri[to] && ty.pri[to] > ty.pri[a]) {
					continue
				}
				b.offer(px.reads-py.reads, px.reads, gap, shift{x, a, to}, shift{y, to, a})
			}
		}
	}
	return b.shifts
}

// copies finds a replica that another node than a should have; and one that a gets in exchange, unless a has more of them anyway.
func (s *loadStage) copies(a int32, order []int32) []shift {
	m := s.m
	na := &m.nodes[a]
	for _, to := range slices.Backward(order) {
		nb := &m.nodes[to]
		gap := na.load - nb.load
		b := best{gain: na.load * copyGain}
		if gap <= b.gain || nb.load >= s.mean {
			return nil
		}
		lead := m.mayLead(a) && m.mayLead(to)
		for _, x := range na.reps {
			tx, px := m.part(x)
			leads := px.lead && px.m[0] == a
			if !px.movable() || px.carried(a) <= b.gain || !m.mayTake(px, to) || leads && !lead || !m.keepsRacks(px, a, to) {
				continue
			}
			spare := tx.rep[a] > tx.rep[to] && len(na.reps) > len(nb.reps)
			if leads {
				spare = spare && tx.pri[a] > tx.pri[to] && na.primaries > nb.primaries
			}
			if spare && s.fits(to, px.bytes) {
				b.offer(px.carried(a), px.carried(a), gap, shift{x, a, to})
			}
			if s.left < 2 {
				continue
			}
			for _, y := range nb.reps {
				if y.t != x.t {
					continue
				}
				_, py := m.part(y)
				if py.movable() && leads == (py.lead && py.m[0] == to) && m.mayTake(py, a) && m.keepsRacks(py, to, a) &&
					s.fits(to, px.bytes-py.bytes) && s.fits(a, py.bytes-px.bytes) {
					b.offer(px.carried(a)-py.carried(to), px.carried(a), gap, shift{x, a, to}, shift{y, to, a})
				}
			}
		}
		if b.shifts != nil {
			return b.shifts
		}
	}
	return nil
}

// fits tells whether a node may get more bytes: load must not make it one that bytes are moved away from.
func (s *loadStage) fits(i int32, more int64) bool {
	return more <= 0 || float64(s.m.nodes[i].bytes+more) <= s.full
}

// carried is the load that a partition puts on one of its members.
func (p *part) carried(i int32) float64 {
	if p.lead && p.m[0] == i {
		return p.reads + p.writes
	}
	return p.writes
}
