package balance

import (
	"math"
	"slices"

	"pegasus/base"
)

// ref is a partition: indexes of a table and a partition.
type ref struct{ t, p int32 }

type node struct {
	Node
	reps      []ref
	primaries int
	bytes     int64
	load      float64
	disks     map[string]int64 // bytes; 1 more a replica, so that empty ones count too
	rack      int              // number of its rack; each unknown rack is one of its own
}

type part struct {
	m, old  []int32 // members as indexes of nodes, the primary first; as they are, and were
	lead    bool    // m[0] is the primary
	oldLed  bool
	fixed   bool
	bytes   int64
	disks   []string // of old
	reads   float64
	writes  float64
	forLoad bool   // it was moved for load
	why     string // of the last copy
	whyPri  string // of the last change of the primary
}

type table struct {
	*Table
	parts    []part
	rep, pri []int32 // by node
	low, hi  int32   // replicas that a node should have
	plow     int32   // primaries
	phi      int32
}

// model is the placement while it is being changed.
type model struct {
	opts   Options
	nodes  []node
	tables []table
	stay   []int32 // nodes that keep replicas
	lead   []int32 // nodes that may have primaries
	racks  int
	// What a node should have of all tables.
	low, hi, plow, phi int
	stuck              []string
}

func newModel(v *View, o Options) *model {
	m := &model{opts: o, nodes: make([]node, len(v.Nodes)), tables: make([]table, len(v.Tables))}
	index := make(map[Addr]int32, len(v.Nodes))
	racks := map[string]int{}
	for i := range v.Nodes {
		n := &m.nodes[i]
		n.Node, n.disks = v.Nodes[i], map[string]int64{}
		index[n.Addr] = int32(i)
		r, known := racks[n.Rack]
		if !known || n.Rack == "" {
			r = m.racks
			m.racks++
			racks[n.Rack] = r
		}
		n.rack = r
		if n.Role != Leaving {
			m.stay = append(m.stay, int32(i))
		}
		if n.Role == Full {
			m.lead = append(m.lead, int32(i))
		}
	}
	for ti := range v.Tables {
		vt, t := &v.Tables[ti], &m.tables[ti]
		t.Table = vt
		t.rep, t.pri = make([]int32, len(m.nodes)), make([]int32, len(m.nodes))
		t.parts = make([]part, len(vt.Parts))
		all := make([]int32, 0, len(vt.Parts)*(vt.Replicas+1))
		for pi := range vt.Parts {
			vp, p := &vt.Parts[pi], &t.parts[pi]
			p.fixed, p.bytes = vp.Fixed || vt.Fixed && !o.MustOnly, vp.Bytes
			p.reads, p.writes = sane(vp.Reads), sane(vp.Writes)
			p.lead = !vp.Orphan
			start := len(all)
			for k, a := range vp.Members {
				i, ok := index[a]
				if !ok {
					p.lead = p.lead && k > 0
					continue
				}
				all = append(all, i)
				if vp.Disks != nil {
					p.disks = append(p.disks, vp.Disks[k])
				}
			}
			p.old = all[start:len(all):len(all)]
			p.m = slices.Clone(p.old)
			p.lead = p.lead && len(p.m) > 0
			p.oldLed = p.lead
			r := ref{int32(ti), int32(pi)}
			for k, i := range p.m {
				m.count(r, p, i, 1)
				m.nodes[i].reps = append(m.nodes[i].reps, r)
				if k == 0 && p.lead {
					m.countPrimary(t, p, i, 1)
				}
			}
		}
	}
	return m
}

// sane takes what a view says of load: what is no load counts as none.
func sane(v float64) float64 {
	if v > 0 && !math.IsInf(v, 1) {
		return v
	}
	return 0
}

func (m *model) count(r ref, p *part, i int32, d int32) {
	n := &m.nodes[i]
	m.tables[r.t].rep[i] += d
	n.bytes += int64(d) * p.bytes
	n.load += float64(d) * p.writes
	if disk, ok := p.diskOn(i); ok {
		n.disks[disk] += int64(d) * (p.bytes + 1)
	}
}

func (m *model) countPrimary(t *table, p *part, i int32, d int32) {
	t.pri[i] += d
	m.nodes[i].primaries += int(d)
	m.nodes[i].load += float64(d) * p.reads
}

// diskOn returns the disk that a replica was on at the beginning.
func (p *part) diskOn(i int32) (string, bool) {
	if p.disks == nil {
		return "", false
	}
	k := slices.Index(p.old, i)
	if k < 0 {
		return "", false
	}
	return p.disks[k], true
}

func (m *model) part(r ref) (*table, *part) {
	t := &m.tables[r.t]
	return t, &t.parts[r.p]
}

func (p *part) has(i int32) bool { return slices.Contains(p.m, i) }

// add makes i a member.
func (m *model) add(r ref, i int32, why string) {
	_, p := m.part(r)
	p.m = append(p.m, i)
	p.why = why
	m.nodes[i].reps = append(m.nodes[i].reps, r)
	m.count(r, p, i, 1)
}

// replace puts to in the place, and the role, of from.
func (m *model) replace(r ref, from, to int32, why string) {
	t, p := m.part(r)
	k := slices.Index(p.m, from)
	p.m[k] = to
	p.why = why
	m.count(r, p, from, -1)
	m.count(r, p, to, 1)
	n := &m.nodes[from]
	last := len(n.reps) - 1
	n.reps[slices.Index(n.reps, r)] = n.reps[last]
	n.reps = n.reps[:last]
	m.nodes[to].reps = append(m.nodes[to].reps, r)
	if k == 0 && p.lead {
		m.countPrimary(t, p, from, -1)
		m.countPrimary(t, p, to, 1)
		p.whyPri = why
	}
}

// promote makes the member to the primary.
func (m *model) promote(r ref, to int32, why string) {
	t, p := m.part(r)
	k := slices.Index(p.m, to)
	if p.lead {
		m.countPrimary(t, p, p.m[0], -1)
	}
	m.countPrimary(t, p, to, 1)
	p.m[0], p.m[k] = p.m[k], p.m[0]
	p.lead, p.whyPri = true, why
}

func (m *model) mayLead(i int32) bool { return m.nodes[i].Role == Full }

// mayTake tells whether i may get a replica of p.
func (m *model) mayTake(p *part, i int32) bool {
	n := &m.nodes[i]
	return n.Role != Leaving && !n.Closed && !p.has(i)
}

// spread counts the racks of p's members, with one of them replaced.
func (m *model) spread(p *part, from, to int32) int {
	n := 0
	for k, i := range p.m {
		if i == from {
			i = to
		}
		r := m.nodes[i].rack
		first := true
		for _, j := range p.m[:k] {
			if j == from {
				j = to
			}
			first = first && m.nodes[j].rack != r
		}
		if first {
			n++
		}
	}
	return n
}

// keepsRacks tells whether p's members are in no fewer racks after a move.
func (m *model) keepsRacks(p *part, from, to int32) bool {
	return m.nodes[from].rack == m.nodes[to].rack || m.spread(p, from, to) >= m.spread(p, -1, -1)
}

func gpid(t *table, p int32) base.Gpid { return base.Gpid{AppID: t.ID, PartitionIndex: p} }

// bounds computes what each node should have.
func (m *model) bounds() {
	var replicas, primaries int
	share := func(total, n int) (low, hi int) {
		if n == 0 {
			return 0, 0
		}
		return total / n, (total + n - 1) / n
	}
	for ti := range m.tables {
		t := &m.tables[ti]
		var r, p int
		for i := range t.parts {
			r += max(len(t.parts[i].m), t.Replicas)
			if len(t.parts[i].m) > 0 {
				p++
			}
		}
		replicas, primaries = replicas+r, primaries+p
		low, hi := share(r, len(m.stay))
		t.low, t.hi = int32(low), int32(hi)
		low, hi = share(p, len(m.lead))
		t.plow, t.phi = int32(low), int32(hi)
	}
	m.low, m.hi = share(replicas, len(m.stay))
	m.plow, m.phi = share(primaries, len(m.lead))
}

// figures describes the placement.
func (m *model) figures() (f Figures) {
	span := func(nodes []int32, of func(i int32) int64) (s Span) {
		for k, i := range nodes {
			v := of(i)
			if k == 0 {
				s = Span{v, v}
			}
			s.Min, s.Max = min(s.Min, v), max(s.Max, v)
		}
		return s
	}
	f.Replicas = span(m.stay, func(i int32) int64 { return int64(len(m.nodes[i].reps)) })
	f.Primaries = span(m.lead, func(i int32) int64 { return int64(m.nodes[i].primaries) })
	f.Bytes = span(m.stay, func(i int32) int64 { return m.nodes[i].bytes })
	f.Load = span(m.stay, func(i int32) int64 { return int64(math.Round(m.nodes[i].load)) })
	for ti := range m.tables {
		t := &m.tables[ti]
		s := span(m.stay, func(i int32) int64 { return int64(t.rep[i]) })
		f.TableReplicas = max(f.TableReplicas, s.Max-s.Min)
		s = span(m.lead, func(i int32) int64 { return int64(t.pri[i]) })
		f.TablePrimaries = max(f.TablePrimaries, s.Max-s.Min)
	}
	return f
}
