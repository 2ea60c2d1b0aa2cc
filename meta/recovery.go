package meta

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// inventoryTime bounds what a replica server takes to tell what it has.
const inventoryTime = 5 * time.Second

// inventory is what one replica server has.
type inventory struct {
	node     base.RPCAddress
	tables   []layer2.AppInfo
	replicas []metadata.ReplicaInfo
	err      error
}

// startRecovery rebuilds the tables of a quorum that lost its state from what the replica
// servers have. It refuses where there is, or was, a table: nothing is ever overwritten. In
// a state that was restored from a backup it replaces what that says of partitions.
func (c *call) startRecovery(q *metaadmin.ConfigurationRecoveryRequest, r *metaadmin.ConfigurationRecoveryResponse) {
	used, restored := false, false
	var old []state.Table
	c.s.fsm.read(func(st *state.State) {
		used, restored = st.LastID() != 0, st.Restored()
		if restored {
			st.Tables(func(t *state.Table) { old = append(old, *t) })
		}
	})
	if used && !restored {
		r.Err = base.ErrServiceAlreadyRunning
		return
	}
	nodes := slices.Clone(q.RecoveryNodes)
	for _, h := range q.HpRecoveryNodes.V {
		if a := resolve(0, base.Some(h)); a != 0 && !slices.Contains(nodes, a) {
			nodes = append(nodes, a)
		}
	}
	if len(nodes) == 0 {
		r.Err, r.HintMessage = base.ErrInvalidParameters, "no replica server is named"
		return
	}
	all := c.takeInventory(nodes)
	c.s.fsm.read(func(st *state.State) {
		for i := range all { // what was dropped and forgotten doesn't come back
			all[i].tables = slices.DeleteFunc(all[i].tables, func(a layer2.AppInfo) bool { return st.Purged(a.AppId) })
			all[i].replicas = slices.DeleteFunc(all[i].replicas, func(r metadata.ReplicaInfo) bool { return st.Purged(r.Pid.AppID) })
		}
	})
	var hint strings.Builder
	for _, inv := range all {
		if inv.err != nil {
			fmt.Fprintf(&hint, "ERROR: collect app and replica from node(%v) failed: %v\n", inv.node, inv.err)
		}
	}
	if hint.Len() > 0 && !q.SkipBadNodes {
		r.Err, r.HintMessage = base.ErrTryAgain, hint.String()
		return
	}
	tables, lost := rebuild(all, old, time.Now().Unix())
	for _, g := range lost {
		fmt.Fprintf(&hint, "ERROR: partition(%v) has no replica collected\n", g)
	}
	unnamed := nameless(all, tables)
	for _, id := range unnamed {
		fmt.Fprintf(&hint, "ERROR: table(%d) has replicas, but no replica server knows its name and its partitions\n", id)
	}
	if len(lost)+len(unnamed) > 0 && !q.SkipLostPartitions {
		r.Err, r.HintMessage = base.ErrTryAgain, hint.String()
		return
	}
	r.HintMessage = hint.String()
	if r.Err = c.apply(&state.Recover{Tables: tables, Merged: restored}).Err; r.Err != base.ErrOK {
		return
	}
	for i := range tables {
		t := &tables[i]
		if t.Status != state.Available {
			continue
		}
		c.log.Warnf("table %q (%d) of %d partitions is recovered", t.Name, t.ID, len(t.Parts))
		for p := range t.Parts {
			if cfg := &t.Parts[p]; cfg.Primary != 0 {
				c.pushChange(t, base.Gpid{AppID: t.ID, PartitionIndex: int32(p)}, cfg)
			}
		}
		c.lookAt(t.ID)
	}
}

// takeInventory asks all nodes at once.
func (l *leader) takeInventory(nodes []base.RPCAddress) []inventory {
	all := make([]inventory, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			inv := &all[i]
			inv.node = n
			ctx, cancel := context.WithTimeout(l.ctx, inventoryTime)
			defer cancel()
			ask := func(code string, q tbin.Encoder, r tbin.Decoder) error {
				return l.s.pool.Call(ctx, n.String(), rpc.Outgoing{Code: code, Arg: q, From: l.s.self}, r)
			}
			var apps metaadmin.QueryAppInfoResponse
			var reps replicaadmin.QueryReplicaInfoResponse
			inv.err = ask("RPC_QUERY_APP_INFO", &metaadmin.QueryAppInfoRequest{MetaServer: l.s.self}, &apps)
			if inv.err == nil {
				inv.err = ask("RPC_QUERY_REPLICA_INFO", &replicaadmin.QueryReplicaInfoRequest{Node1: n}, &reps)
			}
			for _, code := range []base.ErrorCode{apps.Err, reps.Err} {
				if inv.err == nil && code != base.ErrOK {
					inv.err = code
				}
			}
			inv.tables, inv.replicas = apps.Apps, reps.Replicas
		})
	}
	wg.Wait()
	return all
}

// found is a replica on a node.
type found struct {
	node base.RPCAddress
	metadata.ReplicaInfo
}

// rebuild makes tables out of inventories; lost are the partitions of available tables that
// nobody has. old are the tables of a backup: what only the meta knows is taken from them,
// what the replica servers know as well, from those, who can't be behind a backup.
func rebuild(all []inventory, old []state.Table, now int64) (tables []state.Table, lost []base.Gpid) {
	infos := map[int32]*layer2.AppInfo{}
	replicas := map[base.Gpid][]found{}
	best := map[int32]int64{}
	for _, inv := range all {
		if inv.err != nil {
			continue
		}
		ballot := map[int32]int64{} // the newest that the node has of the table
		for _, rep := range inv.replicas {
			replicas[rep.Pid] = append(replicas[rep.Pid], found{inv.node, rep})
			ballot[rep.Pid.AppID] = max(ballot[rep.Pid.AppID], rep.Ballot)
		}
		for i := range inv.tables {
			a := &inv.tables[i]
			if !described(a) {
				continue // by no means the newest, whatever the ballot
			}
			if infos[a.AppId] == nil || ballot[a.AppId] > best[a.AppId] {
				infos[a.AppId], best[a.AppId] = a, ballot[a.AppId]
			}
		}
	}
	before := map[int32]*state.Table{}
	for i := range old {
		t := &old[i]
		before[t.ID] = t
		if infos[t.ID] == nil {
			// No replica server has anything of it.
			infos[t.ID] = &layer2.AppInfo{AppId: t.ID, AppName: t.Name, AppType: t.Type, IsStateful: t.Stateful, PartitionCount: int32(len(t.Parts)),
				MaxReplicaCount: t.MaxReplicas, CreateSecond: t.CreateSecond, Envs: t.Envs, AtomicIdempotent: base.Some(t.AtomicIdempotent)}
		}
	}
	names := map[string]bool{}
	for id, a := range infos {
		if !described(a) {
			continue
		}
		t := state.Table{
			ID: id, Status: state.Available, Name: a.AppName, Type: a.AppType, Stateful: a.IsStateful, MaxReplicas: a.MaxReplicaCount,
			InitPartitions: a.PartitionCount, CreateSecond: cmp.Or(a.CreateSecond, now), AtomicIdempotent: a.AtomicIdempotent.Or(false),
			Envs: a.Envs, Parts: make([]state.Config, a.PartitionCount),
		}
		if b := before[id]; b != nil {
			t.Status, t.DropSecond, t.ExpireSecond = b.Status, b.DropSecond, b.ExpireSecond
			t.InitPartitions, t.Duplicating, t.BulkLoading = b.InitPartitions, b.Duplicating, b.BulkLoading
			t.CreateSecond = cmp.Or(b.CreateSecond, t.CreateSecond)
		}
		for i := range t.Parts {
			g := base.Gpid{AppID: id, PartitionIndex: int32(i)}
			t.Parts[i] = choose(replicas[g])
			switch b := before[id]; {
			case t.Parts[i].Primary != 0:
			case t.Status == state.Available:
				lost = append(lost, g)
			case i < len(b.Parts):
				t.Parts[i] = b.Parts[i]
			}
		}
		tables = append(tables, t)
	}
	// Of two tables with one name, which was dropped and which not nobody knows; the newer
	// one keeps it.
	slices.SortFunc(tables, func(a, b state.Table) int { return -cmp.Compare(a.ID, b.ID) })
	for i := range tables {
		if tables[i].Status != state.Available {
			continue // its name is free
		}
		for t := &tables[i]; names[t.Name]; {
			t.Name = fmt.Sprintf("%s__%d", t.Name, t.ID)
		}
		names[tables[i].Name] = true
	}
	slices.Reverse(tables)
	slices.SortFunc(lost, base.Gpid.Compare)
	return tables, lost
}

// described tells whether a replica server knows the table. It may have a replica and not do
// so: it learned it, and hasn't been told of the table by a meta yet.
func described(a *layer2.AppInfo) bool {
	return a.AppId > 0 && a.PartitionCount > 0 && a.MaxReplicaCount > 0 && a.AppName != ""
}

// nameless returns the ids of tables that there are replicas of, and that aren't among tables.
func nameless(all []inventory, tables []state.Table) (ids []int32) {
	for _, inv := range all {
		for _, r := range inv.replicas {
			id := r.Pid.AppID
			if r.Status != metadata.PS_ERROR && !slices.Contains(ids, id) && !slices.ContainsFunc(tables, func(t state.Table) bool { return t.ID == id }) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// choose returns a partition's configuration: the best replica as the only member, under a
// ballot that none has seen; the others come back as learners. Every write that was
// acknowledged was prepared by all members of its time. So the best has prepared whatever
// anybody committed; among those it is of the newest ballot and has prepared most.
func choose(list []found) (c state.Config) {
	var committed, ballot int64
	for _, f := range list {
		committed, ballot = max(committed, f.LastCommittedDecree), max(ballot, f.Ballot)
	}
	list = slices.DeleteFunc(slices.Clone(list), func(f found) bool {
		return f.Status == metadata.PS_ERROR || f.LastPreparedDecree < committed
	})
	if len(list) == 0 {
		return c
	}
	best := slices.MaxFunc(list, func(a, b found) int {
		learns := func(f found) int { // a learner's ballot says nothing of its data
			if f.Status == metadata.PS_POTENTIAL_SECONDARY {
				return 0
			}
			return 1
		}
		// Who leads goes on leading: it may answer reads under its lease for a while yet.
		leads := func(f found) int {
			if f.Status == metadata.PS_PRIMARY {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(learns(a), learns(b)), cmp.Compare(a.Ballot, b.Ballot), cmp.Compare(leads(a), leads(b)), cmp.Compare(a.LastPreparedDecree, b.LastPreparedDecree),
			cmp.Compare(a.LastCommittedDecree, b.LastCommittedDecree), -cmp.Compare(a.node, b.node))
	})
	return state.Config{Ballot: ballot + 1, Primary: best.node, LastCommitted: best.LastCommittedDecree}
}
