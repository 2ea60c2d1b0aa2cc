package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/blob"
	idl "pegasus/gen/backup"
	"pegasus/metrics"
	"pegasus/replica/part"
	"pegasus/rpc"
)

const (
	// patience is how long a backup goes on that nobody asks for, and how long it is remembered
	// when it has ended.
	patience = 15 * time.Minute
	// clearTime is how long the answer to a clearing waits for the end of the backup.
	clearTime = 8 * time.Second
	// stopTime is how long the end of the server waits for the end of a backup.
	stopTime = 500 * time.Millisecond
	// openTime is for making the client of a blob store.
	openTime = 10 * time.Second
	// looking is how many backups are looked for in blob stores at a time.
	looking = 8
	// manyOfReplica backups of one replica may be known at a time.
	manyOfReplica = 16
)

// key tells backups of a server apart: of a policy, a replica has one.
type key struct {
	gpid   base.Gpid
	policy string
}

// Backups are a server's cold backups.
type Backups struct {
	maker maker
	log   *logrus.Entry

	mu     sync.Mutex
	jobs   map[key]*job
	counts map[base.Gpid]*counts
}

// New returns the backups of a server. The options are valid.
func New(h part.Host, o Options) *Backups {
	o.EnsureDefaults()
	log := h.Log().WithField("part", "backup")
	return &Backups{log: log, jobs: map[key]*job{}, counts: map[base.Gpid]*counts{},
		maker: maker{host: h, o: o, looks: newSlots(looking), places: newSlots(o.Concurrency), log: log}}
}

// Register implements part.Part. It also begins to set the pace.
func (b *Backups) Register(r *part.Routes) {
	part.Handle(r, base.RPCColdBackup, part.Slow, b.backup)
	part.Handle(r, base.RPCClearColdBackup, part.Slow, b.clear)
	part.Live(r, "replica.backup_concurrency", b.maker.places.set)
	part.Live(r, "replica.backup_bytes_per_second", b.maker.o.Pace.Limit)
	b.maker.host.Go(b.maker.o.Pace.Run)
}

// Close implements part.Part.
func (b *Backups) Close() error { return nil }

// backup answers RPC_COLD_BACKUP: it begins a backup, or tells how far it is.
func (b *Backups) backup(_ *rpc.Request, q *idl.BackupRequest, a *idl.BackupResponse) {
	a.Pid, a.PolicyName, a.BackupId = q.Pid, q.Policy.PolicyName, q.BackupId
	if err := b.ask(q, a); err != nil {
		a.Err, a.Reason = base.CodeOf(err), base.Some(err.Error())
	}
}

// ask fills the answer. An error says why there is no backup.
func (b *Backups) ask(q *idl.BackupRequest, a *idl.BackupResponse) error {
	now := time.Now()
	k := key{q.Pid, q.Policy.PolicyName}
	j, err := b.plan(q)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.jobs[k]
	switch {
	case old == nil:
	case old.table.ID > q.BackupId:
		return fmt.Errorf("backup %d of policy %q is newer: %w", old.table.ID, k.policy, base.ErrVersionOutdated)
	case old.table.ID == q.BackupId && (old.table != j.table || old.provider != j.provider):
		return fmt.Errorf("backup %d goes to %s of blob store %s, not to %s of %s: %w", q.BackupId, old.table, old.provider, j.table, j.provider, base.ErrInvalidParameters)
	case old.table.ID == q.BackupId:
		old.asked = now
		b.tell(k, old, a)
		return nil
	}
	r, here := b.maker.host.Replica(q.Pid)
	if !here {
		return fmt.Errorf("replica %v isn't here: %w", q.Pid, base.ErrObjectNotFound)
	}
	if err := may(r); err != nil {
		return err
	}
	if n := b.of(q.Pid); n >= manyOfReplica {
		return fmt.Errorf("replica %v has %d backups of different policies: %w", q.Pid, n, base.ErrBusy)
	}
	j.asked, j.began, j.counts = now, now, b.countsOf(q.Pid)
	if old != nil {
		old.cancel(newerError{q.BackupId})
		j.before = old.ended
	}
	b.jobs[k] = j
	b.begin(k, j)
	b.tell(k, j, a)
	return nil
}

// plan makes a job of a request that can be obeyed.
func (b *Backups) plan(q *idl.BackupRequest) (*job, error) {
	l := backup.Location{Path: q.BackupPath.Or(""), Cluster: q.BackupRoot.Or(""), ID: q.BackupId}
	if l.Cluster == "" {
		l.Cluster = b.maker.o.Root
	}
	if err := l.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, base.ErrInvalidParameters)
	}
	if err := blob.CheckName(q.AppName); err != nil || strings.ContainsAny(q.AppName, `/\`) || q.Pid.AppID <= 0 || q.Pid.PartitionIndex < 0 {
		return nil, fmt.Errorf("table %q, partition %v: %w", q.AppName, q.Pid, errors.Join(base.ErrInvalidParameters, err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	if _, err := b.maker.o.Stores.Get(ctx, q.Policy.BackupProviderType); err != nil {
		return nil, fmt.Errorf("server %s: %w: %w", b.maker.host.Name(), err, base.ErrInvalidParameters)
	}
	return &job{provider: q.Policy.BackupProviderType, table: l.Table(q.AppName, q.Pid.AppID), gpid: q.Pid, ended: make(chan struct{})}, nil
}

// of counts the backups of a replica. The caller holds mu.
func (b *Backups) of(g base.Gpid) (n int) {
	for k := range b.jobs {
		if k.gpid == g {
			n++
		}
	}
	return n
}

func (b *Backups) countsOf(g base.Gpid) *counts {
	c := b.counts[g]
	if c == nil {
		c = &counts{}
		b.counts[g] = c
	}
	return c
}

// begin has a job done. The caller holds mu.
func (b *Backups) begin(k key, j *job) {
	ctx, cancel := context.WithCancelCause(context.Background())
	j.cancel = cancel
	j.counts.started.Add(1)
	go func() {
		bytes, err := b.maker.make(ctx, j)
		b.end(k, j, bytes, err)
		cancel(nil)
	}()
	b.maker.host.Go(func(server context.Context) {
		select {
		case <-j.ended:
			return
		case <-server.Done():
		}
		cancel(errStopping)
		t := time.NewTimer(stopTime)
		defer t.Stop()
		select {
		case <-j.ended:
		case <-t.C: // a disk or a store hangs; the next start removes the checkpoint
		}
	})
}

// end notes how a job has ended.
func (b *Backups) end(k key, j *job, bytes int64, err error) {
	cancelled := err != nil && wasCancelled(err)
	switch {
	case err == nil:
		j.counts.ok.Add(1)
	case cancelled:
		j.counts.cancelled.Add(1)
		b.log.Infof("replica %v: backup %d was cancelled: %v", j.gpid, j.table.ID, err)
	default:
		j.counts.failed.Add(1)
		b.log.Warnf("replica %v: backup %d failed: %v", j.gpid, j.table.ID, err)
	}
	b.mu.Lock()
	j.over, j.err, j.bytes = true, err, bytes
	if cancelled && b.jobs[k] == j {
		delete(b.jobs, k)
	}
	b.mu.Unlock()
	close(j.ended)
}

// tell fills an answer. A failure is told once: whoever asks again begins anew. The caller holds mu.
func (b *Backups) tell(k key, j *job, a *idl.BackupResponse) {
	switch {
	case !j.over:
		a.Err, a.Progress, a.CheckpointTotalSize = base.ErrBusy, j.progress(), j.total.Load()
		if j.stage.Load() == stageWaiting {
			a.Reason = base.Some(fmt.Sprintf("it waits: server %s makes %d backups at a time (replica.backup_concurrency)", b.maker.host.Name(), b.maker.places.limit()))
		}
	case j.err != nil:
		a.Err, a.Progress, a.Reason = base.ErrLocalAppFailure, j.progress(), base.Some(j.err.Error())
		delete(b.jobs, k)
	default:
		a.Err, a.Progress, a.CheckpointTotalSize = base.ErrOK, 1000, j.bytes
	}
}

// clear answers RPC_CLEAR_COLD_BACKUP, which upstream's metas send one-way: it ends a backup, or forgets it. When it answers
// ERR_OK nothing is written any more.
func (b *Backups) clear(_ *rpc.Request, q *idl.BackupClearRequest, a *idl.BackupResponse) {
	a.Err, a.Pid, a.PolicyName = base.ErrOK, q.Pid, q.PolicyName
	k := key{q.Pid, q.PolicyName}
	b.mu.Lock()
	j := b.jobs[k]
	if j != nil && j.over {
		delete(b.jobs, k)
	}
	b.mu.Unlock()
	if j == nil {
		return
	}
	a.BackupId = j.table.ID
	j.cancel(errCleared)
	t := time.NewTimer(clearTime)
	defer t.Stop()
	select {
	case <-j.ended:
		b.mu.Lock() // it may have ended just before
		if b.jobs[k] == j {
			delete(b.jobs, k)
		}
		b.mu.Unlock()
	case <-t.C:
		a.Err, a.Reason = base.ErrBusy, base.Some("the backup is ending; ask again")
	}
}

// Tick ends what nobody asks for any more, and what takes room that a disk needs.
func (b *Backups) Tick(time.Time) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, j := range b.jobs {
		switch {
		case now.Sub(j.asked) < patience:
		case j.over:
			delete(b.jobs, k)
		default:
			j.cancel(errForgotten)
		}
		if err := j.crowded(); err != nil {
			j.cancel(err)
		}
	}
}

// Collect implements part.Part.
func (b *Backups) Collect(sn *metrics.Snapshot) {
	now, waiting := time.Now(), int64(0)
	b.mu.Lock()
	runs := map[base.Gpid]running{}
	for _, j := range b.jobs {
		if j.over {
			continue
		}
		r := runs[j.gpid]
		r.jobs++
		r.longest, r.largest = max(r.longest, now.Sub(j.began)), max(r.largest, j.largest.Load())
		runs[j.gpid] = r
		if j.stage.Load() == stageWaiting {
			waiting++
		}
	}
	all := maps.Clone(b.counts)
	b.mu.Unlock()
	for _, r := range b.maker.host.Replicas() {
		g := r.Gpid()
		c := all[g]
		if c == nil {
			c = &counts{}
		}
		c.collect(sn.Entity(metrics.Replica, g.String(), "table_id", strconv.Itoa(int(g.AppID)), "partition_id", strconv.Itoa(int(g.PartitionIndex))), runs[g])
	}
	e := sn.Entity(metrics.Server, "")
	e.Set(metricWaiting, waiting)
	e.Set(metricRate, b.maker.o.Pace.Rate())
}
