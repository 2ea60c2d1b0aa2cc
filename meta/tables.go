package meta

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/state"
)

// maxTableName is the longest name of a table, in bytes.
const maxTableName = 256

// reserveMost bounds how long a dropped table can be recalled, in seconds: a century.
const reserveMost = 100 * 365 * 86400

// fullWait is how much longer an answer to create waits for the last members, once every
// partition can be written.
const fullWait = time.Second

// apply commits a command and returns its result, with an error's code in it.
func (l *leader) apply(c state.Command) state.Result {
	res, err := l.s.quorum.apply(c)
	if err != nil {
		l.log.Warn(err)
		return state.Result{Err: base.CodeOf(err)}
	}
	return res
}

func (l *leader) level() (v state.Level) {
	l.s.fsm.read(func(st *state.State) { v = st.Level() })
	return v
}

// checkReplicas says why a table can't have so many replicas; "" if it can.
func (l *leader) checkReplicas(n int32) (hint string) {
	lo, hi := l.s.cfg.Meta.MinReplicaCount, l.s.cfg.Meta.MaxReplicaCount
	if int(n) < lo || int(n) > hi {
		return fmt.Sprintf("requested replica count(%d) must be within the range of [min=%d, max=%d]", n, lo, hi)
	}
	if alive := l.waitAlive(int(n)); int(n) > alive {
		return fmt.Sprintf("there are not enough alive replica servers(%d) for the requested replica count(%d)", alive, n)
	}
	return ""
}

// waitAlive returns how many nodes live. A leader that has just taken over doesn't know all
// of them yet, and waits until there are n or they had time to show up.
func (l *leader) waitAlive(n int) int {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		l.mu.Lock()
		alive := l.det.AliveCount()
		l.mu.Unlock()
		if alive >= n || l.now() > warmUpBeats*l.s.cfg.FD.BeaconInterval.D() {
			return alive
		}
		select {
		case <-l.ctx.Done():
			return alive
		case <-t.C:
		}
	}
}

func validName(name string) bool { return name != "" && len(name) <= maxTableName }

func (c *call) createApp(q *metaadmin.ConfigurationCreateAppRequest, r *metaadmin.ConfigurationCreateAppResponse) {
	o := &q.Options
	switch {
	case c.level() <= state.LevelFreezed:
		r.Err = base.ErrStateFreezed
		return
	case o.PartitionCount <= 0 || int(o.PartitionCount) > c.s.cfg.Meta.MaxPartitionCount || !validName(q.AppName) || len(o.AppType) > maxTableName:
		c.req.Complain(fmt.Errorf("table name %.*q, %d partitions: a name has 1 to %d bytes, a table 1 to %d partitions",
			maxTableName, q.AppName, o.PartitionCount, maxTableName, c.s.cfg.Meta.MaxPartitionCount))
		r.Err = base.ErrInvalidParameters
		return
	}
	if hint := c.checkReplicas(o.ReplicaCount); hint != "" {
		c.log.Infof("create table %q: %s", q.AppName, hint)
		r.Err = base.ErrInvalidParameters
		return
	}
	for _, e := range o.Envs {
		if hint := validEnv(e.Key, e.Val, appenv.ValidateCreate); hint != "" {
			c.log.Infof("create table %q: %s: %s", q.AppName, e.Key, hint)
			r.Err = base.ErrInvalidParameters
			return
		}
	}
	res := c.apply(&state.CreateTable{
		Name: q.AppName, Type: o.AppType, Stateful: o.IsStateful, Partitions: o.PartitionCount, MaxReplicas: o.ReplicaCount,
		Envs: o.Envs, AtomicIdempotent: o.AtomicIdempotent.Or(false), Now: time.Now().Unix(),
	})
	switch res.Err {
	case base.ErrOK:
		c.log.Infof("table %q created with id %d, %d partitions", q.AppName, res.TableID, o.PartitionCount)
		c.lookAt(res.TableID)
		c.waitReady(res.TableID)
		r.Err, r.Appid = base.ErrOK, res.TableID
	case base.ErrAppExist:
		r.Err = res.Err
		if o.SuccessIfExist {
			if r.Err = base.ErrInvalidParameters; c.sameOptions(res.TableID, o) {
				r.Err, r.Appid = base.ErrOK, res.TableID
			}
		}
	default:
		r.Err = res.Err
	}
}

// sameOptions tells whether a table is as o wants it.
func (l *leader) sameOptions(id int32, o *metaadmin.CreateAppOptions) (same bool) {
	want := slices.Clone(o.Envs)
	slices.SortFunc(want, func(a, b state.Env) int { return strings.Compare(a.Key, b.Key) })
	l.s.fsm.read(func(st *state.State) {
		t := st.Table(id)
		same = t != nil && len(t.Parts) == int(o.PartitionCount) && t.MaxReplicas == o.ReplicaCount && t.Type == o.AppType &&
			t.Stateful == o.IsStateful && slices.Equal(t.Envs, want)
	})
	return same
}

// lookAt has the planner look at all partitions of a table.
func (l *leader) lookAt(id int32) {
	l.mu.Lock()
	l.s.fsm.read(func(st *state.State) {
		if t := st.Table(id); t != nil {
			l.lookAtTable(t)
		}
	})
	l.mu.Unlock()
	l.kick()
}

// waitReady waits until every partition of a table is whole, or until each can be written
// and the rest takes longer, or until create_wait is over.
func (l *leader) waitReady(id int32) {
	ch := make(chan struct{}, 1)
	l.mu.Lock()
	l.waiters[id] = append(l.waiters[id], ch)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiters[id] = slices.DeleteFunc(l.waiters[id], func(w chan struct{}) bool { return w == ch })
		if len(l.waiters[id]) == 0 {
			delete(l.waiters, id)
		}
	}()
	end := time.NewTimer(l.s.cfg.Meta.CreateWait.D())
	defer end.Stop()
	var full <-chan time.Time
	for {
		writable, whole := l.readiness(id)
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
		case <-l.ctx.Done():
			return
		case <-end.C:
			l.log.Warnf("table %d is created, but not all partitions are writable after %v", id, l.s.cfg.Meta.CreateWait.D())
			return
		}
	}
}

// readiness tells whether every partition of a table has enough members to be written, and
// whether it has all of them.
func (l *leader) readiness(id int32) (writable, whole bool) {
	l.s.fsm.read(func(st *state.State) {
		t := st.Table(id)
		if t == nil {
			return
		}
		writable, whole = true, true
		least := cure.MinMembers(t.MaxReplicas, l.s.cfg.Replica.MinReplicas)
		for i := range t.Parts {
			n := t.Parts[i].Members()
			writable = writable && n >= least && n > 0
			whole = whole && n >= int(t.MaxReplicas)
		}
	})
	return writable, whole
}

// tableID returns the id of an available table, 0 if there is none of that name.
func (l *leader) tableID(name string) (id int32) {
	l.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(name); t != nil {
			id = t.ID
		}
	})
	return id
}

func (c *call) dropApp(q *metaadmin.ConfigurationDropAppRequest, r *metaadmin.ConfigurationDropAppResponse) {
	now := time.Now().Unix()
	expire := now + int64(c.s.cfg.Meta.ReserveTime.D()/time.Second)
	if sec := q.Options.ReserveSeconds.Or(0); sec > 0 {
		expire = now + min(sec, reserveMost)
	}
	id := c.tableID(q.AppName)
	if id != 0 {
		if r.Err = c.apply(&state.DropTable{ID: id, Now: now, Expire: expire}).Err; r.Err == base.ErrOK {
			c.log.Infof("table %q (%d) dropped", q.AppName, id)
			c.tellDropped(id)
			return
		}
	}
	if id == 0 || r.Err == base.ErrAppDropped { // perhaps just now
		r.Err = base.ErrAppNotExist
		if q.Options.SuccessIfNotExist {
			r.Err = base.ErrOK
		}
	}
}

// tellDropped tells the members of a dropped table; who misses it learns it by config sync.
func (l *leader) tellDropped(id int32) {
	var msgs []proposal
	l.s.fsm.read(func(st *state.State) {
		t := st.Table(id)
		if t == nil {
			return
		}
		for i := range t.Parts {
			g := base.Gpid{AppID: id, PartitionIndex: int32(i)}
			for _, a := range t.Parts[i].AppendMembers(nil) {
				msgs = append(msgs, l.proposal(t, g, &t.Parts[i], metaadmin.CT_DROP_PARTITION, a, a))
			}
		}
	})
	l.s.send(slices.DeleteFunc(msgs, func(p proposal) bool { return l.isDead(p.to) }))
}

func (c *call) recallApp(q *metaadmin.ConfigurationRecallAppRequest, r *metaadmin.ConfigurationRecallAppResponse) {
	r.Info = noApp()
	var why base.ErrorCode
	c.s.fsm.read(func(st *state.State) {
		switch t := st.Table(q.AppId); {
		case t == nil:
			why = base.ErrAppNotExist
		case t.Status == state.Available:
			why = base.ErrAppExist
		case t.ExpireSecond <= time.Now().Unix():
			why = base.ErrAppNotExist
		}
	})
	if why == "" && len(q.NewAppName) > maxTableName {
		why = base.ErrInvalidParameters
	}
	if why != "" {
		r.Err = why
		return
	}
	if r.Err = c.apply(&state.RecallTable{ID: q.AppId, Name: q.NewAppName}).Err; r.Err != base.ErrOK {
		return
	}
	c.log.Infof("table %d recalled", q.AppId)
	type part struct {
		g   base.Gpid
		cfg state.Config
	}
	var parts []part
	var table state.Table
	c.s.fsm.read(func(st *state.State) {
		t := st.Table(q.AppId)
		table = *t
		r.Info = appInfo(t)
		for i := range t.Parts {
			if t.Parts[i].Members() > 0 {
				parts = append(parts, part{base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, t.Parts[i]})
			}
		}
	})
	for _, p := range parts {
		c.pushChange(&table, p.g, &p.cfg)
	}
	c.lookAt(q.AppId)
}

func (c *call) renameApp(q *metaadmin.ConfigurationRenameAppRequest, r *metaadmin.ConfigurationRenameAppResponse) {
	id := c.tableID(q.OldAppName)
	switch {
	case id == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, fmt.Sprintf("ERROR: app(%s) not exist!", q.OldAppName)
		return
	case !validName(q.NewAppName):
		r.Err, r.HintMessage = base.ErrInvalidParameters, fmt.Sprintf("ERROR: a table name has 1 to %d bytes", maxTableName)
		return
	}
	if r.Err = c.apply(&state.RenameTable{ID: id, Name: q.NewAppName}).Err; r.Err == base.ErrInvalidParameters {
		r.HintMessage = fmt.Sprintf("ERROR: app(%s) already exist!", q.NewAppName)
	}
}

func (c *call) getMaxReplicas(q *metaadmin.ConfigurationGetMaxReplicaCountRequest, r *metaadmin.ConfigurationGetMaxReplicaCountResponse) {
	r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
	c.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			r.Err, r.HintMessage, r.MaxReplicaCount = base.ErrOK, "", t.MaxReplicas
		}
	})
}

func noSuchApp(name string) string { return fmt.Sprintf("app(%s) does not exist", name) }

const frozenHint = "current meta function level is freezed, since there are too few alive nodes"

func (c *call) setMaxReplicas(q *metaadmin.ConfigurationSetMaxReplicaCountRequest, r *metaadmin.ConfigurationSetMaxReplicaCountResponse) {
	var id int32
	c.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			id, r.OldMaxReplicaCount = t.ID, t.MaxReplicas
		}
	})
	switch {
	case id == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
		return
	case c.level() <= state.LevelFreezed:
		r.Err, r.HintMessage = base.ErrStateFreezed, frozenHint
		return
	}
	if r.HintMessage = c.checkReplicas(q.MaxReplicaCount); r.HintMessage != "" {
		r.Err = base.ErrInvalidParameters
		return
	}
	if q.MaxReplicaCount == r.OldMaxReplicaCount {
		r.Err, r.HintMessage = base.ErrOK, "no need to update max_replica_count since it's not changed"
		return
	}
	if r.Err = c.apply(&state.SetReplicas{ID: id, Count: q.MaxReplicaCount}).Err; r.Err == base.ErrOK {
		c.lookAt(id)
	}
}

func (c *call) getAtomic(q *metaadmin.ConfigurationGetAtomicIdempotentRequest, r *metaadmin.ConfigurationGetAtomicIdempotentResponse) {
	r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
	c.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			r.Err, r.HintMessage, r.AtomicIdempotent = base.ErrOK, "", t.AtomicIdempotent
		}
	})
}

func (c *call) setAtomic(q *metaadmin.ConfigurationSetAtomicIdempotentRequest, r *metaadmin.ConfigurationSetAtomicIdempotentResponse) {
	var id int32
	c.s.fsm.read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			id, r.OldAtomicIdempotent = t.ID, t.AtomicIdempotent
		}
	})
	switch {
	case id == 0:
		r.Err, r.HintMessage = base.ErrAppNotExist, noSuchApp(q.AppName)
	case c.level() <= state.LevelFreezed:
		r.Err, r.HintMessage = base.ErrStateFreezed, frozenHint
	case q.AtomicIdempotent == r.OldAtomicIdempotent:
		r.Err, r.HintMessage = base.ErrOK, "no need to update atomic_idempotent since it's unchanged"
	default:
		r.Err = c.apply(&state.SetAtomic{ID: id, On: q.AtomicIdempotent}).Err
	}
}
