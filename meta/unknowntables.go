package meta

import (
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/meta/state"
)

// spareIDs is how many ids a meta leaves free that finds replicas of tables it doesn't know and
// never had one: servers that are still to come may have some of later tables.
const spareIDs = 1000

// noteUnknownTables remembers of which tables a node has replicas that the metas don't know. Nothing
// of them is touched: most likely the metas lost their state. It reports whether that is news.
// The caller holds mu, and the State.
func (ns *nodes) noteUnknownTables(st *state.State, node base.RPCAddress, list []metadata.ReplicaInfo) bool {
	var ids []int32
	for i := range list {
		id := list[i].Pid.AppID
		if st.Table(id) == nil && !st.Purged(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if slices.Equal(ids, ns.of(node).unknown) {
		return false
	}
	ns.at(node).unknown = ids
	if len(ids) == 0 {
		return false
	}
	ns.log.Errorf("node %v has replicas of tables that the metas don't know: ids %v; nothing of them is touched, and no table gets such an id; if the metas lost their state run `pegasus recover`, before anything else is done", node, ids)
	return true
}

// unknownTables are the ids of tables that only replica servers know, ascending. The caller
// holds mu, and the State.
func (ns *nodes) unknownTables(st *state.State) (ids []int32) {
	for _, n := range ns.byAddr {
		for _, id := range n.unknown {
			if st.Table(id) == nil && !st.Purged(id) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// unknownTablesHint says which tables only replica servers know, "" if there are none.
func (ns *nodes) unknownTablesHint() string {
	var ids []int32
	ns.locked(func(st *state.State) { ids = ns.unknownTables(st) })
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("replica servers have replicas of %d tables that the metas don't know (ids %v): nothing of them is touched; if the metas lost their state, `pegasus recover` brings the tables back", len(ids), ids)
}

// reserveIDs makes sure that no table gets an id of which a replica server has said that it
// has replicas.
func (ns *nodes) reserveIDs() base.ErrorCode {
	last, never := int32(0), false
	ns.locked(func(st *state.State) {
		for _, id := range ns.unknownTables(st) {
			if id <= state.MaxTableID {
				last = max(last, id)
			}
		}
		if last <= st.LastID() {
			last = 0
		}
		never = st.LastID() == 0
	})
	if last == 0 {
		return base.ErrOK
	}
	if never {
		last = min(last+spareIDs, state.MaxTableID)
	}
	return ns.apply(&state.ReserveIDs{Last: last}).Err
}

// settleIDs says why no table can be made yet. Metas that never had a table may have lost their
// state: they wait until every living replica server has said what it stores, for whose ids
// aren't used again.
func (ns *nodes) settleIDs() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(ns.s.cfg.Meta.CreateWait.D())
	for {
		silent := base.RPCAddress(0)
		ns.locked(func(st *state.State) {
			if !st.Fresh() {
				return
			}
			for _, n := range ns.det.Nodes() {
				if n.Alive && !ns.of(n.Addr).reported {
					silent = n.Addr
				}
			}
			for a, n := range ns.byAddr {
				if n.refused != nil && n.refused.told && !n.refused.lists {
					silent = a
				}
			}
		})
		if silent == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("the metas never had a table, and node %v hasn't said yet what it stores: %w", silent, base.ErrTryAgain)
		case <-ns.ctx.Done():
			return fmt.Errorf("no longer the leader: %w", base.ErrForwardToOthers)
		}
	}
	if code := ns.reserveIDs(); code != base.ErrOK {
		return fmt.Errorf("replica servers have replicas of tables that the metas don't know, and their ids can't be set aside: %w", code)
	}
	return nil
}
