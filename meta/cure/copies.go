package cure

import (
	"cmp"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// Replica is what a node said of its replica of a partition.
type Replica struct {
	Ballot int64 // the newest that it knows
	// Member is the newest ballot up to which it has what a member had; 0: it never was a
	// member, or the node didn't say.
	Member              int64
	Prepared, Committed int64
	// Logged is the last decree that the log of a damaged one tells of, also from behind the damage.
	Logged int64
	// Damaged: it can't be used as it is. If Member isn't 0 then what is before the damage can
	// be, once somebody accepts that the rest is lost.
	Damaged bool
	Learner bool
}

// more orders replicas by how much they have: by ballot, then by decree.
func more(x, y Replica) int {
	return cmp.Or(cmp.Compare(x.Member, y.Member), cmp.Compare(x.Prepared, y.Prepared), cmp.Compare(x.Committed, y.Committed), cmp.Compare(x.Ballot, y.Ballot))
}

// Usable tells whether a partition may begin anew with r, if its other data is given up.
func (r Replica) Usable() bool { return !r.Damaged || r.Member > 0 }

func (r *round) copyOf(a Addr, g base.Gpid) (Replica, bool) {
	if r.v.Copy == nil {
		return Replica{}, false
	}
	return r.v.Copy(a, g)
}

// holds returns the replica of a node that is no member, if a learner can begin with it.
func (r *round) holds(a Addr, g base.Gpid, cfg *state.Config) (Replica, bool) {
	if cfg.Has(a) {
		return Replica{}, false
	}
	c, ok := r.copyOf(a, g)
	return c, ok && c.Usable()
}

func (r *round) known(g base.Gpid) int64 {
	if r.v.Known == nil {
		return 0
	}
	return r.v.Known(g)
}

// hearing has members asked what they have, before one of them is given the lead. It reports
// true while their answers are waited for, which is for AskWait at most: one that doesn't
// answer is judged by nothing.
func (r *round) hearing(g base.Gpid, m *memory, cfg *state.Config, of []Addr) bool {
	if r.v.Claim == nil {
		return false
	}
	if !m.asking || m.askedBallot != cfg.Ballot || r.v.Now-m.askedAt > r.p.opts.AskAgain {
		m.asking, m.askedBallot, m.askedAt = true, cfg.Ballot, r.v.Now
	}
	waits := false
	for _, a := range of {
		if _, at, ok := r.v.Claim(a, g); (!ok || at < m.askedAt) && r.v.Now-m.askedAt < r.p.opts.AskWait {
			r.p.asks[a] = struct{}{}
			waits = true
		}
	}
	return waits
}

// claim returns what a said when it was asked.
func (r *round) claim(a Addr, g base.Gpid, m *memory) (Replica, bool) {
	if r.v.Claim == nil || !m.asking {
		return Replica{}, false
	}
	c, at, ok := r.v.Claim(a, g)
	return c, ok && at >= m.askedAt
}

// floor returns a decree that all sound members hold: the highest that is known to be
// committed, by what was told before, or by what the nodes in of, who are members, said now.
// The primary must be dead: what it still commits could be in one answer and not in another
// that was given before.
func (r *round) floor(g base.Gpid, m *memory, of []Addr) int64 {
	d := r.known(g)
	for _, a := range of {
		if c, ok := r.claim(a, g, m); ok && !c.Damaged {
			d = max(d, c.Committed)
		}
	}
	return d
}

// behind tells that a said that it lacks what is committed, or has nothing of use. A member
// that does so is damaged.
func (r *round) behind(a Addr, g base.Gpid, m *memory, floor int64) bool {
	c, ok := r.claim(a, g, m)
	return ok && (c.Damaged || c.Prepared < floor)
}

// gaveUp tells that the only member said, at this ballot, that it can't be used.
func (r *round) gaveUp(g base.Gpid, cfg *state.Config) bool {
	if r.v.GaveUp == nil || len(cfg.Secondaries) > 0 {
		return false
	}
	a, ballot := r.v.GaveUp(g)
	return a != 0 && a == cfg.Primary && ballot == cfg.Ballot
}

// without deals with a partition of which no member can be used. It reports false if some can.
func (r *round) without(g base.Gpid, m *memory, t *state.Table, cfg *state.Config) bool {
	gone := r.gaveUp(g, cfg)
	usable := func(a Addr) bool { return r.alive(a) && !r.unfit(a, g) && !r.below(a, g, m) }
	if a := m.accept; a != 0 {
		m.accept = 0 // it was said of what there is now, and not of what may come
		if (gone || !slices.ContainsFunc(cfg.AppendMembers(nil), usable)) && r.beginWith(g, m, cfg, a, "an administrator accepts that data is lost", true) {
			return true
		}
	}
	if !gone {
		return false
	}
	if a := r.complete(g, t, cfg); a != 0 {
		return r.beginWith(g, m, cfg, a, "the last member "+cfg.Primary.String()+" can't be used, and this server has all that was acknowledged", false)
	}
	return true
}

// below is behind with the floor that was found when the partition was looked at last.
func (r *round) below(a Addr, g base.Gpid, m *memory) bool { return slices.Contains(m.below, a) }

// complete returns the living node that isn't a member any more and provably has all that
// was acknowledged; 0 if there is none. See the package's comment for the rule.
func (r *round) complete(g base.Gpid, t *state.Table, cfg *state.Config) (best Addr) {
	floor := max(cfg.LastCommitted, r.known(g))
	for i := range r.v.Nodes {
		if c, ok := r.copyOf(r.v.Nodes[i].Addr, g); ok {
			floor = max(floor, c.Committed)
		}
	}
	// What the damaged one led alone was committed once it was in its log, and may have been read.
	// It is asked itself: what a leader heard of it before is forgotten when another one is elected.
	last, told := r.copyOf(cfg.Primary, g)
	if !told {
		return 0
	}
	if last.Ballot >= cfg.Ballot {
		floor = max(floor, last.Logged)
	}
	n := r.p.opts.MinMembers(t.MaxReplicas) - cfg.Members()
	var of Replica
	for _, a := range cfg.LastDrops[max(0, len(cfg.LastDrops)-max(0, n)):] {
		c, ok := r.copyOf(a, g)
		if ok && r.alive(a) && !c.Damaged && c.Member > 0 && c.Prepared >= floor && (best == 0 || more(c, of) > 0) {
			best, of = a, c
		}
	}
	return best
}

// beginWith makes a, which has a copy, the only member. Of the members that leave none may
// serve: each is dead or has said that it can't be used.
func (r *round) beginWith(g base.Gpid, m *memory, cfg *state.Config, a Addr, why string, loss bool) bool {
	if c, ok := r.copyOf(a, g); !ok || !c.Usable() || !r.alive(a) {
		return false
	}
	dead := slices.DeleteFunc(cfg.AppendMembers(nil), r.alive)
	next := *cfg
	var first *state.Change
	if !cfg.Has(a) {
		next.Ballot++
		next.Secondaries = append(slices.Clone(cfg.Secondaries), a)
		first = &state.Change{Gpid: g, Config: next, Adds: a}
	}
	next.Primary, next.Secondaries = a, nil
	r.count(g, a, 1, 0)
	r.count(g, cfg.Primary, -1, 0)
	r.change(g, m, next, dead, why)
	act := &r.actions[len(r.actions)-1]
	act.First, act.Loss = first, loss
	return true
}

// Accept has the next Round begin g anew with what a has, if none of its members can be used then.
func (p *Planner) Accept(g base.Gpid, a Addr) { p.memory(g).accept = a }

// Adding tells whether nodes are being given a replica of g.
func (p *Planner) Adding(g base.Gpid) bool {
	m := p.parts[g]
	return m != nil && (len(m.adds) > 0 || m.step != nil)
}

// Asks returns the nodes that the last Round wants to be asked what they have, now.
func (p *Planner) Asks() []Addr {
	l := make([]Addr, 0, len(p.asks))
	for a := range p.asks {
		l = append(l, a)
	}
	slices.Sort(l)
	return l
}

// Lost tells that g waits for an administrator.
func (p *Planner) Lost(v *View, g base.Gpid) bool {
	_, cfg, ok := v.State.Config(g)
	if !ok || cfg.Members() == 0 {
		return false
	}
	m := p.parts[g]
	if m == nil {
		m = &memory{}
	}
	return newView(p, v).lost(g, m, &cfg)
}

func (r *round) lost(g base.Gpid, m *memory, cfg *state.Config) bool {
	members := cfg.AppendMembers(nil)
	dead := slices.DeleteFunc(slices.Clone(members), r.alive)
	return r.gaveUp(g, cfg) || len(dead) == len(members) || len(m.below) > 0 && len(m.below)+len(dead) == len(members)
}

// cancel takes back that a node is given a replica: the primary is told, and the node, so that
// it ends a copy that is under way. What was copied stays there for another time.
func (r *round) cancel(g base.Gpid, m *memory, t *try, why string) {
	m.adds = slices.DeleteFunc(m.adds, func(x *try) bool { return x == t })
	r.count(g, t.node, 0, -1).adds--
	c := r.newTry(t.node)
	c.why = why
	m.cancels = append(m.cancels, c)
}

// sendCancels tells who has to know, a few times: it isn't seen whether it was heard.
func (r *round) sendCancels(g base.Gpid, m *memory, cfg *state.Config) {
	m.cancels = slices.DeleteFunc(m.cancels, func(c *try) bool {
		if cfg.Has(c.node) || slices.ContainsFunc(m.adds, func(t *try) bool { return t.node == c.node }) {
			return true
		}
		if r.due(c) {
			r.propose(g, metaadmin.CT_REMOVE, cfg.Primary, c, c.why)
			if r.alive(c.node) {
				r.propose(g, metaadmin.CT_REMOVE, c.node, c, c.why)
			}
		}
		return c.count >= cancelTimes
	})
}

// cancelAll takes back all copies that were begun, once they aren't needed.
func (r *round) cancelAll(g base.Gpid, m *memory) {
	for _, t := range slices.Clone(m.adds) {
		r.cancel(g, m, t, "the partition has all its replicas without it")
	}
}

// addHolders gives nodes that come back with data the places of those that have less: of what
// was begun with nothing a node says that it has nothing until it has all of it.
func (r *round) addHolders(g base.Gpid, m *memory, t *state.Table, cfg *state.Config, wanted int) {
	for {
		a := r.pickHolder(g, m, t, cfg)
		if a == 0 {
			return
		}
		has, _ := r.copyOf(a, g)
		have, less := 0, (*try)(nil)
		for _, x := range m.adds {
			if c, _ := r.copyOf(x.node, g); x.holds || c.Prepared >= has.Prepared {
				have++
			} else {
				less = x
			}
		}
		if have >= wanted {
			return
		}
		if len(m.adds) >= wanted && less != nil {
			r.cancel(g, m, less, "another server came back with more of the data")
		}
		n := r.newTry(a)
		n.holds = true
		m.adds = slices.Insert(m.adds, min(have, len(m.adds)), n)
		r.count(g, a, 0, 1).adds++
	}
}

// pickHolder returns the node with most of the data that may be added.
func (r *round) pickHolder(g base.Gpid, m *memory, t *state.Table, cfg *state.Config) Addr {
	possible := r.addable(m, cfg, cfg.Members() < r.p.opts.MinMembers(t.MaxReplicas))
	return r.pickOf(func(a Addr) bool {
		_, ok := r.holds(a, g, cfg)
		return ok && possible(a) && !r.avoids(m, a)
	}, func(x, y Addr) int {
		cx, _ := r.copyOf(x, g)
		cy, _ := r.copyOf(y, g)
		return cmp.Or(cmp.Compare(b2i(cx.Damaged), b2i(cy.Damaged)), -more(cx, cy), r.lessReplicas(g.AppID, x, y))
	})
}

// What the planner does by itself.
const (
	cancelTimes = 3 // how often it is said that a copy isn't wanted
	askWait     = 100 * time.Millisecond
	askAgain    = time.Second
)
