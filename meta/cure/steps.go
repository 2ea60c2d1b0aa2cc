package cure

import (
	"slices"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/state"
)

// Step is one step that an administrator or the balancer proposes: Type about Node. Who
// executes it follows from the configuration.
type Step struct {
	Type metaadmin.ConfigType
	Node Addr
	Why  string // "": an administrator or a tool proposed it
}

func (s Step) why() string {
	if s.Why == "" {
		return "proposed by an administrator"
	}
	return s.Why
}

// Propose gives g steps to be taken one after the other. It returns false, and changes
// nothing, if g still has some. Steps that turn out impossible are dropped, with all that
// follow. The caller sees to it that g is looked at.
func (p *Planner) Propose(g base.Gpid, steps []Step) bool {
	m := p.memory(g)
	if len(m.steps) > 0 {
		return false
	}
	m.steps = slices.Clone(steps)
	m.step = nil
	if len(steps) == 1 && steps[0].Type == metaadmin.CT_ASSIGN_PRIMARY {
		m.prefer = steps[0].Node
	}
	return true
}

// Steps returns how many steps g still has.
func (p *Planner) Steps(g base.Gpid) int {
	if m := p.parts[g]; m != nil {
		return len(m.steps)
	}
	return 0
}

// ClearSteps forgets all steps of all partitions.
func (p *Planner) ClearSteps() {
	for _, m := range p.parts {
		m.steps, m.step = nil, nil
	}
}

// doSteps takes the next step of a partition whose primary lives. It reports false when
// there is none left.
func (r *round) doSteps(g base.Gpid, m *memory, cfg *state.Config) bool {
	for len(m.steps) > 0 {
		s := m.steps[0]
		switch r.stepState(s, cfg) {
		case stepDone:
			m.steps, m.step = m.steps[1:], nil
			continue
		case stepPossible:
			if r.doStep(g, m, cfg, s) {
				return true
			}
		}
		m.steps, m.step = nil, nil
	}
	return false
}

type stepState int

const (
	stepImpossible stepState = iota
	stepPossible
	stepDone
)

func (r *round) stepState(s Step, cfg *state.Config) stepState {
	secondary := slices.Contains(cfg.Secondaries, s.Node)
	possible := func(ok bool) stepState {
		if ok {
			return stepPossible
		}
		return stepImpossible
	}
	switch s.Type {
	case metaadmin.CT_ADD_SECONDARY, metaadmin.CT_ADD_SECONDARY_FOR_LB:
		if cfg.Has(s.Node) {
			return stepDone
		}
		return possible(r.alive(s.Node))
	case metaadmin.CT_UPGRADE_TO_PRIMARY:
		if cfg.Primary == s.Node {
			return stepDone
		}
		return possible(secondary && r.alive(s.Node))
	case metaadmin.CT_DOWNGRADE_TO_SECONDARY:
		if secondary {
			return stepDone
		}
		return possible(cfg.Primary == s.Node)
	case metaadmin.CT_DOWNGRADE_TO_INACTIVE, metaadmin.CT_REMOVE:
		if !cfg.Has(s.Node) {
			return stepDone
		}
		return possible(cfg.Members() > 1)
	}
	return stepImpossible
}

// doStep carries a possible step out, or goes on waiting for it. It reports false if it
// can't, or waited too long.
func (r *round) doStep(g base.Gpid, m *memory, cfg *state.Config, s Step) bool {
	switch {
	case s.Type == metaadmin.CT_UPGRADE_TO_PRIMARY:
		return r.movePrimary(g, m, cfg, s.Node, s.why())
	case s.Type == metaadmin.CT_DOWNGRADE_TO_SECONDARY:
		// The next step says who follows; otherwise any secondary does.
		var to Addr
		if len(m.steps) > 1 && m.steps[1].Type == metaadmin.CT_UPGRADE_TO_PRIMARY {
			to = m.steps[1].Node
		}
		return r.movePrimary(g, m, cfg, to, s.why())
	case s.Node == cfg.Primary: // a primary hands over before it leaves
		return r.movePrimary(g, m, cfg, 0, s.why())
	}
	if m.step == nil {
		m.step = r.newTry(s.Node)
	}
	if r.v.Now-m.step.first > r.p.opts.StepWait || r.v.Now-m.step.learnAt > r.p.opts.LearnPatience {
		return false
	}
	if r.due(m.step) {
		r.propose(g, s.Type, cfg.Primary, m.step, s.why())
	}
	return true
}

// ClearStepsOf forgets all steps of one partition.
func (p *Planner) ClearStepsOf(g base.Gpid) {
	if m := p.parts[g]; m != nil {
		m.steps, m.step = nil, nil
	}
}
