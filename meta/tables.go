package meta

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
)

// tables is the service of tables: how they come, change and go.
type tables struct {
	*term
	nodes *nodes
	parts *partitions
}

func newTables(l *leader) service.Service {
	return &tables{term: l.term, nodes: l.nodes, parts: l.parts}
}

// Register adds the requests and pages about tables.
func (*tables) Register(r *service.Routes) {
	const fast, slow = service.Fast, service.Slow
	service.Handle(r, base.RPCCreateApp, slow, (*tables).createApp)
	service.Handle(r, base.RPCDropApp, slow, (*tables).dropApp)
	noApp := func() metaadmin.ConfigurationRecallAppResponse {
		return metaadmin.ConfigurationRecallAppResponse{Info: wire.NoApp()}
	}
	service.HandleFrom(r, base.RPCRecallApp, slow, noApp, (*tables).recallApp)
	service.Handle(r, base.RPCRenameApp, slow, (*tables).renameApp)
	service.Handle(r, base.RPCListApps, fast, (*tables).listApps)
	service.Handle(r, base.RPCUpdateAppEnv, slow, (*tables).updateEnvs)
	service.Handle(r, base.RPCStartManualCompact, slow, (*tables).startCompaction)
	service.Handle(r, base.RPCQueryManualCompactStatus, fast, (*tables).queryCompaction)
	service.Handle(r, base.RPCGetMaxReplicaCount, fast, (*tables).getMaxReplicas)
	service.Handle(r, base.RPCSetMaxReplicaCount, slow, (*tables).setMaxReplicas)
	service.Handle(r, base.RPCGetAtomicIdempotent, fast, (*tables).getAtomic)
	service.Handle(r, base.RPCSetAtomicIdempotent, slow, (*tables).setAtomic)
	service.Page(r, "meta/app", "name=<table>[&detail]: show one table.", (*tables).appPage)
	service.Page(r, "meta/apps", "[detail]: list the available tables.", (*tables).appsPage)
	service.Page(r, "meta/app_envs", "name=<table>: show the settings of a table.", (*tables).appEnvsPage)
	service.Page(r, "meta/app/start_compaction", "Compact a table (POST).", (*tables).compactionPage)
	service.Page(r, "meta/app/usage_scenario", "Set what a table is used for (POST).", (*tables).scenarioPage)
}

// Lead makes the default tables, and makes the metas forget dropped ones.
func (ts *tables) Lead(context.Context) {
	if defaults := ts.s.defaults; len(defaults) > 0 {
		ts.wg.Go(func() { ts.makeDefaults(defaults) })
	}
	ts.purge()
}

// Report takes what a node says of manual compactions.
func (ts *tables) Report(r *service.Report) {
	ts.nodes.at(r.Node).compactions = compactionsOf(r.Request.StoredReplicas.V)
}

func (ts *tables) dropApp(c *service.Call, q *metaadmin.ConfigurationDropAppRequest, r *metaadmin.ConfigurationDropAppResponse) {
	ts.mu.Lock()
	now := ts.nodes.latest().Unix()
	ts.mu.Unlock()
	expire := now + int64(ts.s.cfg.Meta.ReserveTime.D()/time.Second)
	if sec := q.Options.ReserveSeconds.Or(0); sec > 0 {
		expire = now + min(sec, base.Reserve.Max)
	}
	id := ts.tableID(q.AppName)
	if id != 0 {
		if r.Err = ts.apply(&state.DropTable{ID: id, Now: now, Expire: expire}).Err; r.Err == base.ErrOK {
			ts.changed(c, "table %q (%d) dropped; its data is kept until %s", q.AppName, id, time.Unix(expire, 0).UTC().Format(time.RFC3339))
			ts.tellDropped(id)
			ts.awaitSilence(id)
			return
		}
	}
	if id == 0 || r.Err == base.ErrAppDropped {
		// Perhaps just now, and whoever did it still waits.
		if id = ts.justDropped(q.AppName, now); id != 0 {
			ts.awaitSilence(id)
		}
		r.Err = base.ErrAppNotExist
		if q.Options.SuccessIfNotExist {
			r.Err = base.ErrOK
		}
	}
}

// tellDropped tells the members of a dropped table; who misses it learns it by config sync.
func (ts *tables) tellDropped(id int32) {
	var msgs []proposal
	ts.s.fsm.read(func(st *state.State) {
		t := st.Table(id)
		if t == nil {
			return
		}
		for i := range t.Parts {
			g := base.Gpid{AppID: id, PartitionIndex: int32(i)}
			for _, a := range t.Parts[i].AppendMembers(nil) {
				msgs = append(msgs, ts.proposal(t, g, &t.Parts[i], metaadmin.CT_DROP_PARTITION, a, a))
			}
		}
	})
	ts.s.send(slices.DeleteFunc(msgs, func(p proposal) bool { return ts.nodes.isDead(p.to) }))
}

func (ts *tables) recallApp(c *service.Call, q *metaadmin.ConfigurationRecallAppRequest, r *metaadmin.ConfigurationRecallAppResponse) {
	r.Info = wire.NoApp()
	var why base.ErrorCode
	ts.locked(func(st *state.State) {
		switch t := st.Table(q.AppId); {
		case t == nil:
			why = base.ErrAppNotExist
		case t.Status == state.Available:
			why = base.ErrAppExist
		case ts.nodes.clockTrusted() && t.ExpireSecond <= ts.nodes.clocks.wall().Unix():
			why = base.ErrAppNotExist
		}
	})
	if why == "" && len(q.NewAppName) > base.MaxTableName {
		why = base.ErrInvalidParameters
	}
	if why != "" {
		r.Err = why
		return
	}
	if r.Err = ts.apply(&state.RecallTable{ID: q.AppId, Name: q.NewAppName}).Err; r.Err != base.ErrOK {
		return
	}
	ts.changed(c, "table %d recalled", q.AppId)
	type part struct {
		g   base.Gpid
		cfg state.Config
	}
	var parts []part
	var table state.Table
	ts.s.fsm.read(func(st *state.State) {
		t := st.Table(q.AppId)
		table = *t
		r.Info = wire.AppInfo(t)
		for i := range t.Parts {
			if t.Parts[i].Members() > 0 {
				parts = append(parts, part{base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, t.Parts[i]})
			}
		}
	})
	for _, p := range parts {
		ts.parts.pushChange(&table, p.g, &p.cfg)
	}
	ts.parts.recheck(q.AppId)
}

func (ts *tables) renameApp(c *service.Call, q *metaadmin.ConfigurationRenameAppRequest, r *metaadmin.ConfigurationRenameAppResponse) {
	id := ts.tableID(q.OldAppName)
	switch {
	case id == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, fmt.Sprintf("ERROR: app(%s) not exist!", q.OldAppName)
		return
	case !validName(q.NewAppName):
		r.Err, r.HintMessage = base.ErrInvalidParameters, fmt.Sprintf("ERROR: a table name has 1 to %d bytes", base.MaxTableName)
		return
	}
	switch r.Err = ts.apply(&state.RenameTable{ID: id, Name: q.NewAppName}).Err; r.Err {
	case base.ErrOK:
		ts.changed(c, "table %q (%d) renamed to %q", q.OldAppName, id, q.NewAppName)
	case base.ErrInvalidParameters:
		r.HintMessage = fmt.Sprintf("ERROR: app(%s) already exist!", q.NewAppName)
	}
}

func (ts *tables) getMaxReplicas(_ *service.Call, q *metaadmin.ConfigurationGetMaxReplicaCountRequest, r *metaadmin.ConfigurationGetMaxReplicaCountResponse) {
	r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
	ts.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			r.Err, r.HintMessage, r.MaxReplicaCount = base.ErrOK, "", t.MaxReplicas
		}
	})
}

func noSuchApp(name string) string { return fmt.Sprintf("app(%s) does not exist", name) }

const frozenHint = "current meta function level is freezed, since there are too few alive nodes"

func (ts *tables) setMaxReplicas(c *service.Call, q *metaadmin.ConfigurationSetMaxReplicaCountRequest, r *metaadmin.ConfigurationSetMaxReplicaCountResponse) {
	var id int32
	ts.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			id, r.OldMaxReplicaCount = t.ID, t.MaxReplicas
		}
	})
	switch {
	case id == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
		return
	case ts.level() <= state.LevelFreezed:
		r.Err, r.HintMessage = base.ErrStateFreezed, ts.whyFrozen(frozenHint)
		return
	}
	if r.HintMessage = ts.checkReplicas(q.MaxReplicaCount); r.HintMessage != "" {
		r.Err = base.ErrInvalidParameters
		return
	}
	if q.MaxReplicaCount == r.OldMaxReplicaCount {
		r.Err, r.HintMessage = base.ErrOK, "no need to update max_replica_count since it's not changed"
		return
	}
	if r.Err = ts.apply(&state.SetReplicas{ID: id, Count: q.MaxReplicaCount}).Err; r.Err == base.ErrOK {
		ts.changed(c, "table %q (%d) gets %d replicas, it had %d", q.AppName, id, q.MaxReplicaCount, r.OldMaxReplicaCount)
		ts.parts.recheck(id)
	}
}

func (ts *tables) getAtomic(_ *service.Call, q *metaadmin.ConfigurationGetAtomicIdempotentRequest, r *metaadmin.ConfigurationGetAtomicIdempotentResponse) {
	r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
	ts.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			r.Err, r.HintMessage, r.AtomicIdempotent = base.ErrOK, "", t.AtomicIdempotent
		}
	})
}

func (ts *tables) setAtomic(c *service.Call, q *metaadmin.ConfigurationSetAtomicIdempotentRequest, r *metaadmin.ConfigurationSetAtomicIdempotentResponse) {
	var id int32
	ts.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			id, r.OldAtomicIdempotent = t.ID, t.AtomicIdempotent
		}
	})
	switch {
	case id == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
	case ts.level() <= state.LevelFreezed:
		r.Err, r.HintMessage = base.ErrStateFreezed, ts.whyFrozen(frozenHint)
	case q.AtomicIdempotent == r.OldAtomicIdempotent:
		r.Err, r.HintMessage = base.ErrOK, "no need to update atomic_idempotent since it's unchanged"
	default:
		if r.Err = ts.apply(&state.SetAtomic{ID: id, On: q.AtomicIdempotent}).Err; r.Err == base.ErrOK {
			ts.changed(c, "table %q (%d): atomic_idempotent is %v", q.AppName, id, q.AtomicIdempotent)
		}
	}
}

const (
	purgeEvery = time.Minute
	maxPurge   = 1000 // tables that one entry of the log makes forgotten
)

// purge makes the metas forget dropped tables, again and again.
func (ts *tables) purge() {
	keep := ts.s.cfg.Meta.DroppedRecord.D()
	if keep <= 0 {
		return
	}
	ts.every(purgeEvery, func() { ts.purgeOnce(ts.nodes.clocks.wall().Add(-max(keep, gcMargin))) })
}

// purgeOnce forgets the dropped tables whose data might go before that time.
func (ts *tables) purgeOnce(before time.Time) {
	cmd := &state.PurgeTables{Before: before.Unix()}
	ts.locked(func(st *state.State) {
		if st.Level() < state.LevelSteady || !ts.nodes.clockTrusted() {
			return
		}
		st.Tables(func(t *state.Table) {
			if t.Expired(cmd.Before) && len(cmd.IDs) < maxPurge {
				cmd.IDs = append(cmd.IDs, t.ID)
			}
		})
	})
	if len(cmd.IDs) == 0 || ts.apply(cmd).Err != base.ErrOK {
		return
	}
	ts.log.Infof("forgets %d dropped tables whose data might go before %v: %v", len(cmd.IDs), before.UTC().Format(time.RFC3339), cmd.IDs)
	// What is remembered of their partitions goes too.
	ts.locked(func(st *state.State) {
		ts.parts.forget(func(g base.Gpid) bool { return st.Purged(g.AppID) })
	})
}
