package meta

import (
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/state"
)

// roundPiece is how many partitions of a round are looked at without letting go of mu.
const roundPiece = 4 * walkPiece

// round lets the planner look at what may not be in order, and starts what it decides.
func (ps *partitions) round() {
	ps.mu.Lock()
	look := make([]base.Gpid, 0, len(ps.toCheck))
	for g := range ps.toCheck {
		look = append(look, g)
	}
	ps.mu.Unlock()
	slices.SortFunc(look, base.Gpid.Compare)
	for piece := range slices.Chunk(look, roundPiece) {
		if ps.ctx.Err() != nil {
			return
		}
		ps.look(piece)
	}
}

// look is a part of a round.
func (ps *partitions) look(look []base.Gpid) {
	var msgs []proposal
	ps.locked(func(st *state.State) {
		if st.Level() < state.LevelSteady {
			return
		}
		ps.s.overrides.tune(ps.plan)
		actions, fine := ps.plan.Round(ps.planView(st), look)
		for _, g := range fine {
			delete(ps.toCheck, g)
		}
		ps.askCopies(ps.plan.Asks())
		for i := range actions {
			a := &actions[i]
			t, cfg, _ := st.Config(a.Gpid)
			if a.Change == nil {
				if !a.Again {
					ps.recordEvent(a.Gpid, fmt.Sprintf("asks %v for %s of %v", a.Target, typeName(a.Type), a.Node), a.Why)
				}
				p := ps.proposal(t, a.Gpid, &cfg, a.Type, a.Target, a.Node)
				if a.Type == metaadmin.CT_ASSIGN_PRIMARY && !st.Restoring(t.ID) {
					// What the table was made of once isn't what a partition begins with that was lost.
					p.msg.Info.Envs = appenv.WithoutRestore(p.msg.Info.Envs)
				}
				msgs = append(msgs, p)
				continue
			}
			for _, d := range a.Dead {
				ps.nodes.det.Hold(d)
			}
			ps.queuePlanned(a, cfg)
		}
	})
	ps.s.send(msgs)
}

// queuePlanned submits a change that the planner wants. The dead nodes whose roles it gives
// away stay dead until it is known whether that came to be; if that can't be known, until the
// leadership ends, which it is about to do. A beacon acknowledged meanwhile would let such a
// node lead beside its successor. The caller holds mu.
func (ps *partitions) queuePlanned(a *cure.Action, old state.Config) {
	g, dead := a.Gpid, a.Dead
	ps.changes.put(&pendingChange{first: a.First, change: *a.Change, loss: a.Loss, old: old, push: true, why: a.Why, done: func(res state.ChangeResult, err error) {
		ps.mu.Lock()
		if !undecided(err) {
			for _, d := range dead {
				ps.nodes.det.Release(d)
			}
		}
		ps.plan.Done(g)
		ps.mu.Unlock()
		if err != nil {
			ps.log.Warnf("partition %v: change to ballot %d: %v", g, a.Change.Config.Ballot, err)
		} else if res.Err != base.ErrOK {
			ps.log.Debugf("partition %v: change to ballot %d: %v", g, a.Change.Config.Ballot, res.Err)
		}
	}})
}
