package cure

import (
	"fmt"
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
	delete(p.gaveUp, g)
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

// TakeReason says once why the last steps of g were dropped; "" if they were taken, or there were none.
func (p *Planner) TakeReason(g base.Gpid) string {
	why := p.gaveUp[g]
	delete(p.gaveUp, g)
	return why
}

// ClearSteps forgets all steps of all partitions.
func (p *Planner) ClearSteps(why string) {
	for g, m := range p.parts {
		p.dropSteps(g, m, why)
	}
}

// ClearStepsOf forgets all steps of one partition.
func (p *Planner) ClearStepsOf(g base.Gpid, why string) {
	if m := p.parts[g]; m != nil {
		p.dropSteps(g, m, why)
	}
}

func (p *Planner) dropSteps(g base.Gpid, m *memory, why string) {
	if len(m.steps) > 0 {
		m.steps, m.step = nil, nil
		p.gaveUp[g] = why
	}
}

// doSteps takes the next step of a partition whose primary lives. It reports false when
// there is none left.
func (r *round) doSteps(g base.Gpid, m *memory, cfg *state.Config) bool {
	for len(m.steps) > 0 {
		s := m.steps[0]
		why := ""
		switch r.stepState(s, cfg) {
		case stepDone:
			m.steps, m.step = m.steps[1:], nil
			continue
		case stepPossible:
			if why = r.doStep(g, m, cfg, s); why == "" {
				return true
			}
		default:
			why = r.obstacle(s, cfg)
		}
		r.p.dropSteps(g, m, why)
	}
	return false
}

// obstacle says why a step isn't possible.
func (r *round) obstacle(s Step, cfg *state.Config) string {
	switch {
	case cfg.Has(s.Node) && cfg.Members() == 1:
		return fmt.Sprintf("%v is its only member", s.Node)
	case !r.alive(s.Node):
		return fmt.Sprintf("%v is dead", s.Node)
	case s.Type == metaadmin.CT_UPGRADE_TO_PRIMARY:
		return fmt.Sprintf("%v is no secondary of it any more", s.Node)
	case s.Type == metaadmin.CT_DOWNGRADE_TO_SECONDARY:
		return fmt.Sprintf("%v isn't its primary any more", s.Node)
	}
	return fmt.Sprintf("%v of %v can't be done by steps", s.Type, s.Node)
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

// doStep carries a possible step out, or goes on waiting for it. It returns "", or why it can't, or
// waits no longer.
func (r *round) doStep(g base.Gpid, m *memory, cfg *state.Config, s Step) string {
	move := func(to Addr) string {
		switch {
		case r.movePrimary(g, m, cfg, to, s.why()):
			return ""
		case to == 0:
			return "none of its secondaries can become the primary"
		case !r.stays(to):
			return fmt.Sprintf("%v is dead, or ends soon", to)
		}
		return fmt.Sprintf("%v can't become the primary: its replica is damaged, or no secondary", to)
	}
	switch {
	case s.Type == metaadmin.CT_UPGRADE_TO_PRIMARY:
		return move(s.Node)
	case s.Type == metaadmin.CT_DOWNGRADE_TO_SECONDARY:
		// The next step says who follows; otherwise any secondary does.
		var to Addr
		if len(m.steps) > 1 && m.steps[1].Type == metaadmin.CT_UPGRADE_TO_PRIMARY {
			to = m.steps[1].Node
		}
		return move(to)
	case s.Node == cfg.Primary: // a primary hands over before it leaves
		return move(0)
	}
	if m.step == nil {
		m.step = r.newTry(s.Node)
	}
	switch {
	case r.v.Now-m.step.first > r.p.opts.StepWait:
		return fmt.Sprintf("%v of %v isn't done after %v", s.Type, s.Node, r.p.opts.StepWait)
	case r.v.Now-m.step.learnAt > r.p.opts.LearnTimeout:
		return fmt.Sprintf("%v wasn't seen to copy it for %v: see its log", s.Node, r.p.opts.LearnTimeout)
	}
	if r.due(m.step) {
		r.propose(g, s.Type, cfg.Primary, m.step, s.why())
	}
	return ""
}
