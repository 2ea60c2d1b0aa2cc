package cure

import (
	"slices"

	"pegasus/base"
	"pegasus/meta/state"
)

// Round looks at some partitions, in that order. It returns what to do, and which of them
// need not be looked at again until something happens to them.
func (p *Planner) Round(v *View, look []base.Gpid) (actions []Action, fine []base.Gpid) {
	r := newRound(p, v)
	for _, g := range look {
		t, cfg, ok := v.State.Config(g)
		if !ok {
			delete(p.parts, g)
			delete(p.gaveUp, g)
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

// look deals with one partition. It returns true if the partition is in order.
func (r *round) look(g base.Gpid, t *state.Table, cfg *state.Config) (fine bool) {
	m := r.p.memory(g)
	if m.changing {
		return false
	}
	if cfg.Unborn() {
		return true // its parent makes it
	}
	if cfg.Members() == 0 {
		r.assignFirst(g, m)
		return false
	}
	m.assign = nil
	if m.unconfirmed && m.unconfirmedBallot != cfg.Ballot {
		m.unconfirmed = false
	}
	if r.without(g, m, t, cfg) || r.tooThin(m, t, cfg) {
		return false
	}
	if !r.alive(cfg.Primary) {
		r.replacePrimary(g, m, cfg)
		return false
	}
	m.below = nil
	if !r.stays(cfg.Primary) && r.movePrimary(g, m, cfg, 0, "the primary "+cfg.Primary.String()+" ends soon") {
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
		r.cancelAll(g, m)
		r.sendCancels(g, m, cfg)
		r.removeOne(g, m, cfg)
		return false
	case n < int(t.MaxReplicas):
		r.addMissing(g, m, t, cfg)
		r.sendCancels(g, m, cfg)
		return false
	}
	m.short = false
	r.cancelAll(g, m)
	r.sendCancels(g, m, cfg)
	return !m.unconfirmed && len(m.steps) == 0 && len(m.cancels) == 0
}

// settle forgets proposals that have had their effect or can't have it any more.
func (r *round) settle(m *memory, cfg *state.Config) {
	m.adds = slices.DeleteFunc(m.adds, func(t *try) bool { return cfg.Has(t.node) || !r.alive(t.node) })
	if m.remove != nil && !slices.Contains(cfg.Secondaries, m.remove.node) {
		m.remove = nil
	}
	m.avoid = slices.DeleteFunc(m.avoid, func(a avoided) bool { return a.until <= r.v.Now })
}
