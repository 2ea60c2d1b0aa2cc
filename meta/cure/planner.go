package cure

import (
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// Addr names a replica server.
type Addr = base.RPCAddress

// Options configure a Planner.
type Options struct {
	// MinMembers says how many members a partition of a table with max replicas needs to
	// accept writes.
	MinMembers func(max int32) int
	// Resend is how long a proposal may go without effect before it is sent again.
	Resend time.Duration
	// AssignTries is how often a node is asked to become a first primary before another is.
	AssignTries int
	// LearnPatience is how long a node may take to be seen learning before another is
	// chosen, and AvoidFor how long it is then avoided for that partition.
	LearnPatience, AvoidFor time.Duration
	// ReplaceWait is how long a partition that can still be written waits for a lost
	// member to come back before a new copy is begun elsewhere.
	ReplaceWait time.Duration
	// ConfirmWait is how long a restarted primary may take to confirm its role.
	ConfirmWait time.Duration
	// ThinWait is how long a partition of which several members are dead at once waits
	// for others of them, before it goes on with fewer than may be written: who comes back
	// first isn't always who should be left alone with the data.
	ThinWait time.Duration
	// StepWait is how long a proposed step may take; then the rest is given up.
	StepWait time.Duration
	// MaxAssigns and MaxAdds bound the proposals to one node that are out at a time.
	MaxAssigns, MaxAdds int
}

// Defaults returns Options for servers with beacons every second.
func Defaults() Options {
	return Options{
		MinMembers:    func(max int32) int { return MinMembers(max, 0) },
		Resend:        time.Second,
		AssignTries:   3,
		LearnPatience: 15 * time.Second,
		AvoidFor:      time.Minute,
		ReplaceWait:   30 * time.Second,
		ConfirmWait:   3 * time.Second,
		ThinWait:      3 * time.Second,
		StepWait:      10 * time.Minute,
		MaxAssigns:    256,
		MaxAdds:       32,
	}
}

// Tune changes what an administrator may change while the planner works: ReplaceWait,
// MaxAdds, and which nodes get no new replicas (banned, not to be changed afterwards).
func (p *Planner) Tune(replaceWait time.Duration, maxAdds int, banned []Addr) {
	p.opts.ReplaceWait, p.opts.MaxAdds, p.banned = replaceWait, maxAdds, banned
}

// MinMembers returns how many members a partition needs to accept writes: configured if
// that isn't 0, else 1 of up to two replicas and a majority of more.
func MinMembers(max int32, configured int) int {
	switch {
	case configured > 0:
		return configured
	case max <= 2:
		return 1
	}
	return int(max)/2 + 1
}

// Node is a replica server in a View.
type Node struct {
	Addr  Addr
	Alive bool
	// Leaving: it is being taken out and gets nothing new; NoPrimaries: it shall not lead.
	// Both hold as long as there is another choice.
	Leaving, NoPrimaries bool
	Rack                 string // "": not known
	// Full: none of its disks takes a new replica.
	Full bool
	// Reported tells that the node said which replicas it stores, since it lives.
	Reported bool
}

// Replica is what a node said about a stored replica.
type Replica struct {
	Ballot, Committed int64
}

// View is the cluster as a round sees it.
type View struct {
	Now   time.Duration // since some fixed moment
	State *state.State
	Nodes []Node // by ascending address
	// Stored returns what a node said about its replica of a partition; ok is false if it
	// has none, or one that is of no use.
	Stored func(a Addr, g base.Gpid) (r Replica, ok bool)
	// Few, unless it is "", says why only partitions that can't be written are given copies.
	Few string
	// Unfit tells that a member said that its replica can't be used. nil: none did.
	Unfit func(a Addr, g base.Gpid) bool
}

// Action is one thing to do: a change to persist if Change is set, else a proposal to
// send.
type Action struct {
	Gpid base.Gpid

	// A proposal: Target is told Type about Node, with the partition's configuration.
	Type         metaadmin.ConfigType
	Target, Node Addr
	Again        bool // it was proposed before

	// A change that rests on the Dead being dead. Done must be called when its outcome is
	// known.
	Change *state.Change
	Dead   []Addr

	Why string
}

// Planner remembers what was proposed. Make it with New.
type Planner struct {
	opts   Options
	parts  map[base.Gpid]*memory
	banned []Addr // get no new replicas
}

// memory is what a Planner knows of a partition that isn't in order.
type memory struct {
	changing   bool
	leads      Addr // the primary after the change
	assign     *try
	prefer     Addr // whom an administrator wants as first primary
	adds       []*try
	remove     *try
	avoid      []avoided
	thin       bool // several members are dead, and too few would be left
	thinSince  time.Duration
	short      bool
	shortSince time.Duration
	// The primary was restarted while the ballot was that.
	unconfirmed       bool
	unconfirmedBallot int64
	unconfirmedSince  time.Duration
	steps             []Step
	step              *try // of steps[0], if it is a proposal
}

// try is a proposal that is out.
type try struct {
	node    Addr
	first   time.Duration
	last    time.Duration
	count   int
	learnAt time.Duration // when it was last seen learning, or first
}

type avoided struct {
	node  Addr
	until time.Duration
}

// New returns a Planner without memory.
func New(opts Options) *Planner { return &Planner{opts: opts, parts: map[base.Gpid]*memory{}} }

func (p *Planner) memory(g base.Gpid) *memory {
	m := p.parts[g]
	if m == nil {
		m = &memory{}
		p.parts[g] = m
	}
	return m
}

// Done tells that a change of g was carried out or has failed for good.
func (p *Planner) Done(g base.Gpid) {
	if m := p.parts[g]; m != nil {
		m.changing = false
	}
}

// Learning tells that a node says it is learning g.
func (p *Planner) Learning(now time.Duration, g base.Gpid, a Addr) {
	m := p.parts[g]
	if m == nil {
		return
	}
	for _, t := range m.adds {
		if t.node == a {
			t.learnAt = now
		}
	}
	if m.step != nil && m.step.node == a {
		m.step.learnAt = now
	}
}

// Restarted tells that the process of g's primary was replaced, while the configuration
// had that ballot.
func (p *Planner) Restarted(now time.Duration, g base.Gpid, ballot int64) {
	m := p.memory(g)
	m.unconfirmed, m.unconfirmedBallot, m.unconfirmedSince = true, ballot, now
}

// Round looks at some partitions, in that order. It returns what to do, and which of them
// need not be looked at again until something happens to them.
func (p *Planner) Round(v *View, look []base.Gpid) (actions []Action, fine []base.Gpid) {
	r := newRound(p, v)
	for _, g := range look {
		t, cfg, ok := v.State.Config(g)
		if !ok {
			delete(p.parts, g)
			fine = append(fine, g)
			continue
		}
		if r.look(g, t, &cfg) {
			delete(p.parts, g)
			fine = append(fine, g)
		}
	}
	return r.actions, fine
}

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

func newRound(p *Planner, v *View) *round {
	r := &round{p: p, v: v, nodes: make(map[Addr]*Node, len(v.Nodes)), pending: make(map[Addr]*pending, len(v.Nodes))}
	for i := range v.Nodes {
		r.nodes[v.Nodes[i].Addr] = &v.Nodes[i]
	}
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

// look deals with one partition. It returns true if the partition is in order.
func (r *round) look(g base.Gpid, t *state.Table, cfg *state.Config) (fine bool) {
	m := r.p.memory(g)
	if m.changing {
		return false
	}
	if cfg.Members() == 0 {
		r.assignFirst(g, m)
		return false
	}
	m.assign = nil
	if m.unconfirmed && m.unconfirmedBallot != cfg.Ballot {
		m.unconfirmed = false
	}
	if r.tooThin(m, t, cfg) {
		return false
	}
	if !r.alive(cfg.Primary) {
		r.replacePrimary(g, m, cfg)
		return false
	}
	if m.unconfirmed && r.v.Now-m.unconfirmedSince >= r.p.opts.ConfirmWait && r.movePrimary(g, m, cfg, 0, "the primary was restarted and doesn't confirm its role") {
		return false
	}
	if r.dropDead(g, m, cfg) {
		return false
	}
	r.settle(m, cfg)
	if len(m.steps) > 0 && r.doSteps(g, m, cfg) {
		return false
	}
	switch n := cfg.Members(); {
	case n > int(t.MaxReplicas):
		r.removeOne(g, m, cfg)
		return false
	case n < int(t.MaxReplicas):
		r.addMissing(g, m, t, cfg)
		return false
	}
	return !m.unconfirmed && len(m.steps) == 0
}

// tooThin tells that members should be waited for that died together: those that live are
// too few to accept writes.
func (r *round) tooThin(m *memory, t *state.Table, cfg *state.Config) bool {
	alive := 0
	for _, a := range cfg.AppendMembers(nil) {
		if r.alive(a) {
			alive++
		}
	}
	if cfg.Members()-alive < 2 || alive >= r.p.opts.MinMembers(t.MaxReplicas) {
		m.thin = false
		return false
	}
	if alive == 0 {
		// The wait begins with the first that is back.
		m.thin = false
		return false
	}
	if !m.thin {
		m.thin, m.thinSince = true, r.v.Now
	}
	return r.v.Now-m.thinSince < r.p.opts.ThinWait
}

// unfit tells that a member said that its replica is of no use.
func (r *round) unfit(a Addr, g base.Gpid) bool { return r.v.Unfit != nil && r.v.Unfit(a, g) }

// settle forgets proposals that have had their effect or can't have it any more.
func (r *round) settle(m *memory, cfg *state.Config) {
	m.adds = slices.DeleteFunc(m.adds, func(t *try) bool { return cfg.Has(t.node) || !r.alive(t.node) })
	if m.remove != nil && !slices.Contains(cfg.Secondaries, m.remove.node) {
		m.remove = nil
	}
	m.avoid = slices.DeleteFunc(m.avoid, func(a avoided) bool { return a.until <= r.v.Now })
}

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
