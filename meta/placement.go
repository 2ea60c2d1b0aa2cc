package meta

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
	"pegasus/httpapi"
	"pegasus/meta/balance"
	"pegasus/meta/cure"
	"pegasus/meta/detector"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
)

// rackTag is the name of the tag by which a replica server tells its rack.
const rackTag = "rack"

// placements is the service of where replicas are: what may be where, and moving it.
type placements struct {
	*term
	nodes *nodes
	parts *partitions
	bal   *balancer
}

func newPlacements(l *leader) service.Service {
	return &placements{term: l.term, nodes: l.nodes, parts: l.parts, bal: l.bal}
}

// Register adds the requests and pages about nodes and moves.
func (*placements) Register(r *service.Routes) {
	const fast, slow = service.Fast, service.Slow
	service.Handle(r, base.RPCRebalance, slow, (*placements).rebalance)
	service.Handle(r, base.RPCNodeRole, slow, (*placements).nodeRole)
	service.Handle(r, base.RPCExplain, fast, (*placements).explain)
	service.Handle(r, base.RPCProposeBalancer, fast, (*placements).proposeBalancer)
	service.Handle(r, base.RPCListNodes, fast, (*placements).listNodes)
	service.Page(r, "meta/health", "Show what clients can do with each table, why, and what to do.", (*placements).healthPage)
	service.Page(r, "meta/nodes", "[detail]: list the replica servers.", (*placements).nodesPage)
}

// Lead does nothing: the leader's planner moves replicas between two looks at what is missing.
func (*placements) Lead(context.Context) {}

// Report takes what the balancer goes by: a node's rack, how large its replicas
// are, on which disks, and what room there is.
func (pl *placements) Report(r *service.Report) {
	q, n := r.Request, pl.nodes.at(r.Node)
	if q.Info.Set {
		rack := ""
		for _, t := range q.Info.V.GeoTags {
			if t.Key == rackTag {
				rack = t.Val
			}
		}
		if n.rack != rack {
			n.rack = rack
			pl.bal.replan()
		}
	}
	if now, was := spaceOf(q), n.space; now != was {
		n.space = now
		if now.max != was.max {
			pl.log.Infof("node %v can hold %d replicas", r.Node, now.max.V)
			pl.bal.replan()
			pl.kick()
		}
		if now.full() != was.full() {
			pl.log.Warnf("node %v: %d of its %d data directories have too little room, %d are broken: it gets new replicas: %v", r.Node, now.short, now.disks, now.broken, !now.full())
			pl.bal.replan()
			pl.kick()
		}
	}
	disks := map[base.Gpid]string{}
	several := len(q.Disks.V) > 1
	n.mute = false
	for i := range q.StoredReplicas.V {
		rep := &q.StoredReplicas.V[i]
		if rep.Bytes.Set {
			pl.parts.bytes[rep.Pid] = rep.Bytes.V
		}
		disks[rep.Pid] = rep.DiskTag
		if n.mute = n.mute || !rep.ReadUnits.Set; rep.ReadUnits.Set {
			if _, cfg, ok := r.State.Config(rep.Pid); ok && cfg.Primary == r.Node {
				pl.parts.loads.heard(pl.now(), r.Node, rep)
			}
		}
		several = several || rep.DiskTag != q.StoredReplicas.V[0].DiskTag
	}
	n.disks, n.dirs = nil, q.Disks.V
	if several {
		n.disks = disks
	}
}

const levelHint = "the function level is below steady, where nothing is moved: raise it first (admin-cli: meta-level set steady)"

// rebalance plans, begins, watches and ends the evening out of replicas.
func (pl *placements) rebalance(c *service.Call, q *placement.RebalanceRequest, r *placement.RebalanceResponse) {
	run := &balanceRun{primariesOnly: q.PrimariesOnly}
	var level state.Level
	pl.s.fsm.read(func(st *state.State) {
		level = st.Level()
		if t := st.TableNamed(q.AppName); t != nil {
			run.table = t.ID
		}
	})
	r.Err = base.ErrOK
	switch {
	case q.AppName != "" && run.table == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, fmt.Sprintf("there is no table %q", q.AppName)
		return
	case q.Action < placement.REBALANCE_STATUS || q.Action > placement.REBALANCE_STOP:
		r.Err, r.HintMessage = base.ErrInvalidParameters, fmt.Sprintf("there is no action %d", q.Action)
		return
	case q.Action == placement.REBALANCE_START && level < state.LevelSteady:
		r.Err, r.HintMessage = base.ErrStateFreezed, pl.whyFrozen(levelHint)
		return
	}
	if q.Action == placement.REBALANCE_PLAN {
		pl.planOnly(run, r)
		return
	}
	switch q.Action {
	case placement.REBALANCE_START:
		if r.Err = pl.startRun(run); r.Err == base.ErrBusy {
			r.HintMessage = "a rebalancing is under way: wait for it, or end it with `pegasus rebalance --stop`"
		} else if r.Err == base.ErrOK {
			pl.changed(c, "a rebalancing begins (table %q, primaries only: %v)", q.AppName, q.PrimariesOnly)
		}
	case placement.REBALANCE_STOP:
		if !pl.stopRun() {
			r.Err, r.HintMessage = base.ErrInvalidState, "no rebalancing is under way"
		} else {
			pl.changed(c, "the rebalancing is stopped")
		}
	}
	pl.rebalanceStatus(r)
}

func (pl *placements) startRun(run *balanceRun) base.ErrorCode {
	res := pl.apply(&state.StartRun{Table: run.table, PrimariesOnly: run.primariesOnly, Now: time.Now().Unix()})
	if res.Err != base.ErrOK {
		return res.Err
	}
	pl.locked(func(st *state.State) {
		if now := st.Run(); now.Active() {
			pl.bal.run, pl.bal.failedPlans, pl.bal.failures = newRun(now), 0, nil
		}
		pl.bal.replan()
	})
	pl.kick()
	return base.ErrOK
}

// stopRun reports false if there is nothing to stop.
func (pl *placements) stopRun() bool {
	pl.mu.Lock()
	if pl.bal.run == nil {
		pl.mu.Unlock()
		return false
	}
	ended := pl.bal.endRun("by request")
	pl.bal.replan()
	pl.mu.Unlock()
	<-ended
	return true
}

// rebalanceStatus fills in what is under way.
func (pl *placements) rebalanceStatus(r *placement.RebalanceResponse) {
	b := pl.bal
	pl.locked(func(st *state.State) {
		run := st.Run()
		r.Active, r.Runs, r.Began, r.Ended, r.EndedWhy, r.PrimariesOnly = run.Active(), run.ID, run.Began, run.Ended, run.Why, run.PrimariesOnly
		r.Done, r.Failed, r.BytesDone = run.Done, run.Failed, run.Bytes
		if t := st.Table(run.Table); t != nil {
			r.AppName = t.Name
		}
		if r.Active {
			r.Runs-- // those that have ended
		}
		if of := b.run; of != nil {
			r.Done, r.Failed, r.BytesDone, r.CarriedOn = of.done, of.failed, of.bytes, of.carried
		}
		r.Stuck, r.Failures = b.stuck, slices.Clone(b.failures)
		for _, f := range b.active {
			r.Moves = append(r.Moves, wireMove(&f.move, true))
		}
		slices.SortFunc(r.Moves, func(x, y placement.Move) int { return x.Pid.Compare(y.Pid) })
		for i := range b.queue {
			r.Moves = append(r.Moves, wireMove(&b.queue[i], false))
		}
		if r.HintMessage == "" {
			r.HintMessage = b.waitReason
		}
	})
}

func wireMove(m *balance.Move, running bool) placement.Move {
	return placement.Move{Pid: m.Gpid, Kind: placement.MoveKind(m.Kind), Source: m.From, Target: m.To, Primary: m.Primary, Bytes: m.Bytes, Why: m.Why, Running: running}
}

// planOnly says what a rebalancing would do.
func (pl *placements) planOnly(run *balanceRun, r *placement.RebalanceResponse) {
	view, ill, _ := pl.bal.balanceView(run)
	o := balance.Options{RolesOnly: run.primariesOnly}
	var why string
	pl.locked(func(*state.State) {
		pl.bal.limits(&o)
		why = pl.bal.loadUnknown()
	})
	p := balance.MakePlan(view, o)
	for _, m := range withoutAdds(p) {
		r.Moves = append(r.Moves, wireMove(&m, false))
	}
	r.Stuck = p.Stuck
	span := func(s balance.Span) placement.Span { return placement.Span{Min: s.Min, Max: s.Max} }
	r.Primaries, r.Replicas = span(p.Before.Primaries), span(p.Before.Replicas)
	r.PrimariesAfter, r.ReplicasAfter = span(p.After.Primaries), span(p.After.Replicas)
	var hints []string
	if ill > 0 {
		hints = append(hints, fmt.Sprintf("%d partitions aren't whole: they are cured first, and not moved", ill))
	}
	switch {
	case pl.s.cfg.Meta.BalanceLoad == 0 || pl.s.cfg.Meta.BalanceLoadMoves == 0:
	case why != "":
		hints = append(hints, "load isn't evened yet: "+why)
	default:
		r.Load, r.LoadAfter = base.Some(span(p.Before.Load)), base.Some(span(p.After.Load))
		if o.LoadMoves == 0 {
			hints = append(hints, fmt.Sprintf("load isn't evened: %d moves were made for it within an hour, as many as meta.balance_load_moves allows", pl.s.cfg.Meta.BalanceLoadMoves))
		}
	}
	r.HintMessage = strings.Join(hints, "\n")
}

// nodeRole tells, and changes, what nodes may have.
func (pl *placements) nodeRole(c *service.Call, q *placement.NodeRoleRequest, r *placement.NodeRoleResponse) {
	r.Err = base.ErrOK
	if q.Change && q.Role == placement.NODE_FORGOTTEN {
		if r.Err, r.HintMessage = pl.forget(c, q.Node); r.Err != base.ErrOK {
			return
		}
	} else if q.Change {
		if r.Err, r.HintMessage = pl.checkRole(q); r.Err != base.ErrOK {
			return
		}
		if r.Err = pl.apply(&state.SetNodeRole{Node: q.Node, Role: state.Role(q.Role)}).Err; r.Err != base.ErrOK {
			return
		}
		pl.changed(c, "node %v gets role %v", q.Node, q.Role)
		pl.mu.Lock()
		pl.bal.replan()
		pl.mu.Unlock()
		pl.kick()
	}
	pl.listRoles(r)
}

// forget has the metas know nothing of a dead replica server any more, until it comes back.
func (pl *placements) forget(c *service.Call, a base.RPCAddress) (code base.ErrorCode, hint string) {
	member, where, role := 0, base.Gpid{}, state.RoleFull
	pl.s.fsm.read(func(st *state.State) {
		role = st.Role(a)
		for _, g := range st.PartitionsOf(a) {
			member, where = member+1, g
		}
	})
	pl.mu.Lock()
	n, known := pl.nodes.det.Node(a)
	refused := pl.nodes.of(a).refused != nil
	pl.mu.Unlock()
	switch {
	case !known && !refused && role == state.RoleFull && member == 0:
		return base.ErrObjectNotFound, fmt.Sprintf("no replica server %v is known: `pegasus nodes` lists them", a)
	case known && n.Alive:
		return base.ErrInvalidState, fmt.Sprintf("replica server %v lives: empty it with `pegasus node drain %v` and stop it first", a, a)
	case member > 0:
		return base.ErrInvalidState, fmt.Sprintf("replica server %v is dead and still a member of %d partitions, such as %v: either they are about to go on without it, or no other member of theirs lives; `pegasus table show TABLE --why` tells, and `pegasus recover --accept-loss` gives up what only it has", a, member, where)
	}
	if role != state.RoleFull {
		if code := pl.apply(&state.SetNodeRole{Node: a, Role: state.RoleFull}).Err; code != base.ErrOK {
			return code, ""
		}
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if known && !pl.nodes.det.Forget(a) {
		return base.ErrBusy, fmt.Sprintf("replica server %v has just come back, or its roles are just being given to others", a)
	}
	delete(pl.nodes.byAddr, a)
	pl.nodes.publish()
	pl.parts.plan.Gone(a)
	pl.bal.replan()
	pl.changed(c, "node %v is forgotten: it is gone for good", a)
	pl.kick()
	return base.ErrOK, ""
}

// checkRole says why a node can't get a role.
func (pl *placements) checkRole(q *placement.NodeRoleRequest) (code base.ErrorCode, hint string) {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	code = base.ErrOK
	pl.s.fsm.read(func(st *state.State) {
		_, known := pl.nodes.det.Node(q.Node)
		switch {
		case q.Role < placement.NODE_FULL || q.Role > placement.NODE_LEAVING:
			code, hint = base.ErrInvalidParameters, fmt.Sprintf("there is no role %d", q.Role)
			return
		case !known && st.Load(q.Node).Replicas == 0 && st.Role(q.Node) == state.RoleFull:
			code, hint = base.ErrObjectNotFound, fmt.Sprintf("no replica server %v is known: `pegasus nodes` lists them", q.Node)
			return
		case st.Level() < state.LevelSteady:
			code, hint = base.ErrStateFreezed, levelHint
			if st.Restored() {
				hint = recoverFirst
			}
			return
		case q.Role != placement.NODE_LEAVING:
			return
		}
		left := 0
		for _, n := range pl.nodes.det.Nodes() {
			if n.Alive && n.Addr != q.Node && st.Role(n.Addr) != state.RoleLeaving {
				left++
			}
		}
		st.Tables(func(t *state.Table) {
			if code == base.ErrOK && t.Status == state.Available && left < int(t.MaxReplicas) {
				code = base.ErrInvalidParameters
				hint = fmt.Sprintf("%d replica servers would be left, and table %s wants %d replicas: add a server first, or lower the table's replica count", left, t.Name, t.MaxReplicas)
			}
		})
	})
	return code, hint
}

func (pl *placements) listRoles(r *placement.NodeRoleResponse) {
	at := map[base.RPCAddress]int{}
	pl.locked(func(st *state.State) {
		for i, n := range pl.nodes.det.Nodes() {
			at[n.Addr] = i
			l, d := st.Load(n.Addr), pl.nodes.of(n.Addr).space
			r.Nodes = append(r.Nodes, placement.NodePlacement{Node: n.Addr, Alive: n.Alive, Reported: pl.nodes.of(n.Addr).reported, StartTime: n.StartTime, Rack: pl.nodes.of(n.Addr).rack,
				Role: placement.NodeRole(st.Role(n.Addr)), Primaries: int32(l.Primaries), Replicas: int32(l.Replicas),
				Disks: int32(d.disks), DisksShort: int32(d.short), DisksBroken: int32(d.broken), CapacityMb: d.capacityMB, AvailableMb: d.availableMB})
		}
		r.Stuck = pl.bal.stuck
		r.HintMessage = pl.nodes.belowLiveThreshold(st)
		clocks := pl.nodes.compareClocks()
		if text := pl.nodes.clocksText(&clocks); text != "" {
			if r.HintMessage != "" {
				r.HintMessage += "\n"
			}
			r.HintMessage += text
		}
	})
	var members []base.RPCAddress
	part := func(t *state.Table, i int) {
		g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
		members = t.Parts[i].AppendMembers(members[:0])
		alive := 0
		for _, a := range members {
			if pl.nodes.det.Alive(a) && !pl.nodes.of(a).unfit[g] {
				alive++
			}
		}
		if alive < int(t.MaxReplicas) {
			r.Ill++
		}
		for _, a := range members {
			k, ok := at[a]
			if !ok {
				continue
			}
			n := &r.Nodes[k]
			n.Bytes += pl.parts.bytes[g]
			others := alive
			if pl.nodes.det.Alive(a) && !pl.nodes.of(a).unfit[g] {
				others--
			}
			if others < 2 {
				if n.Alone++; n.AloneWhere == "" {
					n.AloneWhere = fmt.Sprintf("partition %d of table %s has %d other living replicas, and %d are wanted", i, t.Name, others, t.MaxReplicas)
				}
			}
		}
	}
	for w := (walk{}); !w.done; {
		pl.locked(func(st *state.State) {
			w.piece(st, func(t *state.Table, from, to int) {
				for i := from; i < to; i++ {
					part(t, i)
				}
			})
		})
	}
}

// explain tells how partitions are, why, and what was done about them last; without the name of a
// table how the cluster is.
func (pl *placements) explain(_ *service.Call, q *placement.ExplainRequest, r *placement.ExplainResponse) {
	if q.AppName == "" {
		r.Err, r.Cluster = base.ErrOK, base.Some(pl.clusterVerdict())
		return
	}
	pl.locked(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		switch {
		case t == nil:
			r.Err, r.HintMessage = base.ErrAppNotExist, fmt.Sprintf("there is no table %q", q.AppName)
			return
		case q.Partition < -1 || int(q.Partition) >= len(t.Parts):
			r.Err, r.HintMessage = base.ErrInvalidParameters, fmt.Sprintf("table %s has partitions 0 to %d", t.Name, len(t.Parts)-1)
			return
		}
		r.Err = base.ErrOK
		f, doing := pl.parts.facts(st), pl.parts.plan.Explainer(pl.parts.planView(st))
		waiting := map[base.Gpid][]balance.Move{}
		for _, m := range pl.bal.queue {
			waiting[m.Gpid] = append(waiting[m.Gpid], m)
		}
		var sum judge.Summary
		for i := range t.Parts {
			if q.Partition >= 0 && int(q.Partition) != i || t.Parts[i].Unborn() {
				continue
			}
			g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
			v := f.partition(t, i)
			sum.Add(i, &v)
			e := placement.PartitionExplanation{Pid: g, Health: v.Health.String(), Verdict: base.Some(wireVerdict(&v))}
			for _, w := range v.Why {
				e.Why = append(e.Why, w.String())
			}
			if v.Health != judge.Healthy && f.context.Idle {
				e.Why = append(e.Why, "the function level is below steady: nothing is done")
			}
			for _, line := range doing(g) {
				if !slices.Contains(e.Why, line) { // what is wrong may be all that can be told of what is done
					e.Why = append(e.Why, line)
				}
			}
			if f := pl.bal.active[g]; f != nil {
				e.Why = append(e.Why, fmt.Sprintf("it is being moved, for %v: %s (%s)", (pl.now()-f.began).Round(100*time.Millisecond), describe(&f.move), f.move.Why))
			}
			for _, m := range waiting[g] {
				e.Why = append(e.Why, fmt.Sprintf("it will be moved: %s (%s)", describe(&m), m.Why))
			}
			if h := pl.parts.history[g]; h != nil {
				for _, v := range h.events {
					e.Events = append(e.Events, placement.PartitionEvent{TimeMs: v.at.UnixMilli(), What: v.what, Why: v.why})
				}
			}
			r.Partitions = append(r.Partitions, e)
		}
		r.Table = base.Some(wireTable(&tableVerdict{t.ID, t.Name, sum.Table()}))
	})
}

func (pl *placements) clusterVerdict() placement.ClusterVerdict {
	tables := pl.parts.judgeTables()
	v := pl.parts.judgeCluster(tables)
	r := placement.ClusterVerdict{State: int32(v.Health), Lost: v.Lost, Why: wireReasons(v.Why)}
	for i := range tables {
		r.Tables = append(r.Tables, wireTable(&tables[i]))
	}
	return r
}

func wireVerdict(v *judge.Verdict) placement.Verdict {
	return placement.Verdict{State: int32(v.Health), Reads: int32(v.Read), Writes: int32(v.Write), Copies: int32(v.Copies), Wanted: int32(v.Wanted), Why: wireReasons(v.Why)}
}

func wireTable(t *tableVerdict) placement.TableVerdict {
	return placement.TableVerdict{AppId: t.id, AppName: t.name, State: int32(t.Health), Partitions: int32(t.Partitions), Healthy: int32(t.Whole), Readable: int32(t.Readable),
		Writable: int32(t.Writable), FewestCopies: int32(t.Fewest), Why: wireReasons(t.Why)}
}

func wireReasons(l []judge.Reason) (list []placement.Reason) {
	for _, r := range l {
		list = append(list, placement.Reason{What: r.What, ToDo: r.Do})
	}
	return list
}

// healthPage tells what clients can do, why, and what to do.
func (pl *placements) healthPage(_ *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only() {
		return badRequest
	}
	reasons := func(l []judge.Reason) []httpapi.Object {
		list := make([]httpapi.Object, 0, len(l))
		for _, r := range l {
			list = append(list, httpapi.Object{{Name: "what", Value: r.What}, {Name: "to_do", Value: r.Do}})
		}
		return list
	}
	tables := pl.parts.judgeTables()
	v := pl.parts.judgeCluster(tables)
	list := make([]httpapi.Object, 0, len(tables))
	for i := range tables {
		t := &tables[i]
		list = append(list, httpapi.Object{{Name: "app_id", Value: t.id}, {Name: "app_name", Value: t.name}, {Name: "health", Value: t.Health.String()},
			{Name: "partitions", Value: t.Partitions}, {Name: "healthy", Value: t.Whole}, {Name: "readable", Value: t.Readable}, {Name: "writable", Value: t.Writable},
			{Name: "fewest_copies", Value: t.Fewest}, {Name: "why", Value: reasons(t.Why)}})
	}
	return httpapi.JSON(httpapi.Object{{Name: "health", Value: v.Health.String()}, {Name: "why", Value: reasons(v.Why)}, {Name: "tables", Value: list}})
}

// maxSteps is how many steps may be proposed for a partition at a time.
const maxSteps = 100

// proposeBalancer takes the steps that an administrator or a tool wants for a partition.
func (pl *placements) proposeBalancer(c *service.Call, q *metaadmin.ConfigurationBalancerRequest, r *metaadmin.ConfigurationBalancerResponse) {
	var cfg state.Config
	var ok, exists bool
	pl.s.fsm.read(func(st *state.State) {
		exists = st.Table(q.Gpid.AppID) != nil
		_, cfg, ok = st.Config(q.Gpid)
	})
	switch {
	case !exists:
		r.Err = base.ErrAppNotExist
		return
	case !ok:
		r.Err = base.ErrInvalidParameters
		return
	}
	if len(q.ActionList) > maxSteps {
		c.Req.Complain(fmt.Errorf("%d steps are proposed for partition %v, more than %d", len(q.ActionList), q.Gpid, maxSteps))
		r.Err = base.ErrInvalidParameters
		return
	}
	var steps []cure.Step
	for _, a := range q.ActionList {
		if wire.Resolve(a.Target, a.HpTarget) == 0 && cfg.Primary == 0 {
			r.Err = base.ErrInvalidParameters
			return
		}
		steps = append(steps, cure.Step{Type: a.Type, Node: wire.Resolve(a.Node, a.HpNode)})
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if len(steps) == 1 && steps[0].Type == metaadmin.CT_ASSIGN_PRIMARY && cfg.Members() > 0 {
		// It had members: this gives up what they have more, if none of them can be used.
		lost := false
		pl.s.fsm.read(func(st *state.State) { lost = pl.parts.plan.Lost(pl.parts.planView(st), q.Gpid) })
		if cp, ok := pl.nodes.of(steps[0].Node).stored[q.Gpid]; !lost || !ok || !cp.Usable() || !pl.nodes.det.Alive(steps[0].Node) {
			why := "that has no replica that can be used, or is dead"
			if !lost {
				why = "a member of it can be used"
			}
			c.Req.Complain(fmt.Errorf("partition %v can't begin anew with what %v has: %s", q.Gpid, steps[0].Node, why))
			r.Err = base.ErrInvalidParameters
			return
		}
		pl.log.Errorf("partition %v: an administrator has it begin anew with what %v has: what that lacks is lost; asked by %s", q.Gpid, steps[0].Node, c.From)
		pl.parts.recordEvent(q.Gpid, "begins anew with what "+steps[0].Node.String()+" has", "an administrator accepts that the rest is lost")
		pl.parts.plan.Accept(q.Gpid, steps[0].Node)
		pl.parts.toCheck[q.Gpid] = struct{}{}
		pl.kick()
		r.Err = base.ErrOK
		return
	}
	if q.Force.Or(false) {
		pl.parts.plan.ClearStepsOf(q.Gpid, "an administrator proposed other steps")
	}
	if !pl.parts.plan.Propose(q.Gpid, steps) {
		r.Err = base.ErrInvalidParameters
		return
	}
	pl.bal.guest.moveAsked(pl.now(), q.Gpid)
	pl.changed(c, "%d steps are proposed for partition %v", len(steps), q.Gpid)
	pl.parts.recordEvent(q.Gpid, fmt.Sprintf("%d steps are proposed", len(steps)), "by an administrator or a tool")
	pl.parts.toCheck[q.Gpid] = struct{}{}
	pl.kick()
	r.Err = base.ErrOK
}

func (pl *placements) listNodes(c *service.Call, q *metaadmin.ConfigurationListNodesRequest, r *metaadmin.ConfigurationListNodesResponse) {
	r.Err = base.ErrOK
	pl.mu.Lock()
	nodes := pl.nodes.det.Nodes()
	for a, n := range pl.nodes.byAddr {
		if n.refused == nil {
			continue
		}
		r.Refused = base.Some(append(r.Refused.V, metaadmin.RefusedNode{Node: a, Why: n.refused.why}))
		// Upstream's tools know only of nodes that don't live. One that isn't on the white list is none.
		if _, known := pl.nodes.det.Node(a); !known && pl.s.allowed(a, base.HostPort{}) {
			nodes = append(nodes, detector.Node{Addr: a})
		}
	}
	pl.mu.Unlock()
	slices.SortFunc(nodes, func(a, b detector.Node) int { return cmp.Compare(a.Addr, b.Addr) })
	slices.SortFunc(r.Refused.V, func(a, b metaadmin.RefusedNode) int { return cmp.Compare(a.Node, b.Node) })
	for _, status := range []metaadmin.NodeStatus{metaadmin.NS_ALIVE, metaadmin.NS_UNALIVE} {
		if q.Status != metaadmin.NS_INVALID && q.Status != status {
			continue
		}
		for _, n := range nodes {
			if n.Alive == (status == metaadmin.NS_ALIVE) {
				r.Infos = append(r.Infos, metaadmin.NodeInfo{Status: status, Node: n.Addr, HpNode: c.Names.Opt(n.Addr)})
			}
		}
	}
}

func (pl *placements) nodesPage(c *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("detail") {
		return badRequest
	}
	pl.mu.Lock()
	nodes := pl.nodes.det.Nodes()
	pl.mu.Unlock()
	details := httpapi.Object{}
	alive := 0
	for _, n := range nodes {
		name, status := c.Names.Of(n.Addr).String(), "UNALIVE"
		if n.Alive {
			status = "ALIVE"
			alive++
		}
		row := httpapi.Object{{Name: "address", Value: name}, {Name: "status", Value: status}}
		if q.Has("detail") {
			var primaries, replicas int
			pl.s.fsm.read(func(st *state.State) {
				l := st.Load(n.Addr)
				primaries, replicas = int(l.Primaries), int(l.Replicas)
			})
			row.Add("replica_count", strconv.Itoa(replicas))
			row.Add("primary_count", strconv.Itoa(primaries))
			row.Add("secondary_count", strconv.Itoa(replicas-primaries))
		}
		details.Add(name, row)
	}
	slices.SortFunc(details, func(a, b httpapi.Field) int { return strings.Compare(a.Name, b.Name) })
	return httpapi.JSON(httpapi.Object{{Name: "details", Value: details}, {Name: "summary", Value: httpapi.Object{
		{Name: "total_node_count", Value: strconv.Itoa(len(nodes))}, {Name: "alive_node_count", Value: strconv.Itoa(alive)},
		{Name: "unalive_node_count", Value: strconv.Itoa(len(nodes) - alive)}}}})
}
