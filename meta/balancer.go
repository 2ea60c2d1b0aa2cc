package meta

import (
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/balance"
	"pegasus/meta/cure"
	"pegasus/meta/detector"
	"pegasus/meta/state"
)

const (
	promotionsPerNode = 8   // changes of primaries from, and to, one node at a time
	maxFlights        = 256 // moves at a time
	busyMost          = 30 * time.Second
	hopelessRounds    = 3 // plans of which every move fails, before a run gives up
)

// balancer carries out plans of package balance: it gives partitions steps, which the
// planner of package cure takes one after the other, and sees how they end. It belongs to a
// leader, whose mu guards it.
type balancer struct {
	run      *balanceRun // that was asked for, nil: none
	queue    []balance.Move
	flights  map[base.Gpid]*flight
	planning bool
	due      time.Duration // when to plan next
	gen      int           // counts what makes plans that were begun before wrong
	seen     uint64        // what the last plan went by, see planKey
	level    state.Level
	hopeless int
	// busySince is when a plan first had no move while partitions were busy.
	busySince time.Duration
	idle      bool // the last plan had nothing to do
	stuck     []string
	last      balanceCounts // of the last plan
	done      int64         // moves, since the leader began
	failed    int64
	waits     string
}

// balanceRun is a rebalancing that an administrator asked for, see state.Run. Its counts
// begin anew with each leader.
type balanceRun struct {
	id            int64 // 0: only a plan
	table         int32 // 0: all
	primariesOnly bool
	done, failed  int64
	bytes         int64
	carried       bool // an earlier leader began it
}

func newRun(r state.Run) *balanceRun {
	return &balanceRun{id: r.ID, table: r.Table, primariesOnly: r.PrimariesOnly}
}

// flight is a move under way.
type flight struct {
	move  balance.Move
	began time.Duration
}

// balanceCounts are the moves of a plan as upstream's tools count them.
type balanceCounts struct{ movePri, copyPri, copySec int }

func newBalancer() balancer { return balancer{flights: map[base.Gpid]*flight{}} }

// replan drops what isn't begun of a plan, for the nodes it goes by have changed. The caller
// holds mu.
func (l *leader) replan() {
	l.bal.gen++
	l.bal.queue, l.bal.due, l.bal.seen = nil, 0, 0
}

// moveOn goes on with moving replicas.
func (l *leader) moveOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.bal
	level, few := state.Level(0), ""
	l.s.fsm.read(func(st *state.State) { level, few = st.Level(), l.few(st) })
	if level != b.level {
		b.level = level
		l.replan()
	}
	l.land()
	if level < state.LevelSteady {
		b.queue, b.waits = nil, "the function level is below steady"
		return
	}
	if few != "" {
		b.queue, b.waits, b.due, b.seen = nil, few, 0, 0
		return
	}
	l.takeOff()
	if !l.warm() {
		b.waits = "the meta that leads is new, and waits for the replica servers to say what they have"
		return
	}
	if len(b.queue) == 0 && len(b.flights) == 0 && !b.planning && l.now() >= b.due {
		l.startPlan()
	}
}

// warm tells whether the replica servers had time to show up, and to report, since this
// leader began. Plans that were made before would miss some. The caller holds mu.
func (l *leader) warm() bool {
	heard := warmUpBeats * l.s.cfg.FD.BeaconInterval.D()
	switch now := l.now(); {
	case now < heard:
		return false
	case now < heard+2*l.s.cfg.Replica.ConfigSync.D():
		return !slices.ContainsFunc(l.det.Nodes(), func(n detector.Node) bool { return n.Alive && !l.reported[n.Addr] })
	}
	return true
}

// land finds the moves that have ended. The caller holds mu.
func (l *leader) land() {
	b := &l.bal
	for g, f := range b.flights {
		if l.plan.Steps(g) > 0 {
			continue
		}
		var ok, gone bool
		l.s.fsm.read(func(st *state.State) {
			_, cfg, exists := st.Config(g)
			gone = !exists
			ok = exists && achieved(&f.move, &cfg)
		})
		delete(b.flights, g)
		took := (l.now() - f.began).Round(time.Millisecond)
		switch {
		case gone:
		case ok:
			b.hopeless = 0
			b.done++
			if b.run != nil {
				b.run.done++
				b.run.bytes += f.move.Bytes
			}
			l.note(g, fmt.Sprintf("moved: %s, in %v", describe(&f.move), took), f.move.Why)
			l.log.Infof("partition %v: %s in %v: %s", g, describe(&f.move), took, f.move.Why)
		default:
			b.failed++
			if b.run != nil {
				b.run.failed++
			}
			b.due = l.now() + l.s.cfg.Meta.BalanceInterval.D()
			l.note(g, fmt.Sprintf("gave up after %v: %s", took, describe(&f.move)), "its steps became impossible or took too long")
			l.log.Warnf("partition %v: gave up after %v: %s", g, took, describe(&f.move))
		}
	}
}

func describe(m *balance.Move) string {
	switch {
	case m.Kind == balance.Promote:
		return fmt.Sprintf("primary from %v to %v", m.From, m.To)
	case m.Primary:
		return fmt.Sprintf("replica from %v to %v, as the primary", m.From, m.To)
	}
	return fmt.Sprintf("replica from %v to %v", m.From, m.To)
}

// achieved tells whether a partition is as a move wants it.
func achieved(m *balance.Move, cfg *state.Config) bool {
	if m.Kind == balance.Promote {
		return cfg.Primary == m.To
	}
	return cfg.Has(m.To) && !cfg.Has(m.From) && (!m.Primary || cfg.Primary == m.To)
}

// stepsOf are the steps that make a move.
func stepsOf(m *balance.Move) []cure.Step {
	step := func(t metaadmin.ConfigType, a base.RPCAddress) cure.Step {
		return cure.Step{Type: t, Node: a, Why: m.Why}
	}
	if m.Kind == balance.Promote {
		return []cure.Step{step(metaadmin.CT_UPGRADE_TO_PRIMARY, m.To)}
	}
	steps := []cure.Step{step(metaadmin.CT_ADD_SECONDARY_FOR_LB, m.To)}
	if m.Primary {
		steps = append(steps, step(metaadmin.CT_UPGRADE_TO_PRIMARY, m.To))
	}
	return append(steps, step(metaadmin.CT_REMOVE, m.From))
}

// takeOff begins moves as far as the limits allow. The caller holds mu.
func (l *leader) takeOff() {
	b := &l.bal
	if len(b.queue) == 0 || len(b.flights) >= maxFlights {
		return
	}
	type load struct{ promotions, copies int }
	loads := map[base.RPCAddress]*load{}
	at := func(a base.RPCAddress) *load {
		if loads[a] == nil {
			loads[a] = &load{}
		}
		return loads[a]
	}
	count := func(m *balance.Move) {
		for _, a := range [2]base.RPCAddress{m.From, m.To} {
			if m.Kind == balance.Promote {
				at(a).promotions++
			} else {
				at(a).copies++
			}
		}
	}
	for _, f := range b.flights {
		count(&f.move)
	}
	copies := l.s.cfg.Meta.BalanceCopies
	free := func(m *balance.Move) bool {
		if m.Kind == balance.Promote {
			return at(m.From).promotions < promotionsPerNode && at(m.To).promotions < promotionsPerNode
		}
		return at(m.From).copies < copies && at(m.To).copies < copies
	}
	waiting := map[base.Gpid]bool{} // moves of a partition keep their order
	rest := b.queue[:0:0]
	l.s.fsm.read(func(st *state.State) {
		for i := range b.queue {
			m := &b.queue[i]
			if len(b.flights) >= maxFlights {
				rest = append(rest, b.queue[i:]...)
				return
			}
			if b.flights[m.Gpid] != nil || waiting[m.Gpid] || !free(m) {
				waiting[m.Gpid] = true
				rest = append(rest, *m)
				continue
			}
			_, cfg, ok := st.Config(m.Gpid)
			if !ok || !l.sensible(m, &cfg) || !l.plan.Propose(m.Gpid, stepsOf(m)) {
				continue // the next plan knows better
			}
			b.flights[m.Gpid] = &flight{*m, l.now()}
			count(m)
			l.note(m.Gpid, "moves "+describe(m), m.Why)
			l.unsure[m.Gpid] = struct{}{}
		}
	})
	b.queue = rest
}

// sensible tells whether a move can be begun: what it rests on is still so.
func (l *leader) sensible(m *balance.Move, cfg *state.Config) bool {
	if !l.det.Alive(m.To) || cfg.Primary == 0 || !l.det.Alive(cfg.Primary) {
		return false
	}
	if m.Kind == balance.Promote {
		return !l.unfit[m.To][m.Gpid] && slices.Contains(cfg.Secondaries, m.To)
	}
	return m.Kind == balance.Copy && cfg.Has(m.From) && !cfg.Has(m.To) && !l.space[m.To].full()
}

// startPlan has a plan made, without holding up anybody. The caller holds mu.
func (l *leader) startPlan() {
	b := &l.bal
	interval := l.s.cfg.Meta.BalanceInterval.D()
	b.due = l.now() + interval
	want := l.wantedPlan()
	key := l.planKey(&want)
	if key == b.seen && want.run == nil && (want.check || b.idle) {
		return // it would be the same again
	}
	b.planning = true
	gen := b.gen
	l.wg.Go(func() {
		view, ill, busy := l.balanceView(want.run)
		var p *balance.Plan
		if ill == 0 || want.must {
			want.even = want.even && ill == 0
			p = makePlan(view, &want)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		b.planning = false
		switch {
		case b.gen != gen:
		case p == nil:
			b.waits = fmt.Sprintf("%d partitions aren't whole: that goes first", ill)
			b.due = l.now() + min(interval, time.Second)
		default:
			b.waits, b.seen = "", key
			if busy > 0 {
				b.seen = 0 // they won't be for long, and then a plan can do more
			}
			l.takePlan(p, &want, busy)
		}
		l.kick()
	})
}

// takePlan takes a plan that was made while so many partitions were busy. The caller holds mu.
func (l *leader) takePlan(p *balance.Plan, want *wantedPlan, busy int) {
	b := &l.bal
	b.stuck = p.Stuck
	b.last = countsOf(p)
	b.idle = len(p.Moves) == 0
	if want.check {
		return
	}
	b.queue = p.Moves
	if len(p.Moves) > 0 {
		l.log.Infof("will move %d primaries and %d replicas of together %d bytes; replicas on a server are %d to %d, then %d to %d; primaries %d to %d, then %d to %d",
			p.Primaries, p.Copies, p.Bytes, p.Before.Replicas.Min, p.Before.Replicas.Max, p.After.Replicas.Min, p.After.Replicas.Max,
			p.Before.Primaries.Min, p.Before.Primaries.Max, p.After.Primaries.Min, p.After.Primaries.Max)
	}
	switch {
	case len(p.Moves) > 0:
		// The next plan follows at once when these moves have ended, but for failures.
		b.due = 0
		b.hopeless++
		if b.hopeless > 1 {
			b.due = l.now() + l.s.cfg.Meta.BalanceInterval.D()
		}
	case !want.even || want.run == nil || b.run != want.run:
	case busy > 0:
		b.waits = fmt.Sprintf("%d partitions are busy, and can't be moved at present", busy)
		b.due = l.now() + min(l.s.cfg.Meta.BalanceInterval.D(), time.Second)
		if b.busySince == 0 {
			b.busySince = l.now()
		}
		if l.now()-b.busySince > busyMost {
			l.endRun("partitions stay busy")
		}
		return
	default:
		l.endRun("it is done")
	}
	b.busySince = 0
	if b.run != nil && b.hopeless > hopelessRounds {
		b.queue = nil
		l.endRun("its moves fail")
	}
}

// endAgain is after what time the end of a run is committed again, if that failed.
const endAgain = time.Second

// endRun ends what an administrator asked for. The channel is closed when that is committed,
// or the leader ends. The caller holds mu.
func (l *leader) endRun(why string) <-chan struct{} {
	run := l.bal.run
	l.log.Infof("rebalancing ends: %s; %d moves, %d of them failed", why, run.done+run.failed, run.failed)
	l.bal.run, l.bal.hopeless, l.bal.busySince = nil, 0, 0
	cmd := &state.EndRun{ID: run.id, Now: time.Now().Unix(), Why: why, Done: run.done, Failed: run.failed, Bytes: run.bytes}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for l.ctx.Err() == nil {
			if _, err := l.s.quorum.apply(cmd); err == nil {
				return
			}
			select {
			case <-l.ctx.Done():
			case <-time.After(endAgain):
			}
		}
	}()
	return ended
}

func countsOf(p *balance.Plan) (c balanceCounts) {
	for i := range p.Moves {
		switch m := &p.Moves[i]; {
		case m.Kind == balance.Promote:
			c.movePri++
		case m.Kind == balance.Copy && m.Primary:
			c.copyPri++
		case m.Kind == balance.Copy:
			c.copySec++
		}
	}
	return c
}

// operations are the counts as upstream's tools parse them.
func (l *leader) operations() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.bal.last
	return map[string]int{"move_pri": c.movePri, "copy_pri": c.copyPri, "copy_sec": c.copySec, "total": c.movePri + c.copyPri + c.copySec}
}
