package cure

import (
	"slices"
	"strings"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// round is the state of one call of Round.
type round struct {
	p       *Planner
	v       *View
	nodes   map[Addr]*Node
	pending map[Addr]*pending
	actions []Action
}

// pending is what a node will serve beyond what the state says.
type pending struct {
	primaries, replicas int
	assigns, adds       int
	tables              map[int32]*state.Load
}

// newView returns a round that only looks.
func newView(p *Planner, v *View) *round {
	r := &round{p: p, v: v, nodes: make(map[Addr]*Node, len(v.Nodes)), pending: make(map[Addr]*pending, len(v.Nodes))}
	for i := range v.Nodes {
		r.nodes[v.Nodes[i].Addr] = &v.Nodes[i]
	}
	return r
}

func newRound(p *Planner, v *View) *round {
	r := newView(p, v)
	clear(p.asks)
	for g, m := range p.parts {
		if m.assign == nil && len(m.adds) == 0 && m.remove == nil && !m.changing {
			continue
		}
		_, cfg, ok := v.State.Config(g)
		if !ok {
			continue
		}
		if m.assign != nil && cfg.Members() == 0 {
			r.count(g, m.assign.node, 1, 1).assigns++
		}
		for _, t := range m.adds {
			if !cfg.Has(t.node) {
				r.count(g, t.node, 0, 1).adds++
			}
		}
		if m.remove != nil && cfg.Has(m.remove.node) {
			r.count(g, m.remove.node, 0, -1)
		}
		if m.changing && m.leads != cfg.Primary {
			r.count(g, m.leads, 1, 0)
			r.count(g, cfg.Primary, -1, 0)
		}
	}
	return r
}

func (r *round) alive(a Addr) bool {
	n := r.nodes[a]
	return n != nil && n.Alive
}

// stays tells whether a lives, and not only for a moment yet.
func (r *round) stays(a Addr) bool {
	n := r.nodes[a]
	return n != nil && n.Alive && !n.Stopping
}

// count adds to what a will serve.
func (r *round) count(g base.Gpid, a Addr, primaries, replicas int) *pending {
	n := r.pending[a]
	if n == nil {
		n = &pending{tables: map[int32]*state.Load{}}
		r.pending[a] = n
	}
	t := n.tables[g.AppID]
	if t == nil {
		t = &state.Load{}
		n.tables[g.AppID] = t
	}
	n.primaries += primaries
	n.replicas += replicas
	t.Primaries += primaries
	t.Replicas += replicas
	return n
}

// tooThin tells that members should be waited for that died together: those that live are
// too few to accept writes. Those that end soon count as dead.
func (r *round) tooThin(m *memory, t *state.Table, cfg *state.Config) bool {
	if !r.thin(t, cfg) {
		m.thin = false
		return false
	}
	if !slices.ContainsFunc(cfg.AppendMembers(nil), r.stays) {
		// The wait begins with the first that is back.
		m.thin = false
		return slices.ContainsFunc(cfg.AppendMembers(nil), r.alive)
	}
	if !m.thin {
		m.thin, m.thinSince = true, r.v.Now
	}
	return r.v.Now-m.thinSince < r.p.opts.ThinWait
}

// thin tells that several members don't stay, and too few do.
func (r *round) thin(t *state.Table, cfg *state.Config) bool {
	stay := 0
	for _, a := range cfg.AppendMembers(nil) {
		if r.stays(a) {
			stay++
		}
	}
	return cfg.Members()-stay >= 2 && stay < r.p.opts.MinMembers(t.MaxReplicas)
}

// unfit tells that a member said that its replica is of no use.
func (r *round) unfit(a Addr, g base.Gpid) bool { return r.v.Unfit != nil && r.v.Unfit(a, g) }

func (r *round) propose(g base.Gpid, typ metaadmin.ConfigType, target Addr, t *try, why string) {
	r.actions = append(r.actions, Action{Gpid: g, Type: typ, Target: target, Node: t.node, Again: t.count > 1, Why: why})
}

// change asks for a new configuration with the next ballot.
func (r *round) change(g base.Gpid, m *memory, cfg state.Config, dead []Addr, why string) {
	cfg.Ballot++
	m.changing, m.leads = true, cfg.Primary
	m.step = nil
	r.actions = append(r.actions, Action{Gpid: g, Change: &state.Change{Gpid: g, Config: cfg}, Dead: dead, Why: why})
}

// due tells whether a proposal is to be sent (again), and notes that it is.
func (r *round) due(t *try) bool {
	if t.count > 0 && r.v.Now-t.last < r.p.opts.Resend {
		return false
	}
	t.last = r.v.Now
	t.count++
	return true
}

func (r *round) newTry(a Addr) *try {
	return &try{node: a, first: r.v.Now, last: r.v.Now, learnAt: r.v.Now}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func addrs(l []Addr) string {
	s := make([]string, len(l))
	for i, a := range l {
		s[i] = a.String()
	}
	return strings.Join(s, ", ")
}
