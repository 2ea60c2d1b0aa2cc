package bulkload

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/loading"
	"pegasus/metrics"
	"pegasus/remotecmd"
	"pegasus/replica/part"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// Register implements part.Part.
func (l *Loader) Register(r *part.Routes) {
	part.Handle(r, base.RPCLoadRows, part.Slow, l.serve)
	part.Live(r, "replica.bulk_load_concurrency", func(n int) { l.slots.most.Store(int64(n)) })
	r.Command(remotecmd.Int("replica.max-concurrent-bulk-load-downloading-count", "The maximum number of partitions whose files for a bulk load are read at the same time.", &l.slots.most,
		func(n int64) bool { return n > 0 && n <= 1000 }))
	part.Live(r, "replica.bulk_load_bytes_per_second", func(n int64) { setRate(l.pace, n) })
}

// serve answers RPC_LOAD_ROWS.
func (l *Loader) serve(_ *rpc.Request, q *loading.LoadRequest, a *loading.LoadResponse) {
	a.Err, a.State = base.ErrOK, loading.LOAD_NONE
	if err := l.step(q, a); err != nil {
		if a.Err, a.HintMsg = base.CodeOf(err), err.Error(); a.Err == base.ErrUnknown || a.Err == base.ErrOK {
			a.Err = base.ErrBusy
			if q.Step == loading.LOAD_FORGET { // it is a disk that fails
				a.Err = base.ErrFsInternal
			}
		}
	}
}

func (l *Loader) step(q *loading.LoadRequest, a *loading.LoadResponse) error {
	if err := l.host.Same(q.ClusterId.V); err != nil {
		return fmt.Errorf("%w: %w", base.ErrClusterNotFound, err)
	}
	if err := version.Permit(l.host.Version(), version.Loads.Since()); err != nil {
		return fmt.Errorf("%w: %w", base.ErrOperationDisabled, err)
	}
	if q.LoadId <= 0 {
		return fmt.Errorf("load %d: %w", q.LoadId, base.ErrInvalidParameters)
	}
	r, here := l.host.Replica(q.Pid)
	if !here {
		if q.Step == loading.LOAD_FORGET {
			l.drop(q.Pid, q.LoadId)
		}
		return fmt.Errorf("replica %v isn't here: %w", q.Pid, base.ErrObjectNotFound)
	}
	switch q.Step {
	case loading.LOAD_PREPARE:
		return l.prepare(r, q, a)
	case loading.LOAD_TAKE:
		return l.take(r, q, a)
	case loading.LOAD_FORGET:
		return l.forget(r, q, a)
	case loading.LOAD_HOLD:
		return l.hold(r, q, a)
	}
	return fmt.Errorf("step %v: %w", q.Step, base.ErrInvalidParameters)
}

// prepare begins to make a set, or tells how far it is.
func (l *Loader) prepare(r Replica, q *loading.LoadRequest, a *loading.LoadResponse) error {
	if done, err := taken(r, q, a); done {
		return err
	}
	if err := member(r); err != nil {
		return err
	}
	src := q.Source.V
	if err := check(r, q); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	j := l.jobs[q.Pid]
	lost := false
	if j != nil && j.over && j.err == nil && j.load == q.LoadId {
		l.mu.Unlock() // not while a disk is asked
		lost = j.lost(r)
		l.mu.Lock()
		if l.jobs[q.Pid] != j {
			return fmt.Errorf("another load was begun: %w", base.ErrBusy)
		}
	}
	switch {
	case j == nil:
	case j.load > q.LoadId:
		return fmt.Errorf("load %d is older than load %d: %w", q.LoadId, j.load, base.ErrVersionOutdated)
	case j.load == q.LoadId && !lost:
		j.paused.Store(q.Paused.V)
		j.tell(a)
		return nil
	}
	if l.removing[q.Pid] > 0 {
		return fmt.Errorf("earlier loads are being removed: %w", base.ErrBusy)
	}
	if load := r.Taking(); load != 0 && load != q.LoadId {
		return fmt.Errorf("load %d is being taken: %w", load, base.ErrBusy)
	}
	if p := l.kept[q.Pid]; p.load != q.LoadId && p.load > r.Store().Taken().Load && time.Now().Before(p.until) {
		return fmt.Errorf("load %d may be taken yet: %w", p.load, base.ErrBusy)
	}
	next := &job{gpid: q.Pid, load: q.LoadId, source: src, ended: make(chan struct{}), began: time.Now(), counts: l.countsOf(q.Pid), pace: l.paceOf(q.LoadId, src.BytesPerSecond)}
	next.paused.Store(q.Paused.V)
	if j != nil {
		j.cancel(errNewer)
		next.before = j.ended
	}
	l.jobs[q.Pid] = next
	l.begin(next)
	next.tell(a)
	return nil
}

// check says whether a request to prepare a load can be obeyed.
func check(r Replica, q *loading.LoadRequest) error {
	s, v := &q.Source.V, r.View()
	switch {
	case !q.Source.Set || s.Provider == "" || s.TimetagUs <= 0 || s.BytesPerSecond < 0:
		return fmt.Errorf("the source %+v isn't one: %w", *s, base.ErrInvalidParameters)
	case v.Partitions == 0:
		return fmt.Errorf("the replica hasn't heard of its table yet: %w", base.ErrBusy)
	}
	return sameCount(r, s.PartitionCount)
}

// begin has a job done. The caller holds mu.
func (l *Loader) begin(j *job) {
	ctx, cancel := context.WithCancelCause(context.Background())
	j.cancel = cancel
	go func() {
		info, err := l.make(ctx, j)
		l.end(j, info, err)
		cancel(nil)
	}()
	l.host.Go(func(server context.Context) {
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
		case <-t.C: // a disk or a store hangs
		}
	})
}

// end notes how a job has ended.
func (l *Loader) end(j *job, info rrdb.SetInfo, err error) {
	l.mu.Lock()
	j.over, j.info, j.err = true, info, err
	if err != nil && wasCancelled(err) && l.jobs[j.gpid] == j {
		delete(l.jobs, j.gpid)
	}
	l.mu.Unlock()
	switch took := time.Since(j.began).Round(time.Millisecond); {
	case err == nil:
		l.log.Infof("replica %v: load %d is prepared: %d rows (%d bytes) of %d bytes of files, digest %s, in %v; %d rows had expired", j.gpid, j.load, info.Rows, info.Bytes, j.read.Load(), info.Digest, took, j.expired)
	case wasCancelled(err):
		l.log.Infof("replica %v: load %d is no longer prepared: %v", j.gpid, j.load, err)
	default:
		j.counts.failed.Add(1)
		l.log.Warnf("replica %v: load %d failed: %v", j.gpid, j.load, err)
	}
	close(j.ended)
}

// drop ends a job up to a load, and forgets it. It returns false if it goes on.
func (l *Loader) drop(g base.Gpid, load int64) bool {
	l.mu.Lock()
	j := l.jobs[g]
	l.mu.Unlock()
	if j == nil || j.load > load {
		return true
	}
	j.cancel(errForgotten)
	t := time.NewTimer(endTime)
	defer t.Stop()
	select {
	case <-j.ended:
	case <-t.C:
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.jobs[g] == j {
		delete(l.jobs, g)
	}
	return true
}

// forget removes what there is of loads up to one.
func (l *Loader) forget(r Replica, q *loading.LoadRequest, _ *loading.LoadResponse) error {
	store := r.Store()
	l.mu.Lock()
	p := l.kept[q.Pid]
	l.removing[q.Pid]++ // nothing is promised meanwhile
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.removing[q.Pid]--; l.removing[q.Pid] == 0 {
			delete(l.removing, q.Pid)
		}
	}()
	// First the promise, then the log: what was promised is in the log before the promise ends.
	if p.load != 0 && p.load <= q.LoadId && p.load > store.Taken().Load && time.Now().Before(p.until) {
		return fmt.Errorf("load %d may be taken yet: %w", p.load, base.ErrBusy)
	}
	if load := r.Taking(); load != 0 && load <= q.LoadId {
		return fmt.Errorf("load %d is being taken: %w", load, base.ErrBusy)
	}
	if !l.drop(q.Pid, q.LoadId) {
		return fmt.Errorf("load %d is ending: %w", q.LoadId, base.ErrBusy)
	}
	return store.RemoveSets(q.LoadId)
}

// Collect implements part.Part.
func (l *Loader) Collect(sn *metrics.Snapshot) {
	l.mu.Lock()
	all := maps.Clone(l.counts)
	reading := map[base.Gpid]bool{}
	longest := time.Duration(0)
	for g, j := range l.jobs {
		if !j.over {
			reading[g] = true
			longest = max(longest, time.Since(j.began))
		}
	}
	taking := maps.Clone(l.taking)
	l.mu.Unlock()
	for g, c := range all {
		if _, here := l.host.Replica(g); here {
			c.collect(sn.Entity(metrics.Replica, g.String(), "table_id", strconv.Itoa(int(g.AppID)), "partition_id", strconv.Itoa(int(g.PartitionIndex))), reading[g], taking[g])
		}
	}
	e := sn.Entity(metrics.Server, "")
	e.Set(metricRunning, int64(len(reading)))
	e.Set(metricDuration, longest.Milliseconds())
	e.Set(metricHeld, l.held.Load())
}
