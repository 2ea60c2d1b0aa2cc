package meta

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/balance"
	"pegasus/meta/cure"
	"pegasus/meta/state"
)

const (
	promotionsPerNode = 8   // changes of primaries from, and to, one node at a time
	maxActiveMoves    = 256 // moves at a time
	maxBusy           = 30 * time.Second
	maxFailedPlans    = 3  // plans of which every move fails, before a run gives up
	maxFailures       = 20 // that are told
)

// balancer carries out plans of package balance: it gives partitions steps, which the
// planner of package cure takes one after the other, and sees how they end. It belongs to a
// leader, whose mu guards it.
type balancer struct {
	*term
	nodes *nodes
	parts *partitions

	run         *balanceRun // that was asked for, nil: none
	queue       []balance.Move
	active      map[base.Gpid]*activeMove
	planning    bool
	due         time.Duration // when to plan next
	gen         int           // counts what makes plans that were begun before wrong
	seen        uint64        // what the last plan went by, see planKey
	level       state.Level
	failedPlans int
	// busySince is when a plan first had no move while partitions were busy.
	busySince  time.Duration
	idle       bool // the last plan had nothing to do
	stuck      []string
	last       balanceCounts   // of the last plan
	forLoad    []time.Duration // when moves for load alone were begun, of the last hour
	done       int64           // moves, since the leader began
	failed     int64
	failures   []string // the last moves that were given up, and why, since the last run began
	waitReason string
	guest      guest
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

// activeMove is a move under way.
type activeMove struct {
	move  balance.Move
	began time.Duration
}

// balanceCounts are the moves of a plan as upstream's tools count them.
type balanceCounts struct{ movePri, copyPri, copySec int }

func newBalancer(ps *partitions) *balancer {
	return &balancer{term: ps.term, nodes: ps.nodes, parts: ps, active: map[base.Gpid]*activeMove{}}
}

// replan drops what isn't begun of a plan, for the nodes it goes by have changed. The caller
// holds mu.
func (b *balancer) replan() {
	b.gen++
	b.queue, b.due, b.seen = nil, 0, 0
}

// advance goes on with moving replicas.
func (b *balancer) advance() {
	b.mu.Lock()
	defer b.mu.Unlock()
	level, tooFew := state.Level(0), ""
	b.hosts()
	b.s.fsm.read(func(st *state.State) { level, tooFew = st.Level(), b.nodes.belowLiveThreshold(st) })
	if level != b.level {
		b.level = level
		b.replan()
	}
	b.finishMoves()
	if level < state.LevelSteady {
		b.queue, b.waitReason = nil, "the function level is below steady"
		return
	}
	if tooFew != "" {
		b.queue, b.waitReason, b.due, b.seen = nil, tooFew, 0, 0
		return
	}
	b.startMoves()
	if !b.nodes.warm() {
		b.waitReason = "the meta that leads is new, and waits for the replica servers to say what they have"
		return
	}
	if len(b.queue) == 0 && len(b.active) == 0 && !b.planning && b.now() >= b.due {
		b.startPlan()
	}
}

// finishMoves finds the moves that have ended. The caller holds mu.
func (b *balancer) finishMoves() {
	for g, f := range b.active {
		if b.parts.plan.Steps(g) > 0 {
			continue
		}
		var ok, gone bool
		b.s.fsm.read(func(st *state.State) {
			_, cfg, exists := st.Config(g)
			gone = !exists
			ok = exists && achieved(&f.move, &cfg)
		})
		delete(b.active, g)
		took := (b.now() - f.began).Round(time.Millisecond)
		switch {
		case gone:
		case ok:
			b.failedPlans = 0
			b.done++
			if b.run != nil {
				b.run.done++
				b.run.bytes += f.move.Bytes
			}
			b.parts.recordEvent(g, fmt.Sprintf("moved: %s, in %v", describe(&f.move), took), f.move.Why)
			b.log.Infof("partition %v: %s in %v: %s", g, describe(&f.move), took, f.move.Why)
		default:
			b.failed++
			if b.run != nil {
				b.run.failed++
			}
			b.due = b.now() + b.s.cfg.Meta.BalanceInterval.D()
			why := cmp.Or(b.parts.plan.TakeReason(g), "its configuration was changed otherwise meanwhile")
			b.failures = append(b.failures, fmt.Sprintf("partition %v: %s, after %v: %s", g, describe(&f.move), took, why))
			b.failures = b.failures[max(0, len(b.failures)-maxFailures):]
			b.parts.recordEvent(g, fmt.Sprintf("gave up after %v: %s", took, describe(&f.move)), why)
			b.log.Warnf("partition %v: gave up after %v: %s: %s", g, took, describe(&f.move), why)
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

// startMoves begins moves as far as the limits allow. The caller holds mu.
func (b *balancer) startMoves() {
	if len(b.queue) == 0 || len(b.active) >= maxActiveMoves {
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
	for _, f := range b.active {
		count(&f.move)
	}
	copies := b.s.cfg.Meta.BalanceCopies
	free := func(m *balance.Move) bool {
		if m.Kind == balance.Promote {
			return at(m.From).promotions < promotionsPerNode && at(m.To).promotions < promotionsPerNode
		}
		return at(m.From).copies < copies && at(m.To).copies < copies
	}
	waiting := map[base.Gpid]bool{} // moves of a partition keep their order
	rest := b.queue[:0:0]
	b.s.fsm.read(func(st *state.State) {
		for i := range b.queue {
			m := &b.queue[i]
			if len(b.active) >= maxActiveMoves {
				rest = append(rest, b.queue[i:]...)
				return
			}
			if b.active[m.Gpid] != nil || waiting[m.Gpid] || !free(m) {
				waiting[m.Gpid] = true
				rest = append(rest, *m)
				continue
			}
			_, cfg, ok := st.Config(m.Gpid)
			if !ok || st.Loading(m.Gpid.AppID) || !b.stillValid(m, &cfg) || !b.parts.plan.Propose(m.Gpid, stepsOf(m)) {
				continue // the next plan knows better
			}
			b.active[m.Gpid] = &activeMove{*m, b.now()}
			if m.ForLoad {
				b.forLoad = append(b.forLoad, b.now())
			}
			count(m)
			b.parts.recordEvent(m.Gpid, "moves "+describe(m), m.Why)
			b.parts.toCheck[m.Gpid] = struct{}{}
		}
	})
	b.queue = rest
}

// stillValid tells whether a move can be begun: what it rests on is still so.
func (b *balancer) stillValid(m *balance.Move, cfg *state.Config) bool {
	if !b.nodes.det.Stays(m.To) || cfg.Primary == 0 || !b.nodes.det.Stays(cfg.Primary) {
		return false
	}
	if m.Kind == balance.Promote {
		return !b.nodes.of(m.To).unfit[m.Gpid] && slices.Contains(cfg.Secondaries, m.To)
	}
	return m.Kind == balance.Copy && cfg.Has(m.From) && !cfg.Has(m.To) && !b.nodes.of(m.To).space.full()
}

// occupied says why no replica should be moved between the disks of its server now; "" if one may.
func (b *balancer) occupied() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch k := b.s.overrides; {
	case b.level < state.LevelLively:
		return "the function level is below lively"
	case b.waitReason != "":
		return b.waitReason
	case k.onlyPrimaries() != [2]bool{}:
		return "an administrator wants only primaries to be moved"
	case b.run != nil || len(b.queue) > 0 || len(b.active) > 0 || !b.idle:
		return "replicas are moved between servers, which goes first"
	}
	return ""
}

// stays tells of replicas of a node which of them shouldn't be moved between its disks: something else is done about their
// partitions, or has to be.
func (b *balancer) stays(node base.RPCAddress, of []base.Gpid) []bool {
	out := make([]bool, len(of))
	_, ignored := b.s.overrides.leftAlone()
	b.locked(func(st *state.State) {
		for i, g := range of {
			_, cfg, ok := st.Config(g)
			_, splitting := st.SplitOf(g.AppID)
			out[i] = !ok || !cfg.Has(node) || splitting || st.Loading(g.AppID) || slices.Contains(ignored, g.AppID) || st.Role(node) != state.RoleFull ||
				b.parts.plan.Steps(g) > 0 || b.active[g] != nil || b.nodes.of(node).unfit[g] ||
				slices.ContainsFunc(cfg.AppendMembers(nil), func(a base.RPCAddress) bool { return !b.nodes.det.Stays(a) })
		}
	})
	return out
}

// startPlan has a plan made, without holding up anybody. The caller holds mu.
func (b *balancer) startPlan() {
	interval := b.s.cfg.Meta.BalanceInterval.D()
	b.due = b.now() + interval
	want := b.planGoal()
	key := b.planKey(&want)
	if key == b.seen && want.run == nil && (want.check || b.idle) {
		return // it would be the same again
	}
	b.planning = true
	gen := b.gen
	b.wg.Go(func() {
		view, ill, busy := b.balanceView(want.run)
		var p *balance.Plan
		if ill == 0 || want.must {
			want.even = want.even && ill == 0
			p = makePlan(view, &want)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.planning = false
		switch {
		case b.gen != gen:
		case p == nil:
			b.waitReason = fmt.Sprintf("%d partitions aren't whole: that goes first", ill)
			b.due = b.now() + min(interval, time.Second)
		default:
			b.waitReason, b.seen = "", key
			if busy > 0 {
				b.seen = 0 // they won't be for long, and then a plan can do more
			}
			b.adoptPlan(p, &want, busy)
		}
		b.kick()
	})
}

// adoptPlan takes a plan that was made while so many partitions were busy. The caller holds mu.
func (b *balancer) adoptPlan(p *balance.Plan, want *planGoal, busy int) {
	b.stuck = p.Stuck
	b.last = countsOf(p)
	b.idle = len(p.Moves) == 0
	if want.check {
		return
	}
	b.queue = p.Moves
	if len(p.Moves) > 0 {
		b.log.Infof("will move %d primaries and %d replicas of together %d bytes; replicas on a server are %d to %d, then %d to %d; primaries %d to %d, then %d to %d",
			p.Primaries, p.Copies, p.Bytes, p.Before.Replicas.Min, p.Before.Replicas.Max, p.After.Replicas.Min, p.After.Replicas.Max,
			p.Before.Primaries.Min, p.Before.Primaries.Max, p.After.Primaries.Min, p.After.Primaries.Max)
	}
	switch {
	case len(p.Moves) > 0:
		// The next plan follows at once when these moves have ended, but for failures.
		b.due = 0
		b.failedPlans++
		if b.failedPlans > 1 {
			b.due = b.now() + b.s.cfg.Meta.BalanceInterval.D()
		}
	case !want.even || want.run == nil || b.run != want.run:
	case busy > 0:
		b.waitReason = fmt.Sprintf("%d partitions are busy, and can't be moved at present", busy)
		b.due = b.now() + min(b.s.cfg.Meta.BalanceInterval.D(), time.Second)
		if b.busySince == 0 {
			b.busySince = b.now()
		}
		if b.now()-b.busySince > maxBusy {
			b.endRun("partitions stay busy")
		}
		return
	default:
		b.endRun("it is done")
	}
	b.busySince = 0
	if b.run != nil && b.failedPlans > maxFailedPlans {
		b.queue = nil
		b.endRun("its moves fail")
	}
}

// endAgain is after what time the end of a run is committed again, if that failed.
const endAgain = time.Second

// endRun ends what an administrator asked for. The channel is closed when that is committed,
// or the leader ends. The caller holds mu.
func (b *balancer) endRun(why string) <-chan struct{} {
	run := b.run
	b.log.Infof("rebalancing ends: %s; %d moves, %d of them failed %q", why, run.done+run.failed, run.failed, b.failures)
	b.run, b.failedPlans, b.busySince = nil, 0, 0
	cmd := &state.EndRun{ID: run.id, Now: time.Now().Unix(), Why: why, Done: run.done, Failed: run.failed, Bytes: run.bytes}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b.ctx.Err() == nil {
			if _, err := b.s.quorum.apply(cmd); err == nil {
				return
			}
			select {
			case <-b.ctx.Done():
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
func (b *balancer) operations() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.last
	return map[string]int{"move_pri": c.movePri, "copy_pri": c.copyPri, "copy_sec": c.copySec, "total": c.movePri + c.copyPri + c.copySec}
}
