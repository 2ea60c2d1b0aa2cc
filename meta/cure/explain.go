package cure

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/meta/state"
)

// Explainer returns a function that says what is being done about a partition that isn't in order,
// or waited for. What clients can do with it meanwhile is judged elsewhere, see Condition.
func (p *Planner) Explainer(v *View) func(g base.Gpid) []string {
	return newView(p, v).explain
}

// Condition is what the planner alone knows of a partition, and others must know who judge it.
type Condition struct {
	// GaveUp: the only member said, at this ballot, that it can't be used.
	GaveUp bool
	// Below are living members that lack what is known to be committed.
	Below []Addr
	// Unconfirmed: the primary was restarted and hasn't confirmed its role.
	Unconfirmed bool
	// Copies are living servers that are no members and have a replica that can be gone on with.
	// They are looked for only if no member is known to be usable.
	Copies []Addr
	// AllFull: every living server has as many replicas as it can hold. It is looked for only if
	// there is no member.
	AllFull bool
	// Making says how the first replica is being made, "" if it isn't, or that takes no time.
	Making string
}

// Conditions returns a function that tells the Condition of a partition with that configuration.
func (p *Planner) Conditions(v *View) func(g base.Gpid, cfg *state.Config) Condition {
	r := newView(p, v)
	return func(g base.Gpid, cfg *state.Config) (c Condition) {
		if m := p.parts[g]; m != nil {
			c.Below = m.below
			c.Unconfirmed = m.unconfirmed && m.unconfirmedBallot == cfg.Ballot
		}
		if cfg.Members() == 0 {
			c.AllFull = len(v.Nodes) > 0 && !slices.ContainsFunc(v.Nodes, func(n Node) bool { return n.Alive && !r.atCapacity(n.Addr) })
			if v.Seed != nil {
				c.Making = v.Seed(g).What
			}
			return c
		}
		c.GaveUp = r.gaveUp(g, cfg)
		usable := func(a Addr) bool { return r.alive(a) && !r.unfit(a, g) && !slices.Contains(c.Below, a) }
		if !c.GaveUp && slices.ContainsFunc(cfg.AppendMembers(nil), usable) {
			return c
		}
		for i := range v.Nodes {
			if _, ok := r.holds(v.Nodes[i].Addr, g, cfg); ok && v.Nodes[i].Alive {
				c.Copies = append(c.Copies, v.Nodes[i].Addr)
			}
		}
		return c
	}
}

func (r *round) explain(g base.Gpid) (lines []string) {
	v, p := r.v, r.p
	t, cfg, ok := v.State.Config(g)
	if !ok {
		return nil
	}
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	m := p.parts[g]
	if m == nil {
		m = &memory{}
	}
	since := func(at time.Duration) time.Duration { return (v.Now - at).Round(100 * time.Millisecond) }
	left := func(at, wait time.Duration) time.Duration {
		return max(0, at+wait-v.Now).Round(100 * time.Millisecond)
	}
	if m.changing {
		say("a change of its configuration is being committed")
	}
	if cfg.Members() == 0 {
		if v.Seed != nil {
			if what := v.Seed(g).What; what != "" {
				say("%s", what)
			}
		}
		if m.assign != nil {
			say("%v is asked to become its first primary, for %v", m.assign.node, since(m.assign.first))
		}
		return lines
	}
	members := cfg.AppendMembers(nil)
	dead := slices.DeleteFunc(slices.Clone(members), r.alive)
	if len(dead) == len(members) {
		r.explainCopies(g, say)
		return lines
	}
	if ending := slices.DeleteFunc(slices.Clone(members), func(a Addr) bool { return !r.alive(a) || r.stays(a) }); len(ending) > 0 {
		say("about to end: %s", addrs(ending))
	}
	if r.lost(g, m, &cfg) {
		r.explainCopies(g, say)
		return lines
	}
	for _, a := range m.below {
		say("%v lacks what is known to be committed: it is damaged, and doesn't become primary", a)
	}
	if m.thin {
		say("too few members live to accept writes; others that died with them are waited for, %v more", left(m.thinSince, p.opts.ThinWait))
	}
	if m.unconfirmed && m.unconfirmedBallot == cfg.Ballot {
		say("the primary %v was restarted and hasn't confirmed its role; another one takes over in %v", cfg.Primary, left(m.unconfirmedSince, p.opts.ConfirmWait))
	}
	for i, s := range m.steps {
		what := "then"
		if i == 0 {
			what = "next"
		}
		say("%s: %v of %v (%s)", what, strings.TrimPrefix(s.Type.String(), "CT_"), s.Node, s.why())
	}
	if n := cfg.Members(); n < int(t.MaxReplicas) {
		say("it has %d of %d replicas", n, t.MaxReplicas)
		r.explainAdding(m, t, &cfg, say, since, left)
	} else if n > int(t.MaxReplicas) {
		say("it has %d replicas and should have %d", n, t.MaxReplicas)
		if m.remove != nil {
			say("%v is asked to remove %v, for %v", cfg.Primary, m.remove.node, since(m.remove.first))
		}
	}
	return lines
}

func (r *round) explainAdding(m *memory, t *state.Table, cfg *state.Config, say func(string, ...any), since func(time.Duration) time.Duration, left func(at, wait time.Duration) time.Duration) {
	for _, a := range m.adds {
		what := "begins with nothing"
		if a.holds {
			what = "came back with data"
		}
		say("%v is being given a replica, for %v; it %s, and was last seen learning %v ago", a.node, since(a.first), what, since(a.learnAt))
	}
	for _, a := range m.avoid {
		say("%v was tried and didn't begin to learn; it is left alone for %v", a.node, left(a.until, 0))
	}
	if len(m.adds) > 0 || !m.short {
		return
	}
	free := 0
	var full, atMax []Addr
	for i := range r.v.Nodes {
		if n := &r.v.Nodes[i]; n.Alive && !cfg.Has(n.Addr) && !slices.Contains(r.p.banned, n.Addr) {
			if n.Full {
				full = append(full, n.Addr)
				continue
			}
			if r.atCapacity(n.Addr) {
				atMax = append(atMax, n.Addr)
				continue
			}
			free++
		}
	}
	if len(full) > 0 {
		say("no disk of %s has room for a new replica", addrs(full))
	}
	if len(atMax) > 0 {
		say("%s: as many replicas as there are descriptors for; raise the limit of open files there, or add servers", addrs(atMax))
	}
	switch wait := left(m.shortSince, r.p.opts.ReplaceWait); {
	case r.v.BelowThreshold != "" && cfg.Members() >= r.p.opts.MinMembers(t.MaxReplicas):
		say("%s", r.v.BelowThreshold)
	case cfg.Members() < r.p.opts.MinMembers(t.MaxReplicas) && r.mayHold(m, cfg):
		say("a server that lives hasn't said yet what it has; it is waited for, %v at most", left(m.shortSince, r.p.opts.ReportWait))
	case free == 0:
		say("no other replica server lives that may be given one")
	case cfg.Members() >= r.p.opts.MinMembers(t.MaxReplicas) && wait > 0 && len(r.returning(cfg)) > 0:
		say("it is waited for %s to come back, %v more, before another is given a copy", addrs(r.returning(cfg)), wait)
	default:
		say("the replica servers that could be given one have enough to do already")
	}
}

// explainCopies lists the replicas that are known of a partition that serves nothing.
func (r *round) explainCopies(g base.Gpid, say func(string, ...any)) {
	for i := range r.v.Nodes {
		a := r.v.Nodes[i].Addr
		c, ok := r.copyOf(a, g)
		if !ok || !r.alive(a) || !c.Usable() {
			continue
		}
		what := "a replica"
		if c.Damaged {
			what = "a damaged replica"
		}
		say("%v has %s of ballot %d up to decree %d", a, what, c.Member, c.Prepared)
	}
}
