package meta

import (
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/placement"
	"pegasus/meta/balance"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// registerPlacement adds the requests of our own about where replicas are.
func (s *Server) registerPlacement(mux *rpc.Mux) {
	const fast, slow = false, true
	onLeader(s, mux, "RPC_CM_REBALANCE", slow,
		func(r *placement.RebalanceResponse, e base.ErrorCode) { r.Err = e }, (*call).rebalance)
	onLeader(s, mux, "RPC_CM_NODE_ROLE", slow,
		func(r *placement.NodeRoleResponse, e base.ErrorCode) { r.Err = e }, (*call).nodeRole)
	onLeader(s, mux, "RPC_CM_EXPLAIN", fast,
		func(r *placement.ExplainResponse, e base.ErrorCode) { r.Err = e }, (*call).explain)
}

const levelHint = "the function level is below steady, where nothing is moved: raise it first (admin-cli: meta-level steady)"

// rebalance plans, begins, watches and ends the evening out of replicas.
func (c *call) rebalance(q *placement.RebalanceRequest, r *placement.RebalanceResponse) {
	run := &balanceRun{primariesOnly: q.PrimariesOnly}
	var level state.Level
	c.s.fsm.read(func(st *state.State) {
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
		r.Err, r.HintMessage = base.ErrStateFreezed, levelHint
		return
	}
	if q.Action == placement.REBALANCE_PLAN {
		c.planOnly(run, r)
		return
	}
	switch q.Action {
	case placement.REBALANCE_START:
		if r.Err = c.startRun(run); r.Err == base.ErrBusy {
			r.HintMessage = "a rebalancing is under way: wait for it, or end it with `pegasus rebalance --stop`"
		}
	case placement.REBALANCE_STOP:
		if !c.stopRun() {
			r.Err, r.HintMessage = base.ErrInvalidState, "no rebalancing is under way"
		}
	}
	c.rebalanceStatus(r)
}

func (c *call) startRun(run *balanceRun) base.ErrorCode {
	res := c.apply(&state.StartRun{Table: run.table, PrimariesOnly: run.primariesOnly, Now: time.Now().Unix()})
	if res.Err != base.ErrOK {
		return res.Err
	}
	c.locked(func(st *state.State) {
		if now := st.Run(); now.Active() {
			c.bal.run, c.bal.hopeless = newRun(now), 0
		}
		c.replan()
	})
	c.kick()
	return base.ErrOK
}

// stopRun reports false if there is nothing to stop.
func (c *call) stopRun() bool {
	c.mu.Lock()
	if c.bal.run == nil {
		c.mu.Unlock()
		return false
	}
	ended := c.endRun("by request")
	c.replan()
	c.mu.Unlock()
	<-ended
	return true
}

// rebalanceStatus fills in what is under way.
func (c *call) rebalanceStatus(r *placement.RebalanceResponse) {
	b := &c.bal
	c.locked(func(st *state.State) {
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
		r.Stuck = b.stuck
		for _, f := range b.flights {
			r.Moves = append(r.Moves, wireMove(&f.move, true))
		}
		slices.SortFunc(r.Moves, func(x, y placement.Move) int { return x.Pid.Compare(y.Pid) })
		for i := range b.queue {
			r.Moves = append(r.Moves, wireMove(&b.queue[i], false))
		}
		if r.HintMessage == "" {
			r.HintMessage = b.waits
		}
	})
}

func wireMove(m *balance.Move, running bool) placement.Move {
	return placement.Move{Pid: m.Gpid, Kind: placement.MoveKind(m.Kind), Source: m.From, Target: m.To, Primary: m.Primary, Bytes: m.Bytes, Why: m.Why, Running: running}
}

// planOnly says what a rebalancing would do.
func (c *call) planOnly(run *balanceRun, r *placement.RebalanceResponse) {
	view, ill, _ := c.balanceView(run)
	tolerance := float64(c.s.cfg.Meta.BalanceBytes) / 100
	p := balance.MakePlan(view, balance.Options{RolesOnly: run.primariesOnly, Tolerance: tolerance})
	for _, m := range withoutAdds(p) {
		r.Moves = append(r.Moves, wireMove(&m, false))
	}
	r.Stuck = p.Stuck
	span := func(s balance.Span) placement.Span { return placement.Span{Least: s.Min, Most: s.Max} }
	r.Primaries, r.Replicas = span(p.Before.Primaries), span(p.Before.Replicas)
	r.PrimariesAfter, r.ReplicasAfter = span(p.After.Primaries), span(p.After.Replicas)
	if ill > 0 {
		r.HintMessage = fmt.Sprintf("%d partitions aren't whole: they are cured first, and not moved", ill)
	}
}

// nodeRole tells, and changes, what nodes may have.
func (c *call) nodeRole(q *placement.NodeRoleRequest, r *placement.NodeRoleResponse) {
	r.Err = base.ErrOK
	if q.Change {
		if r.Err, r.HintMessage = c.checkRole(q); r.Err != base.ErrOK {
			return
		}
		if r.Err = c.apply(&state.SetNodeRole{Node: q.Node, Role: state.Role(q.Role)}).Err; r.Err != base.ErrOK {
			return
		}
		c.log.Infof("node %v gets role %v", q.Node, q.Role)
		c.mu.Lock()
		c.replan()
		c.mu.Unlock()
		c.kick()
	}
	c.listRoles(r)
}

// checkRole says why a node can't get a role.
func (c *call) checkRole(q *placement.NodeRoleRequest) (code base.ErrorCode, hint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	code = base.ErrOK
	c.s.fsm.read(func(st *state.State) {
		_, known := c.det.Node(q.Node)
		switch {
		case q.Role < placement.NODE_FULL || q.Role > placement.NODE_LEAVING:
			code, hint = base.ErrInvalidParameters, fmt.Sprintf("there is no role %d", q.Role)
			return
		case !known && st.Load(q.Node).Replicas == 0 && st.Role(q.Node) == state.RoleFull:
			code, hint = base.ErrObjectNotFound, fmt.Sprintf("no replica server %v is known: `pegasus nodes` lists them", q.Node)
			return
		case st.Level() < state.LevelSteady:
			code, hint = base.ErrStateFreezed, levelHint
			return
		case q.Role != placement.NODE_LEAVING:
			return
		}
		left := 0
		for _, n := range c.det.Nodes() {
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

func (c *call) listRoles(r *placement.NodeRoleResponse) {
	at := map[base.RPCAddress]int{}
	c.locked(func(st *state.State) {
		for i, n := range c.det.Nodes() {
			at[n.Addr] = i
			l, d := st.Load(n.Addr), c.space[n.Addr]
			r.Nodes = append(r.Nodes, placement.NodePlacement{Node: n.Addr, Alive: n.Alive, Reported: c.reported[n.Addr], StartTime: n.StartTime, Rack: c.racks[n.Addr],
				Role: placement.NodeRole(st.Role(n.Addr)), Primaries: int32(l.Primaries), Replicas: int32(l.Replicas),
				Disks: int32(d.disks), DisksShort: int32(d.short), DisksBroken: int32(d.broken), CapacityMb: d.capacityMB, AvailableMb: d.availableMB})
		}
		r.Stuck = c.bal.stuck
		r.HintMessage = c.few(st)
	})
	var members []base.RPCAddress
	part := func(t *state.Table, i int) {
		g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
		members = t.Parts[i].AppendMembers(members[:0])
		alive := 0
		for _, a := range members {
			if c.det.Alive(a) && !c.unfit[a][g] {
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
			n.Bytes += c.bytes[g]
			others := alive
			if c.det.Alive(a) && !c.unfit[a][g] {
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
		c.locked(func(st *state.State) {
			w.piece(st, func(t *state.Table, from, to int) {
				for i := from; i < to; i++ {
					part(t, i)
				}
			})
		})
	}
}

// explain tells how partitions are, why, and what was done about them last.
func (c *call) explain(q *placement.ExplainRequest, r *placement.ExplainResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.fsm.read(func(st *state.State) {
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
		why := c.plan.Explainer(c.planView(st))
		waiting := map[base.Gpid][]balance.Move{}
		for _, m := range c.bal.queue {
			waiting[m.Gpid] = append(waiting[m.Gpid], m)
		}
		gone := c.view.Load().dead
		for i := range t.Parts {
			if q.Partition >= 0 && int(q.Partition) != i {
				continue
			}
			g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
			e := placement.PartitionExplanation{Pid: g, Health: healthNames[partHealthOf(&t.Parts[i], t.MaxReplicas, c.s.minMembers(t.MaxReplicas), gone)]}
			if st.Level() < state.LevelSteady {
				e.Why = append(e.Why, "the function level is below steady: nothing is done")
			}
			e.Why = append(e.Why, why(g)...)
			if f := c.bal.flights[g]; f != nil {
				e.Why = append(e.Why, fmt.Sprintf("it is being moved, for %v: %s (%s)", (c.now()-f.began).Round(100*time.Millisecond), describe(&f.move), f.move.Why))
			}
			for _, m := range waiting[g] {
				e.Why = append(e.Why, fmt.Sprintf("it will be moved: %s (%s)", describe(&m), m.Why))
			}
			if h := c.history[g]; h != nil {
				for _, v := range h.events {
					e.Events = append(e.Events, placement.PartitionEvent{TimeMs: v.at.UnixMilli(), What: v.what, Why: v.why})
				}
			}
			r.Partitions = append(r.Partitions, e)
		}
	})
}

var healthNames = [...]string{healthy: "healthy", writableIll: "lacks replicas", unwritable: "not writable", unreadable: "not readable", dead: "dead"}
