package cure

import (
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// Addr names a replica server.
type Addr = base.RPCAddress

// Options configure a Planner.
type Options struct {
	// MinMembers says how many members a partition of a table with so many replicas needs to
	// accept writes.
	MinMembers func(replicas int32) int
	// Resend is how long a proposal may go without effect before it is sent again.
	Resend time.Duration
	// AssignTries is how often a node is asked to become a first primary before another is.
	AssignTries int
	// LearnTimeout is how long a node may take to be seen learning before another is
	// chosen, and AvoidFor how long it is then avoided for that partition.
	LearnTimeout, AvoidFor time.Duration
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
	// AskWait is how long those who may become primary may take to say what they have, and
	// AskAgain for how long their answers count.
	AskWait, AskAgain time.Duration
	// ReportWait is how long a partition that can't be written waits for a living node to say
	// what it stores, before a copy is begun on one that has nothing.
	ReportWait time.Duration
	// MaxAssigns and MaxAdds bound the proposals to one node that are out at a time.
	MaxAssigns, MaxAdds int
}

// Defaults returns Options for servers with beacons every second.
func Defaults() Options {
	return Options{
		MinMembers:   func(replicas int32) int { return base.MinMembers(replicas, 0) },
		Resend:       time.Second,
		AssignTries:  3,
		LearnTimeout: 15 * time.Second,
		AvoidFor:     time.Minute,
		ReplaceWait:  30 * time.Second,
		ConfirmWait:  3 * time.Second,
		ThinWait:     3 * time.Second,
		StepWait:     10 * time.Minute,
		AskWait:      askWait,
		AskAgain:     askAgain,
		ReportWait:   3 * time.Second,
		MaxAssigns:   256,
		MaxAdds:      32,
	}
}

// Tune changes what an administrator may change while the planner works: ReplaceWait,
// MaxAdds, and which nodes get no new replicas (banned, not to be changed afterwards).
func (p *Planner) Tune(replaceWait time.Duration, maxAdds int, banned []Addr) {
	p.opts.ReplaceWait, p.opts.MaxAdds, p.banned = replaceWait, maxAdds, banned
}

// Gone says that an administrator gave up a dead server: nobody waits for it to come back. It counts as
// any other if it does.
func (p *Planner) Gone(a Addr) {
	if p.gone == nil {
		p.gone = map[Addr]struct{}{}
	}
	p.gone[a] = struct{}{}
}

// Node is a replica server in a View.
type Node struct {
	Addr  Addr
	Alive bool
	// Stopping: its process ends soon. It gets nothing, and what it leads goes to others.
	Stopping bool
	// Leaving: it is being taken out and gets nothing new; NoPrimaries: it shall not lead.
	// Both hold as long as there is another choice.
	Leaving, NoPrimaries bool
	Rack                 string // "": not known
	// Full: none of its disks takes a new replica.
	Full bool
	// MaxReplicas is how many replicas it can hold; not set: it didn't say.
	MaxReplicas base.Opt[int32]
	// Reported tells that the node said which replicas it stores, since it lives.
	Reported bool
}

// View is the cluster as a round sees it.
type View struct {
	Now   time.Duration // since some fixed moment
	State *state.State
	Nodes []Node // by ascending address
	// Copy returns what a node said last of its replica of a partition, also a member; ok is
	// false if it has none, or one that it was told to remove.
	Copy func(a Addr, g base.Gpid) (r Replica, ok bool)
	// Claim returns what a node answered when it was asked for its replica, and when the
	// question was sent. nil: nobody can be asked.
	Claim func(a Addr, g base.Gpid) (r Replica, at time.Duration, ok bool)
	// Known returns the highest decree that a member said is committed, 0 if none did.
	Known func(g base.Gpid) int64
	// GaveUp returns the last member of a partition that said of itself that it can't be used,
	// and the ballot of that configuration.
	GaveUp func(g base.Gpid) (a Addr, ballot int64)
	// Few, unless it is "", says why only partitions that can't be written are given copies.
	BelowThreshold string
	// Unfit tells that a member said that its replica can't be used. nil: none did.
	Unfit func(a Addr, g base.Gpid) bool
	// Seed tells of a partition whose first replica is made of something, which takes its time: a
	// backup. nil: there is none.
	Seed func(g base.Gpid) Seed
}

// Seed is who makes the first replica of a partition.
type Seed struct {
	// By is who says that it is at it, 0 if nobody does. Nobody else is asked.
	By Addr
	// Wait: nobody is to be asked for the time being.
	Wait bool
	// What says in words what is going on.
	What string
}

// seed tells who makes the first replica of a partition of something. Who is dead is at nothing.
func (v *View) seed(g base.Gpid, alive func(Addr) bool) (s Seed) {
	if v.Seed == nil {
		return s
	}
	if s = v.Seed(g); s.By != 0 && !alive(s.By) {
		s.By = 0
	}
	return s
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
	// First, if set, is a change to persist before Change, in the same command.
	First *state.Change
	// Loss: what Change leaves behind is given up for good.
	Loss bool

	Why string
}

// Planner remembers what was proposed. Make it with New.
type Planner struct {
	opts   Options
	parts  map[base.Gpid]*memory
	banned []Addr            // get no new replicas
	gone   map[Addr]struct{} // won't come back, as an administrator says
	asks   map[Addr]struct{}
	gaveUp map[base.Gpid]string // why the last steps of partitions were dropped
}

// memory is what a Planner knows of a partition that isn't in order.
type memory struct {
	changing   bool
	leads      Addr // the primary after the change
	assign     *try
	prefer     Addr // whom an administrator wants as first primary
	adds       []*try
	cancels    []*try // those whose copy isn't wanted any more
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
	// Members are asked what they have, since askedAt, at that ballot.
	asking      bool
	askedBallot int64
	askedAt     time.Duration
	below       []Addr // living members that lack what is known to be committed
	accept      Addr   // whose data an administrator wants to go on with
}

// try is a proposal that is out.
type try struct {
	node    Addr
	first   time.Duration
	last    time.Duration
	count   int
	learnAt time.Duration // when it was last seen learning, or first
	holds   bool          // it had data when it was chosen
	why     string
}

type avoided struct {
	node  Addr
	until time.Duration
}

// New returns a Planner without memory.
func New(opts Options) *Planner {
	return &Planner{opts: opts, parts: map[base.Gpid]*memory{}, asks: map[Addr]struct{}{}, gaveUp: map[base.Gpid]string{}}
}

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
