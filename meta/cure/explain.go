package cure

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/meta/state"
)

// Explainer returns a function that says why a partition isn't in order, and what is being
// done about it or waited for; nothing if it is.
func (p *Planner) Explainer(v *View) func(g base.Gpid) []string {
	r := &round{p: p, v: v, nodes: make(map[Addr]*Node, len(v.Nodes))}
	for i := range v.Nodes {
		r.nodes[v.Nodes[i].Addr] = &v.Nodes[i]
	}
	return r.explain
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
		switch {
		case m.assign != nil:
			say("it never had a member; %v is asked to become its first primary, for %v", m.assign.node, since(m.assign.first))
		case !slices.ContainsFunc(v.Nodes, func(n Node) bool { return n.Alive }):
			say("it never had a member, and no replica server lives")
		default:
			say("it never had a member; a first primary is being chosen")
		}
		return lines
	}
	members := cfg.AppendMembers(nil)
	dead := slices.DeleteFunc(slices.Clone(members), r.alive)
	if len(dead) == len(members) {
		say("all its members are dead: %s; it goes on with the first that comes back", addrs(dead))
		return lines
	}
	if len(dead) > 0 {
		say("dead: %s", addrs(dead))
	}
	for _, a := range members {
		if r.unfit(a, g) {
			say("%v says that its replica can't be used", a)
		}
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
		say("%v is being given a replica, for %v; it was last seen learning %v ago", a.node, since(a.first), since(a.learnAt))
	}
	for _, a := range m.avoid {
		say("%v was tried and didn't begin to learn; it is left alone for %v", a.node, left(a.until, 0))
	}
	if len(m.adds) > 0 || !m.short {
		return
	}
	free := 0
	var full []Addr
	for i := range r.v.Nodes {
		if n := &r.v.Nodes[i]; n.Alive && !cfg.Has(n.Addr) && !slices.Contains(r.p.banned, n.Addr) {
			if n.Full {
				full = append(full, n.Addr)
				continue
			}
			free++
		}
	}
	if len(full) > 0 {
		say("no disk of %s has room for a new replica", addrs(full))
	}
	switch wait := left(m.shortSince, r.p.opts.ReplaceWait); {
	case r.v.Few != "" && cfg.Members() >= r.p.opts.MinMembers(t.MaxReplicas):
		say("%s", r.v.Few)
	case free == 0:
		say("no other replica server lives that may be given one")
	case cfg.Members() >= r.p.opts.MinMembers(t.MaxReplicas) && wait > 0 && r.mayReturn(cfg):
		say("it is waited for %s to come back, %v more, before another is given a copy", addrs(cfg.LastDrops), wait)
	default:
		say("the replica servers that could be given one have enough to do already")
	}
}

func addrs(l []Addr) string {
	s := make([]string, len(l))
	for i, a := range l {
		s[i] = a.String()
	}
	return strings.Join(s, ", ")
}
