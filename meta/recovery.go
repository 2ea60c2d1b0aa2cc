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
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	protocol "pegasus/pacifica/split"
	"pegasus/rpc"
)

// recovery is the service that brings back what the metas, or the members of a partition,
// lost.
type recovery struct {
	service.Quiet
	*term
	nodes *nodes
	parts *partitions
}

func newRecovery(l *leader) service.Service {
	return &recovery{term: l.term, nodes: l.nodes, parts: l.parts}
}

// Register adds the requests about what was lost.
func (*recovery) Register(r *service.Routes) {
	service.Handle(r, base.RPCStartRecovery, service.Slow, (*recovery).startRecovery)
	service.Handle(r, base.RPCDDDDiagnose, service.Fast, (*recovery).diagnose)
}

// inventoryTime bounds what a replica server takes to tell what it has.
const inventoryTime = 5 * time.Second

// inventory is what one replica server has.
type inventory struct {
	node     base.RPCAddress
	tables   []layer2.AppInfo
	replicas []metadata.ReplicaInfo
	cluster  string // the identity that its data has, "" if none
	err      error
}

// startRecovery rebuilds the tables of a quorum that lost its state from what the replica
// servers have. Where there is, or was, a table it brings back those that the metas don't know,
// beside the others: nothing is ever overwritten. In
// a state that was restored from a backup it replaces what that says of partitions.
//
// Metas that never had a table set ids aside when a server says what it stores, which may be while the servers are asked.
// That isn't somebody's recovery: it is looked again, once, since ids are set aside for good.
func (rc *recovery) startRecovery(c *service.Call, q *metaadmin.ConfigurationRecoveryRequest, r *metaadmin.ConfigurationRecoveryResponse) {
	if begun := rc.recover(c, q, r); begun {
		*r = metaadmin.ConfigurationRecoveryResponse{}
		rc.recover(c, q, r)
	}
}

// recover is startRecovery as of one look at the metas' state. begun: that had no ids then, and has since.
func (rc *recovery) recover(c *service.Call, q *metaadmin.ConfigurationRecoveryRequest, r *metaadmin.ConfigurationRecoveryResponse) (begun bool) {
	used, restored := false, false
	var old []state.Table
	rc.s.fsm.read(func(st *state.State) {
		used, restored = st.LastID() != 0, st.Restored()
		if restored {
			st.Tables(func(t *state.Table) { old = append(old, *t) })
		}
	})
	nodes := slices.Clone(q.RecoveryNodes)
	for _, h := range q.HpRecoveryNodes.V {
		if a := wire.Resolve(0, base.Some(h)); a != 0 && !slices.Contains(nodes, a) {
			nodes = append(nodes, a)
		}
	}
	if len(nodes) == 0 {
		r.Err, r.HintMessage = base.ErrInvalidParameters, "no replica server is named"
		return false
	}
	all := rc.takeInventory(nodes)
	var hint strings.Builder
	rc.s.fsm.read(func(st *state.State) {
		for i := range all {
			if used && !restored {
				hint.WriteString(otherTables(st, &all[i]))
				all[i].tables = slices.DeleteFunc(all[i].tables, func(a layer2.AppInfo) bool { return st.Table(a.AppId) != nil })
				all[i].replicas = slices.DeleteFunc(all[i].replicas, func(r metadata.ReplicaInfo) bool { return st.Table(r.Pid.AppID) != nil })
			}
			// What was dropped and forgotten doesn't come back.
			all[i].tables = slices.DeleteFunc(all[i].tables, func(a layer2.AppInfo) bool { return st.Purged(a.AppId) })
			all[i].replicas = slices.DeleteFunc(all[i].replicas, func(r metadata.ReplicaInfo) bool { return st.Purged(r.Pid.AppID) })
		}
	})
	clash := hint.Len()
	for _, inv := range all {
		if inv.err != nil {
			fmt.Fprintf(&hint, "ERROR: collect app and replica from node(%v) failed: %v\n", inv.node, inv.err)
		}
	}
	if hint.Len() > clash && !q.SkipBadNodes {
		r.Err, r.HintMessage = base.ErrTryAgain, hint.String()
		unknown := slices.ContainsFunc(all, func(i inventory) bool { return len(i.tables)+len(i.replicas) > 0 })
		has := false
		rc.s.fsm.read(func(st *state.State) { st.Tables(func(*state.Table) { has = true }) })
		if has && !restored && !unknown {
			r.Err = base.ErrServiceAlreadyRunning // as upstream: who answered has nothing to recover
		}
		return false
	}
	v, own := rc.s.fsm.cluster()
	id, err := identityOf(all, own, old)
	if err == nil && id != "" && !v.Allows(version.ClusterID) {
		err = fmt.Errorf("the replica servers are of the cluster with the id %s, and these meta servers have version %d, which knows no ids: run `pegasus meta upgrade-version` first", id, v)
	}
	rc.s.fsm.read(func(st *state.State) {
		if m := st.Members(); err == nil && id != "" && used && !restored && len(m) > 0 {
			err = fmt.Errorf("the replica servers are of the cluster with the id %s, and these meta servers have tables that %v serves and that are of the one with the id %s: nothing of two clusters is put together; empty the meta servers' data directories, start them, and run `pegasus recover` at once", id, m[0], own)
		}
	})
	if err != nil {
		r.Err, r.HintMessage = base.ErrInvalidParameters, err.Error()
		return false
	}
	tables, splits, lost := rebuild(all, old, time.Now().Unix())
	for _, g := range lost {
		fmt.Fprintf(&hint, "ERROR: partition(%v) has no replica collected\n", g)
	}
	unnamed := nameless(all, tables)
	for _, id := range unnamed {
		fmt.Fprintf(&hint, "ERROR: table(%d) has replicas, but no replica server knows its name and its partitions\n", id)
	}
	if len(lost)+len(unnamed) > 0 && !q.SkipLostPartitions {
		r.Err, r.HintMessage = base.ErrTryAgain, hint.String()
		return false
	}
	if used && !restored {
		if len(tables) == 0 {
			r.Err, r.HintMessage = base.ErrServiceAlreadyRunning, hint.String()
			return false
		}
		rc.s.fsm.read(func(st *state.State) { hint.WriteString(freeNames(st, tables)) })
	}
	r.HintMessage = hint.String()
	if r.Err = rc.apply(&state.Recover{Tables: tables, Merged: restored, Unknown: used && !restored, ID: id, Splits: splits}).Err; r.Err != base.ErrOK {
		rc.s.fsm.read(func(st *state.State) { begun = !used && st.LastID() != 0 })
		return begun && r.Err == base.ErrServiceAlreadyRunning
	}
	rc.changed(c, "%d tables are recovered from %d replica servers", len(tables), len(nodes))
	if id != "" {
		rc.log.Warnf("these meta servers are of the cluster with the id %s from now on, as the replica servers are; their own was %q", id, own)
	}
	for i := range tables {
		t := &tables[i]
		if t.Status != state.Available {
			continue
		}
		rc.log.Warnf("table %q (%d) of %d partitions is recovered", t.Name, t.ID, len(t.Parts))
		for p := range t.Parts {
			if cfg := &t.Parts[p]; cfg.Primary != 0 {
				rc.parts.pushChange(t, base.Gpid{AppID: t.ID, PartitionIndex: int32(p)}, cfg)
			}
		}
		rc.parts.recheck(t.ID)
	}
	return false
}

// otherTables says which tables of a node have the ids of others that the metas know: then
// nobody can tell whose its replicas are.
func otherTables(st *state.State, inv *inventory) string {
	var b strings.Builder
	for i := range inv.tables {
		a := &inv.tables[i]
		t := st.Table(a.AppId)
		if t == nil || !described(a) || a.AppName == t.Name || a.CreateSecond == 0 || a.CreateSecond == t.CreateSecond {
			continue
		}
		fmt.Fprintf(&b, "ERROR: node(%v) knows table(%d) as %q, which isn't the %q of the metas with that id: it can't be brought back beside it\n", inv.node, a.AppId, a.AppName, t.Name)
	}
	return b.String()
}

// freeNames gives tables other names whose own are taken, and says so.
func freeNames(st *state.State, tables []state.Table) string {
	var b strings.Builder
	for i := range tables {
		t := &tables[i]
		was := t.Name
		for t.Status == state.Available && st.TableNamed(t.Name) != nil {
			t.Name = fmt.Sprintf("%s__%d", t.Name, t.ID)
		}
		if t.Name != was {
			fmt.Fprintf(&b, "the name of table(%d), %q, is taken by another table: it is %q now; admin-cli's `rename` changes that\n", t.ID, was, t.Name)
		}
	}
	return b.String()
}

// identityOf returns the identity that the replica servers have and the metas, whose is own,
// have not; "" if there is none to be taken. Metas that know tables, which a backup has, take one only from
// servers whose tables are the same.
func identityOf(all []inventory, own string, old []state.Table) (id string, err error) {
	var from base.RPCAddress
	for _, inv := range all {
		switch {
		case inv.err != nil || inv.cluster == "":
		case id != "" && id != inv.cluster:
			return "", fmt.Errorf("the replica servers are of several clusters: %v has the data of the one with the id %s, %v of %s; name only those of one of them (--nodes)", from, id, inv.node, inv.cluster)
		default:
			id, from = inv.cluster, inv.node
		}
	}
	if id == own {
		return "", nil
	}
	for _, inv := range all {
		for _, a := range inv.tables {
			for _, t := range old {
				if t.ID == a.AppId && described(&a) && (!grown(int(a.PartitionCount), len(t.Parts)) || a.CreateSecond != t.CreateSecond) {
					return "", fmt.Errorf("replica server %v has another table %d (%q) than the backup (%q): the backup isn't of the cluster with the id %s", inv.node, t.ID, a.AppName, t.Name, inv.cluster)
				}
			}
		}
	}
	return id, nil
}

// grown tells whether a table may have n partitions that had fewer, or as many, before: splits double them. A backup may also be of a table
// that was being split, and is of half as many still, for who serves it.
func grown(n, before int) bool {
	if n*2 == before {
		return true
	}
	for ; before > 0 && before < n; before *= 2 {
	}
	return n == before
}

// takeInventory asks all nodes at once.
func (rc *recovery) takeInventory(nodes []base.RPCAddress) []inventory {
	all := make([]inventory, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			inv := &all[i]
			inv.node = n
			ctx, cancel := context.WithTimeout(rc.ctx, inventoryTime)
			defer cancel()
			ask := func(code string, q tbin.Encoder, r tbin.Decoder) error {
				return rc.s.pool.Call(ctx, n.String(), rpc.Outgoing{Code: code, Arg: q, From: rc.s.self()}, r)
			}
			var apps metaadmin.QueryAppInfoResponse
			var reps replicaadmin.QueryReplicaInfoResponse
			inv.err = ask(base.RPCQueryAppInfo, &metaadmin.QueryAppInfoRequest{MetaServer: rc.s.self()}, &apps)
			if inv.err == nil {
				inv.err = ask(base.RPCQueryReplicaInfo, &replicaadmin.QueryReplicaInfoRequest{Node1: n}, &reps)
			}
			for _, code := range []base.ErrorCode{apps.Err, reps.Err} {
				if inv.err == nil && code != base.ErrOK {
					inv.err = code
				}
			}
			inv.tables, inv.replicas, inv.cluster = apps.Apps, reps.Replicas, reps.ClusterId.V
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
//
// splits are the tables that are being split: of how many partitions a table is the servers know at different times, and some
// may know of no new ones yet. Of a partition that was cut, or of whose child there is a replica, the split can't be taken back. A child
// that nobody has, and of whose parent's members none was told, isn't registered; its rows are the parent's still, and the
// parent is ordered to switch.
func rebuild(all []inventory, old []state.Table, now int64) (tables []state.Table, splits []state.Split, lost []base.Gpid) {
	infos := map[int32]*layer2.AppInfo{}
	replicas := map[base.Gpid][]found{}
	best := map[int32]int64{}
	counts := map[int32]int32{} // of partitions, the most that somebody knows of
	wasCut := map[int32]bool{}  // by table: some partition was split
	for _, inv := range all {
		if inv.err != nil {
			continue
		}
		ballot := map[int32]int64{} // the newest that the node has of the table
		for _, rep := range inv.replicas {
			replicas[rep.Pid] = append(replicas[rep.Pid], found{inv.node, rep})
			ballot[rep.Pid.AppID] = max(ballot[rep.Pid.AppID], rep.Ballot)
			wasCut[rep.Pid.AppID] = wasCut[rep.Pid.AppID] || rep.CutCount.V > 0
			if rep.Status != metadata.PS_ERROR {
				counts[rep.Pid.AppID] = max(counts[rep.Pid.AppID], rep.PartitionCount.V, rep.CutCount.V, rep.Pid.PartitionIndex+1)
			}
		}
		for i := range inv.tables {
			a := &inv.tables[i]
			if !described(a) {
				continue // by no means the newest, whatever the ballot
			}
			counts[a.AppId] = max(counts[a.AppId], a.PartitionCount)
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
		count := a.PartitionCount
		for count < counts[id] && count <= protocol.MaxCount/2 {
			count *= 2
		}
		t := state.Table{
			ID: id, Status: state.Available, Name: a.AppName, Type: a.AppType, Stateful: a.IsStateful, MaxReplicas: a.MaxReplicaCount,
			InitPartitions: a.PartitionCount, CreateSecond: cmp.Or(a.CreateSecond, now), AtomicIdempotent: a.AtomicIdempotent.Or(false),
			Envs: a.Envs, Parts: make([]state.Config, count),
		}
		if b := before[id]; b != nil {
			t.Status, t.DropSecond, t.ExpireSecond = b.Status, b.DropSecond, b.ExpireSecond
			t.InitPartitions, t.Duplicating, t.BulkLoading = b.InitPartitions, b.Duplicating, b.BulkLoading
			t.CreateSecond = cmp.Or(b.CreateSecond, t.CreateSecond)
		}
		if wasCut[id] && int(t.InitPartitions) == len(t.Parts) {
			t.InitPartitions /= 2 // so that it is one that was split, whatever its settings say
		}
		var split state.Split
		for i := range t.Parts {
			g := base.Gpid{AppID: id, PartitionIndex: int32(i)}
			t.Parts[i] = choose(replicas[g])
			if parent, ok := protocol.ParentOf(g.PartitionIndex, count); ok && t.Status == state.Available && t.Parts[i].Primary == 0 && len(replicas[g]) == 0 &&
				notSplit(replicas[base.Gpid{AppID: id, PartitionIndex: parent}], count) {
				if split.Status == nil {
					split = state.Split{Table: id, Status: make([]state.SplitStatus, count/2)}
				}
				split.Status[parent] = state.SplitOrdered
				t.Parts[i] = state.Config{Ballot: state.ChildBallot}
				continue
			}
			switch b := before[id]; {
			case t.Parts[i].Primary != 0:
			case t.Status == state.Available:
				lost = append(lost, g)
			case i < len(b.Parts):
				t.Parts[i] = b.Parts[i]
			}
		}
		if split.Status != nil {
			splits = append(splits, split)
		}
		if looks := func(e state.Env) bool { return e.Key == appenv.ValidateHash }; (count > a.PartitionCount || wasCut[t.ID]) && !slices.ContainsFunc(t.Envs, looks) {
			t.Envs = append(slices.Clone(t.Envs), state.Env{Key: appenv.ValidateHash, Val: "true"})
			slices.SortFunc(t.Envs, func(a, b state.Env) int { return cmp.Compare(a.Key, b.Key) })
		}
		tables = append(tables, t)
	}
	slices.SortFunc(splits, func(a, b state.Split) int { return cmp.Compare(a.Table, b.Table) })
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
	return tables, splits, lost
}

// notSplit tells whether the child of a partition isn't registered: each of its replicas says that the table has fewer than count partitions, which the
// primary hears when it is. Replicas that don't tell may be of a program that can't.
func notSplit(parent []found, count int32) bool {
	return len(parent) > 0 && !slices.ContainsFunc(parent, func(f found) bool { return f.PartitionCount.V == 0 || f.PartitionCount.V >= count })
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
		learns := func(f found) int { // the ballot of one that only ever learned says nothing of its data
			if f.Status == metadata.PS_POTENTIAL_SECONDARY && f.MemberBallot.V == 0 || f.MemberBallot.Set && f.MemberBallot.V == 0 {
				return 0
			}
			return 1
		}
		since := func(f found) int64 {
			if f.MemberBallot.V > 0 {
				return f.MemberBallot.V
			}
			return f.Ballot
		}
		// Who leads goes on leading: it may answer reads under its lease for a while yet.
		leads := func(f found) int {
			if f.Status == metadata.PS_PRIMARY {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(learns(a), learns(b)), cmp.Compare(since(a), since(b)), cmp.Compare(leads(a), leads(b)), cmp.Compare(a.LastPreparedDecree, b.LastPreparedDecree),
			cmp.Compare(a.LastCommittedDecree, b.LastCommittedDecree), -cmp.Compare(a.node, b.node))
	})
	return state.Config{Ballot: ballot + 1, Primary: best.node, LastCommitted: best.LastCommittedDecree}
}

// diagnose lists the partitions that go on only when somebody does something: no member lives,
// or none that does has what was acknowledged. Of each it tells what is known of its replicas,
// members or not, the one that has most last. An administrator who accepts that the rest is
// lost proposes CT_ASSIGN_PRIMARY of one of them.
func (rc *recovery) diagnose(c *service.Call, q *metaadmin.DddDiagnoseRequest, r *metaadmin.DddDiagnoseResponse) {
	r.Err = base.ErrOK
	absent := false
	rc.s.fsm.read(func(st *state.State) { absent = q.Pid.AppID != -1 && st.Table(q.Pid.AppID) == nil })
	if absent {
		r.Err = base.ErrAppNotExist
		return
	}
	var look []base.Gpid
	rc.mu.Lock()
	for g := range rc.parts.toCheck { // what waits for somebody is among them
		if q.Pid.AppID == -1 || q.Pid.AppID == g.AppID && (q.Pid.PartitionIndex == -1 || q.Pid.PartitionIndex == g.PartitionIndex) {
			look = append(look, g)
		}
	}
	rc.mu.Unlock()
	slices.SortFunc(look, base.Gpid.Compare)
	for piece := range slices.Chunk(look, roundPiece) {
		rc.locked(func(st *state.State) {
			v, f := rc.parts.planView(st), rc.parts.facts(st)
			for _, g := range piece {
				if rc.parts.plan.Lost(v, g) {
					t, cfg, _ := st.Config(g)
					d := metaadmin.DddPartitionInfo{Config: wire.Partition(t, g, &cfg), Reason: f.whyLost(t, g), Dropped: replicasOf(c, v, g, &cfg)}
					c.Names.Fill(&d.Config)
					r.Partitions = append(r.Partitions, d)
				}
			}
		})
	}
}

// replicasOf lists the replicas of a partition that are known, and its members. The caller
// holds mu.
func replicasOf(c *service.Call, v *cure.View, g base.Gpid, cfg *state.Config) (list []metaadmin.DddNodeInfo) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		cp, told := v.Copy(n.Addr, g)
		if !told && !cfg.Has(n.Addr) {
			continue
		}
		d := metaadmin.DddNodeInfo{Node: n.Addr, HpNode: c.Names.Opt(n.Addr), IsAlive: n.Alive, IsCollected: told && cp.Usable(),
			Ballot: cp.Member, LastCommittedDecree: cp.Committed, LastPreparedDecree: cp.Prepared}
		if !told {
			d.Ballot, d.LastCommittedDecree = cfg.Ballot, cfg.LastCommitted
		}
		list = append(list, d)
	}
	slices.SortStableFunc(list, func(a, b metaadmin.DddNodeInfo) int {
		useful := func(d *metaadmin.DddNodeInfo) int {
			if d.IsAlive && d.IsCollected {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(useful(&a), useful(&b)), cmp.Compare(a.Ballot, b.Ballot), cmp.Compare(a.LastPreparedDecree, b.LastPreparedDecree),
			cmp.Compare(a.LastCommittedDecree, b.LastCommittedDecree))
	})
	return list
}
