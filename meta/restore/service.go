package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/blob"
	backupidl "pegasus/gen/backup"
	"pegasus/gen/metaadmin"
	idl "pegasus/gen/restore"
	"pegasus/meta/cure"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

const (
	// lookEvery is how often it is looked whether restores are done.
	lookEvery = 300 * time.Millisecond
	// readTime bounds what is read of a backup while somebody waits for the answer.
	readTime = 8 * time.Second
	// stale is after what time a server that doesn't report is no longer at a partition.
	stale = 10 * time.Second
	// warmUp is how long a new leader waits for reports before it has a partition restored anew.
	warmUp = 3 * time.Second
	// maxTries is how often a partition may fail, for other reasons than a bad backup. Between two tries
	// it waits firstWait, then twice that each time, up to mostWait.
	maxTries            = 8
	firstWait, mostWait = 2 * time.Second, time.Minute
	// keepFailed is how long, in seconds, the replicas of a failed restore are kept at least.
	keepFailed = 1
)

// Options are what the service needs of the meta beside its Leader.
type Options struct {
	Blobs *blob.Set
	// Now is the wall clock that most agree on.
	Now func() time.Time
	// Check says why no table with so many partitions and replicas can be made now; "" if it can.
	Check func(partitions, replicas int32) (code base.ErrorCode, hint string)
	// Settle waits until it is certain that ids of tables aren't used twice.
	Settle func() error
	// Look has the planner look at a table.
	Look func(id int32)
}

// Service restores tables.
type Service struct {
	service.Leader
	o Options

	mu    sync.Mutex // of what follows; held for moments only
	began time.Time  // when this server began to lead; zero: not yet
	parts map[base.Gpid]*partition
	fresh map[int32]bool // tables that this leader made
}

// partition is what a leader knows of a partition that is being restored.
type partition struct {
	by       base.RPCAddress
	at       time.Time // of the last report
	progress int32     // per mille
	status   base.ErrorCode
	reason   string // of the last failure
	tries    int
	wait     time.Time // nobody is asked before
}

// New returns the service of a meta that leads.
func New(l service.Leader, o Options) *Service {
	return &Service{Leader: l, o: o, parts: map[base.Gpid]*partition{}, fresh: map[int32]bool{}}
}

// Register adds the requests about restores.
func (*Service) Register(r *service.Routes) {
	noID := func() metaadmin.ConfigurationCreateAppResponse {
		return metaadmin.ConfigurationCreateAppResponse{Appid: -1}
	}
	service.HandleFrom(r, base.RPCStartRestore, service.Slow, noID, (*Service).start)
	service.Handle(r, base.RPCQueryRestoreStatus, service.Fast, (*Service).query)
	service.Handle(r, base.RPCReportRestoreStatus, service.Slow, (*Service).report)
	service.Handle(r, base.RPCListRestores, service.Fast, (*Service).list)
}

// Report takes nothing from configuration syncs.
func (*Service) Report(*service.Report) {}

// start makes a table of a backup. It answers once the table is there; the rows come later.
func (s *Service) start(c *service.Call, q *backupidl.ConfigurationRestoreRequest, r *metaadmin.ConfigurationCreateAppResponse) {
	refuse := func(code base.ErrorCode, format string, args ...any) {
		hint := fmt.Sprintf(format, args...)
		s.Log().Infof("restore table %.*q: %v: %s, asked by %s", base.MaxTableName, q.NewAppName, code, hint, c.From)
		r.Err, r.HintMessage = code, base.Some(hint)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	store, err := s.o.Blobs.Get(ctx, q.BackupProviderName)
	switch {
	case errors.Is(err, blob.ErrNotFound): // there is no such place; upstream says so
		refuse(base.ErrInvalidParameters, "%v", err)
		return
	case err != nil:
		refuse(codeOf(err), "%v", err)
		return
	}
	of := backup.Location{Path: q.RestorePath.V, Cluster: q.ClusterName, Policy: q.PolicyName, ID: q.TimeStamp}.Table(q.AppName, q.AppId)
	if err := of.Check(); err != nil {
		refuse(base.ErrInvalidParameters, "%v", err)
		return
	}
	info, err := backup.ReadTable(ctx, store, of)
	if err != nil {
		refuse(codeOf(err), "%v", err)
		return
	}
	name := q.NewAppName
	if name == "" {
		name = q.AppName
	}
	if len(name) > base.MaxTableName {
		refuse(base.ErrInvalidParameters, "a table name has 1 to %d bytes, this one %d", base.MaxTableName, len(name))
		return
	}
	var used int32
	running := false
	s.Read(func(st *state.State) {
		if b, ok := st.BackupAt(q.BackupProviderName, of.Location.Parent(), q.TimeStamp); ok && b.Running() {
			running = slices.ContainsFunc(b.Tables, func(t state.BackupTable) bool { return t.ID == q.AppId && !t.Done })
		}
		if t := st.TableNamed(name); t != nil {
			used = t.ID
		}
	})
	if used != 0 {
		refuse(base.ErrInvalidParameters, "there is a table %q already (id %d): restore under another name, or drop it first", name, used)
		return
	}
	if running {
		refuse(base.ErrBusy, "backup %d of table %q still runs: restore it when it has finished (`pegasus backup ls` tells)", q.TimeStamp, q.AppName)
		return
	}
	if err := checkPartitions(ctx, store, of, info.PartitionCount, q.SkipBadPartition); err != nil {
		refuse(codeOf(err), "%v", err)
		return
	}
	if code, hint := s.o.Check(info.PartitionCount, info.MaxReplicaCount); hint != "" {
		refuse(code, "%s", hint)
		return
	}
	if err := s.o.Settle(); err != nil {
		refuse(base.CodeOf(err), "%v", err)
		return
	}
	source := appenv.Restore{Provider: q.BackupProviderName, Cluster: q.ClusterName, Policy: q.PolicyName, App: q.AppName, AppID: q.AppId,
		BackupID: q.TimeStamp, SkipBad: q.SkipBadPartition, Path: q.RestorePath}
	res := s.Apply(&state.StartRestore{
		Table: state.CreateTable{Name: name, Type: info.AppType, Stateful: info.IsStateful, Partitions: info.PartitionCount, MaxReplicas: info.MaxReplicaCount,
			Envs: source.Envs(), AtomicIdempotent: info.AtomicIdempotent.Or(false), Now: s.o.Now().Unix()},
		From: state.Restoration{Provider: q.BackupProviderName, Path: q.RestorePath.V, Cluster: q.ClusterName, Policy: q.PolicyName, BackupID: q.TimeStamp,
			App: q.AppName, AppID: q.AppId, SkipBad: q.SkipBadPartition, Begun: s.o.Now().UnixMilli()},
	})
	switch res.Err {
	case base.ErrOK:
		s.mu.Lock()
		s.fresh[res.TableID] = true
		s.mu.Unlock()
		s.Log().Infof("table %q (%d): %d partitions are being restored from %s of %s, asked by %s", name, res.TableID, info.PartitionCount, of, store, c.From)
		s.o.Look(res.TableID)
		r.Err, r.Appid = base.ErrOK, res.TableID
	case base.ErrAppExist:
		refuse(base.ErrInvalidParameters, "there is a table %q already (id %d): restore under another name, or drop it first", name, res.TableID)
	default:
		refuse(res.Err, "the meta servers don't take it: %v", res.Err)
	}
}

// checkPartitions compares the partitions that the backup has with how many the table has.
func checkPartitions(ctx context.Context, store *blob.Store, of backup.Table, count int32, skipBad bool) error {
	list, err := store.List(ctx, of.Dir())
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(list))
	for _, i := range list {
		there[i.Name] = true
	}
	if extra := of.Partition(count); there[extra] {
		return fmt.Errorf("%s says that the table has %d partitions, and there is %s: a backup is restored with the partitions that it has: %w", of.MetadataFile(), count, extra, base.ErrInvalidParameters)
	}
	if skipBad {
		return nil // count may be any number
	}
	for i := range count {
		if dir := of.Partition(i); !there[dir] {
			return fmt.Errorf("the table has %d partitions, and there is no %s in the backup: use another backup, or skip bad partitions, which are empty then: %w", count, dir, base.ErrObjectNotFound)
		}
	}
	return nil
}

// query answers upstream's tools.
func (s *Service) query(_ *service.Call, q *backupidl.ConfigurationQueryRestoreRequest, r *backupidl.ConfigurationQueryRestoreResponse) {
	r.Err = base.ErrAppNotExist
	s.Read(func(st *state.State) {
		t := st.Table(q.RestoreAppId)
		switch {
		case t == nil:
		case t.Status == state.Dropped:
			r.Err = base.ErrAppDropped
		default:
			r.Err = base.ErrOK
			of, _ := st.RestoreOf(t.ID)
			for i := range t.Parts {
				p := s.part(base.Gpid{AppID: t.ID, PartitionIndex: int32(i)})
				status, progress := p.status, p.progress
				switch {
				case slices.ContainsFunc(of.Skipped, func(k state.Skipped) bool { return int(k.Partition) == i }):
					status, progress = base.ErrIgnoreBadData, 1000
				case t.Parts[i].Members() > 0:
					status, progress = base.ErrOK, 1000
				case status == "":
					status = base.ErrOK
				}
				r.RestoreStatus = append(r.RestoreStatus, status)
				r.RestoreProgress = append(r.RestoreProgress, progress)
			}
		}
	})
}

// part returns what is known of a partition.
func (s *Service) part(g base.Gpid) partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[g]; p != nil {
		return *p
	}
	return partition{}
}

// list answers our own tools.
func (s *Service) list(_ *service.Call, q *idl.ListRestoresRequest, r *idl.ListRestoresResponse) {
	r.Err = base.ErrOK
	s.Read(func(st *state.State) {
		for _, of := range slices.Backward(st.Restores()) {
			if q.AppId.Set && q.AppId.V != of.TableID || q.AppName.Set && q.AppName.V != of.Name {
				continue
			}
			r.Restores = append(r.Restores, s.show(st, &of))
		}
	})
}

// show is a restore in its wire form. The caller holds the State.
func (s *Service) show(st *state.State, of *state.Restoration) idl.RestoreState {
	dir := backup.Location{Path: of.Path, Cluster: of.Cluster, Policy: of.Policy, ID: of.BackupID}.Table(of.App, of.AppID)
	v := idl.RestoreState{AppId: of.TableID, AppName: of.Name, Partitions: of.Partitions, Status: idl.RestoreStatus(of.Status), Reason: of.Reason,
		StartMs: of.Begun, EndMs: of.Ended, Provider: of.Provider, Directory: dir.Dir(), BackupId: of.BackupID, SourceAppName: of.App, SourceAppId: of.AppID,
		SkipBadPartition: of.SkipBad}
	t := st.Table(of.TableID)
	var sum int64
	for i := range of.Partitions {
		g := base.Gpid{AppID: of.TableID, PartitionIndex: i}
		p := s.part(g)
		k := slices.IndexFunc(of.Skipped, func(k state.Skipped) bool { return k.Partition == i })
		done := of.Status == state.RestoreDone || t != nil && int(i) < len(t.Parts) && t.Parts[i].Ballot > 0
		if done {
			v.PartitionsDone++
			p = partition{progress: 1000}
		}
		sum += int64(p.progress)
		switch {
		case k >= 0:
			v.Pending = append(v.Pending, idl.RestorePartition{Partition: i, Progress: p.progress, Node: p.by, Reason: of.Skipped[k].Reason, Skipped: true})
		case !done && of.Status == state.RestoreRuns:
			v.Pending = append(v.Pending, idl.RestorePartition{Partition: i, Progress: p.progress, Node: p.by, Reason: p.reason})
		}
	}
	if of.Partitions > 0 {
		v.Progress = int32(sum / int64(of.Partitions))
	}
	return v
}

// Seed tells the planner who restores a partition of a table that is being restored. It is called with the leader's
// lock and the State held.
func (s *Service) Seed(g base.Gpid) cure.Seed {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[g]
	switch {
	case p != nil && p.by != 0 && now.Sub(p.at) < stale:
		return cure.Seed{By: p.by, What: fmt.Sprintf("%v restores it from a backup: %.1f %%", p.by, float64(p.progress)/10)}
	case p != nil && now.Before(p.wait):
		return cure.Seed{Wait: true, What: fmt.Sprintf("it is to be restored from a backup; attempt %d of %d failed, the next is in %v: %s", p.tries, maxTries, p.wait.Sub(now).Round(time.Second), p.reason)}
	case p == nil && !s.fresh[g.AppID] && now.Sub(s.began) < warmUp:
		return cure.Seed{Wait: true, What: "it is to be restored from a backup; the leading meta server has just taken over, and waits to hear who does that"}
	}
	return cure.Seed{What: "it is to be restored from a backup"}
}

// Lead ends restores that are done.
func (s *Service) Lead(ctx context.Context) {
	s.mu.Lock()
	s.began = time.Now()
	s.mu.Unlock()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look()
		}
	}
}

// look ends what is done, and what can't be.
func (s *Service) look() {
	var ends []state.EndRestore
	s.Read(func(st *state.State) {
		for _, of := range st.Restores() {
			if of.Status != state.RestoreRuns {
				continue
			}
			switch t := st.Table(of.TableID); {
			case t == nil || t.Status != state.Available:
				ends = append(ends, state.EndRestore{ID: of.TableID, Failed: true, Reason: "the table was dropped before all of it was restored"})
			case !slices.ContainsFunc(t.Parts, func(c state.Config) bool { return c.Ballot == 0 }):
				ends = append(ends, state.EndRestore{ID: of.TableID})
			}
		}
	})
	for i := range ends {
		s.end(&ends[i])
	}
}
