package meta

import (
	"slices"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/meta/cure"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
)

// configSync takes what a node stores and answers with what it should serve.
func (sv *servers) configSync(_ *service.Call, q *metaadmin.ConfigurationQueryByNodeRequest, r *metaadmin.ConfigurationQueryByNodeResponse) {
	node := wire.Resolve(q.Node, q.HpNode)
	if !wire.IsServer(node) {
		r.Err = base.ErrInvalidParameters
		return
	}
	if !sv.s.allowed(node, q.HpNode.V) {
		r.Err = base.ErrACLDeny
		return
	}
	_, id := sv.s.fsm.cluster()
	r.ClusterId = base.NonZero(id)
	if why := foreign(id, q.ClusterId.V); why != "" {
		sv.nodes.refuse(node, why, false)
		r.Err = base.ErrClusterNotFound
		if sv.nodes.noteForeign(node, q.StoredReplicas.V) {
			sv.nodes.reserveIDs()
		}
		return
	}
	if strangers := sv.takeSync(node, q, r); strangers {
		sv.nodes.reserveIDs()
	}
}

// takeSync is configSync once the node may ask. It reports whether the node has replicas of
// tables that nobody knows, and that is news.
func (sv *servers) takeSync(node base.RPCAddress, q *metaadmin.ConfigurationQueryByNodeRequest, r *metaadmin.ConfigurationQueryByNodeResponse) (strangers bool) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	// A dead node has to be acknowledged first; and a leader that may be deposed could be
	// wrong about what is of no use. What a backup says of roles may be long past.
	if _, known := sv.nodes.det.Node(node); known && !sv.nodes.det.Alive(node) || !sv.confirmed() || sv.restored() || !sv.placed(node, q.HpNode.V) {
		r.Err = base.ErrBusy
		return false
	}
	r.Err = base.ErrOK
	n := sv.nodes.at(node)
	first := !n.reported
	n.reported, n.holds = true, len(q.StoredReplicas.V) > 0
	stored, unfit, holder := make(map[base.Gpid]cure.Replica, len(q.StoredReplicas.V)), map[base.Gpid]bool{}, false
	usable := make(map[base.Gpid]bool, len(q.StoredReplicas.V))
	for _, rep := range q.StoredReplicas.V {
		usable[rep.Pid] = rep.Status != metadata.PS_ERROR
	}
	sv.s.fsm.read(func(st *state.State) {
		sv.parts.noteBelievedRoles(st, node, q.StoredReplicas.V, usable)
		strangers = sv.nodes.noteUnknownTables(st, node, q.StoredReplicas.V)
		sv.reports(&service.Report{Node: node, State: st, Request: q, Answer: r})
		mine := st.PartitionsOf(node)
		r.Partitions = make([]metaadmin.ConfigurationUpdateRequest, 0, len(mine))
		for _, g := range mine {
			t, cfg, _ := st.Config(g)
			if q.StoredReplicas.Set && !usable[g] {
				unfit[g] = true
			}
			r.Partitions = append(r.Partitions, metaadmin.ConfigurationUpdateRequest{
				Info: wire.InfoFor(t, g), Config: wire.Partition(t, g, &cfg), Type: metaadmin.CT_INVALID, Node: node, MustHold: base.Some(sv.parts.copies.known[g]),
				MayList: base.Some(st.MayList(t.ID)),
			})
		}
		for _, rep := range q.StoredReplicas.V {
			if sv.useless(st, node, &rep) {
				r.GcReplicas.Set = true
				r.GcReplicas.V = append(r.GcReplicas.V, rep)
				if dropped(st, rep.Pid.AppID) && !slices.Contains(r.Over.V, rep.Pid.AppID) {
					r.Over = base.Some(append(r.Over.V, rep.Pid.AppID))
				}
				continue
			}
			// Also of tables that aren't known: they may be recovered.
			cp := copyOf(&rep)
			stored[rep.Pid] = cp
			if _, cfg, ok := st.Config(rep.Pid); ok {
				sv.parts.copies.heard(rep.Pid, &cfg, node, cp)
				holder = holder || !cfg.Has(node)
			}
			if cp.Learner {
				sv.parts.plan.Learning(sv.now(), rep.Pid, node)
			}
		}
	})
	n.stored, n.unfit = stored, unfit
	n.serves = judge.Yes // it asks for its roles before its lease begins anew, and has them now
	if first || holder || len(unfit) > 0 {
		sv.kick()
	}
	return strangers
}

// dropped tells whether a table was dropped; it may be forgotten since.
func dropped(st *state.State, id int32) bool {
	t := st.Table(id)
	return t == nil && st.Purged(id) || t != nil && t.Status == state.Dropped
}

// useless tells whether a node may throw a stored replica away: its table was dropped long
// enough ago, and may be forgotten since, or its partition has all the members it wants, alive and sound, without that
// node, and nobody is being given a copy. What the meta doesn't know is never useless.
func (sv *servers) useless(st *state.State, node base.RPCAddress, rep *metadata.ReplicaInfo) bool {
	t := st.Table(rep.Pid.AppID)
	if st.Level() < state.LevelSteady {
		return false
	}
	if t == nil {
		return st.Purged(rep.Pid.AppID)
	}
	if t.Status == state.Dropped {
		return sv.nodes.clockTrusted() && t.Expired(sv.nodes.clocks.wall().Add(-gcMargin).Unix())
	}
	_, cfg, ok := st.Config(rep.Pid)
	if !ok || cfg.Has(node) || rep.Status == metadata.PS_POTENTIAL_SECONDARY || cfg.Members() < int(t.MaxReplicas) || sv.parts.plan.Adding(rep.Pid) {
		return false
	}
	return !slices.ContainsFunc(cfg.AppendMembers(nil), func(a base.RPCAddress) bool {
		return !sv.nodes.det.Alive(a) || !sv.nodes.of(a).reported || sv.nodes.of(a).unfit[rep.Pid]
	})
}
