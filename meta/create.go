package meta

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/metaadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// fullWait is how much longer an answer to create waits for the last members, once every
// partition can be written.
const fullWait = time.Second

func validName(name string) bool { return name != "" && len(name) <= base.MaxTableName }

// checkReplicas says why a table can't have so many replicas; "" if it can.
func (ts *tables) checkReplicas(n int32) (hint string) {
	lo, hi := ts.s.cfg.Meta.MinReplicaCount, ts.s.cfg.Meta.MaxReplicaCount
	if int(n) < lo || int(n) > hi {
		return fmt.Sprintf("requested replica count(%d) must be within the range of [min=%d, max=%d]", n, lo, hi)
	}
	if alive := ts.nodes.waitAlive(int(n)); int(n) > alive {
		return fmt.Sprintf("there are not enough alive replica servers(%d) for the requested replica count(%d)", alive, n)
	}
	return ""
}

func (ts *tables) createApp(c *service.Call, q *metaadmin.ConfigurationCreateAppRequest, r *metaadmin.ConfigurationCreateAppResponse) {
	o := &q.Options
	refuse := func(code base.ErrorCode, hint string) {
		ts.log.Infof("create table %.*q: %s", base.MaxTableName, q.AppName, hint)
		r.Err, r.HintMessage = code, base.Some(hint)
	}
	switch {
	case ts.level() <= state.LevelFreezed:
		refuse(base.ErrStateFreezed, ts.whyFrozen(frozenHint))
		return
	case o.PartitionCount <= 0 || int(o.PartitionCount) > ts.s.cfg.Meta.MaxPartitionCount || !validName(q.AppName) || len(o.AppType) > base.MaxTableName:
		refuse(base.ErrInvalidParameters, fmt.Sprintf("%d partitions and a name of %d bytes: a name has 1 to %d bytes, and a table 1 to %d partitions",
			o.PartitionCount, len(q.AppName), base.MaxTableName, ts.s.cfg.Meta.MaxPartitionCount))
		return
	}
	if hint := ts.checkReplicas(o.ReplicaCount); hint != "" {
		refuse(base.ErrInvalidParameters, hint)
		return
	}
	if hint := ts.nodes.checkRoom(int(o.PartitionCount), int(o.ReplicaCount)); hint != "" && ts.tableID(q.AppName) == 0 {
		refuse(base.ErrInvalidParameters, hint)
		return
	}
	for _, e := range o.Envs {
		if hint := appenv.Check(e.Key, e.Val); hint != "" {
			ts.log.Warnf("create table %.*q: its setting %.*q is invalid, the replica servers ignore it: %s", base.MaxTableName, q.AppName, base.MaxTableName, e.Key, hint)
		}
		if hint := validEnv(e.Key, e.Val, appenv.ValidateCreate); hint != "" {
			refuse(base.ErrInvalidParameters, e.Key+": "+hint)
			return
		}
	}
	follower := followerOf(o.Envs)
	if v := ts.s.fsm.version(); follower.cluster != "" && !v.Allows(version.Origins) {
		refuse(base.ErrOperationDisabled, version.Permit(v, version.Origins.Since()).Error())
		return
	}
	if err := ts.nodes.settleIDs(); err != nil {
		c.Req.Complain(fmt.Errorf("create table %q: %w", q.AppName, err))
		r.Err = base.CodeOf(err)
		return
	}
	res := ts.apply(&state.CreateTable{
		Name: q.AppName, Type: o.AppType, Stateful: o.IsStateful, Partitions: o.PartitionCount, MaxReplicas: o.ReplicaCount,
		Envs: o.Envs, AtomicIdempotent: o.AtomicIdempotent.Or(false), Now: time.Now().Unix(),
	})
	switch res.Err {
	case base.ErrOK:
		ts.changed(c, "table %q created with id %d, %d partitions of %d replicas%s", q.AppName, res.TableID, o.PartitionCount, o.ReplicaCount, settingsText(o.Envs))
		ts.parts.recheck(res.TableID)
		if follower.cluster == "" { // else it takes as long as the rows of another cluster do
			ts.waitReady(res.TableID)
		}
		r.Err, r.Appid = base.ErrOK, res.TableID
	case base.ErrAppExist:
		switch {
		case !o.SuccessIfExist && follower.cluster != "":
			ts.follow(c, q.AppName, res.TableID, follower, r)
		case !o.SuccessIfExist:
			refuse(res.Err, "there is a table of that name")
		case ts.sameOptions(res.TableID, o):
			r.Err, r.Appid = base.ErrOK, res.TableID
		default:
			refuse(base.ErrInvalidParameters, "there is a table of that name, and it is of another shape")
		}
	case base.ErrDiskInsufficient:
		refuse(res.Err, "the disk of the leading meta's data directory is full")
	default:
		r.Err = res.Err
	}
}

// sameOptions tells whether a table is as o wants it.
func (ts *tables) sameOptions(id int32, o *metaadmin.CreateAppOptions) (same bool) {
	want := slices.Clone(o.Envs)
	slices.SortFunc(want, func(a, b state.Env) int { return strings.Compare(a.Key, b.Key) })
	ts.s.fsm.read(func(st *state.State) {
		t := st.Table(id)
		same = t != nil && len(t.Parts) == int(o.PartitionCount) && t.MaxReplicas == o.ReplicaCount && t.Type == o.AppType &&
			t.Stateful == o.IsStateful && slices.Equal(t.Envs, want)
	})
	return same
}

// waitReady waits until every partition of a table is whole, or until each can be written
// and the rest takes longer, or until create_wait is over.
func (ts *tables) waitReady(id int32) {
	ch := make(chan struct{}, 1)
	ts.mu.Lock()
	ts.parts.waiters[id] = append(ts.parts.waiters[id], ch)
	ts.mu.Unlock()
	defer func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		ts.parts.waiters[id] = slices.DeleteFunc(ts.parts.waiters[id], func(w chan struct{}) bool { return w == ch })
		if len(ts.parts.waiters[id]) == 0 {
			delete(ts.parts.waiters, id)
		}
	}()
	end := time.NewTimer(ts.s.cfg.Meta.CreateWait.D())
	defer end.Stop()
	var full <-chan time.Time
	for {
		writable, whole := ts.parts.readiness(id)
		if whole {
			return
		}
		if writable && full == nil {
			full = time.After(fullWait)
		}
		select {
		case <-ch:
		case <-full:
			return
		case <-ts.ctx.Done():
			return
		case <-end.C:
			ts.log.Warnf("table %d is created, but not all partitions are writable after %v", id, ts.s.cfg.Meta.CreateWait.D())
			return
		}
	}
}

// defaultTick is how often a leader looks whether the default tables can be made.
const defaultTick = 200 * time.Millisecond

// defaultTables are the tables of meta.default_tables.
func defaultTables(cfg *config.Config) (list []state.CreateTable, err error) {
	specs, err := cfg.Meta.Tables()
	for _, t := range specs {
		list = append(list, state.CreateTable{Name: t.Name, Type: "pegasus", Stateful: true, Partitions: t.Partitions, MaxReplicas: t.Replicas})
	}
	return list, err
}

// makeDefaults makes the default tables once the cluster is seen to be a new one. A meta that
// lost its state must not: the ids of its tables would be given again, to others.
func (ts *tables) makeDefaults(tables []state.CreateTable) {
	tick := time.NewTicker(defaultTick)
	defer tick.Stop()
	for !ts.isNew(tables) {
		if ts.hasTables() {
			return
		}
		select {
		case <-ts.ctx.Done():
			return
		case <-tick.C:
		}
	}
	for i := range tables {
		t := tables[i]
		t.Now = time.Now().Unix()
		res := ts.apply(&t)
		if res.Err != base.ErrOK {
			ts.log.Warnf("default table %q: %v", t.Name, res.Err)
			continue
		}
		ts.log.Infof("default table %q is made, its id is %d", t.Name, res.TableID)
		ts.parts.recheck(res.TableID)
	}
}

func (ts *tables) hasTables() (yes bool) {
	ts.s.fsm.read(func(st *state.State) { yes = !st.Fresh() || st.Restored() })
	return yes
}

// isNew tells whether there never was a table, and enough replica servers live, have all said
// what they store, and store nothing.
func (ts *tables) isNew(tables []state.CreateTable) bool {
	if ts.hasTables() || ts.now() < warmUpBeats*ts.s.cfg.FD.BeaconInterval.D() {
		return false
	}
	need := 0
	for i := range tables {
		need = max(need, int(tables[i].MaxReplicas))
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	alive := 0
	for _, n := range ts.nodes.det.Nodes() {
		if ts.nodes.of(n.Addr).holds {
			return false
		}
		if n.Alive {
			if !ts.nodes.of(n.Addr).reported {
				return false
			}
			alive++
		}
	}
	return alive >= need
}
