package bulkload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/blob"
	files "pegasus/bulkload"
	"pegasus/gen/loading"
	"pegasus/rrdb"
)

// job is a set that is made, or was.
type job struct {
	gpid   base.Gpid
	load   int64
	source loading.LoadSource
	counts *counts
	pace   *rate.Limiter // of the load
	began  time.Time
	before <-chan struct{} // closed when the job in whose place this one is has ended; nil: there was none
	cancel context.CancelCauseFunc
	ended  chan struct{}

	paused      atomic.Bool
	read, total atomic.Int64 // bytes of files
	files       atomic.Int32
	rows        atomic.Int64
	expired     int64 // of the job's goroutine until it has ended

	// Of Loader, under its lock.
	gone base.Opt[time.Time] // since when the replica isn't a member that can make a set
	over bool
	info rrdb.SetInfo
	err  error
}

// of is what the set is made for.
func (j *job) of() rrdb.SetOf {
	return rrdb.SetOf{Load: j.load, Partitions: j.source.PartitionCount, TimetagUS: j.source.TimetagUs, Behind: j.source.IngestBehind}
}

// lost tells that the set was made and isn't there any more: the replica was made anew.
func (j *job) lost(r Replica) bool {
	_, err := r.Store().ReadSet(r.Store().SetDir(j.load))
	return errors.Is(err, rrdb.ErrNoSet)
}

// tell fills an answer.
func (j *job) tell(a *loading.LoadResponse) {
	a.State, a.BytesRead, a.BytesTotal, a.FilesTotal, a.Rows = loading.LOAD_READING, j.read.Load(), j.total.Load(), j.files.Load(), j.rows.Load()
	switch {
	case !j.over:
	case j.err != nil:
		a.State, a.LoadErr, a.Reason, a.BadFiles = loading.LOAD_FAILED, codeOf(j.err), j.err.Error(), files.Bad(j.err) || errors.Is(j.err, errTooMuch)
	default:
		a.State, a.Digest, a.Rows = loading.LOAD_READY, j.info.Digest, j.info.Rows
	}
}

// codeOf is what is told of a failure.
func codeOf(err error) base.ErrorCode {
	switch {
	case errors.Is(err, files.ErrMissing):
		return base.ErrObjectNotFound
	case files.Bad(err):
		return base.ErrCorruption
	case errors.Is(err, blob.ErrNotFound):
		return base.ErrInvalidParameters
	case errors.Is(err, errTooMuch):
		return base.ErrInvalidParameters
	case base.Shortage(err):
		return base.ErrDiskInsufficient
	}
	if code := base.CodeOf(err); code != base.ErrUnknown && code != base.ErrOK {
		return code
	}
	return base.ErrFsInternal
}

// make makes the set, unless it is there.
func (l *Loader) make(ctx context.Context, j *job) (info rrdb.SetInfo, err error) {
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}()
	if j.before != nil {
		select {
		case <-j.before:
		case <-ctx.Done():
			return info, context.Cause(ctx)
		}
	}
	r, here := l.host.Replica(j.gpid)
	if !here {
		return info, errGone
	}
	store := r.Store()
	if info, err = store.ReadSet(store.SetDir(j.load)); err == nil && info.SetOf == j.of() {
		j.read.Store(info.Bytes)
		j.total.Store(info.Bytes)
		return info, nil
	} else if err != nil && !errors.Is(err, rrdb.ErrNoSet) {
		return info, err
	}
	// Of the loads before, and of this one what isn't complete.
	if err := store.RemoveSets(j.load); err != nil {
		return info, err
	}
	if !j.wait(ctx) {
		return info, context.Cause(ctx)
	}
	if !l.slots.take(ctx) {
		return info, context.Cause(ctx)
	}
	defer l.slots.give()
	return l.build(ctx, j, r, store)
}

// wait returns when the job isn't paused, false if it has to end.
func (j *job) wait(ctx context.Context) bool {
	for j.paused.Load() {
		if !pause.For(ctx, 50*time.Millisecond) {
			return false
		}
	}
	return ctx.Err() == nil
}

func (l *Loader) build(ctx context.Context, j *job, r Replica, store *rrdb.Store) (info rrdb.SetInfo, err error) {
	s := &j.source
	place, err := l.o.Blobs.Get(ctx, s.Provider)
	if err != nil {
		return info, err
	}
	at := files.Place{Root: s.RootPath, Cluster: s.ClusterName, Table: s.AppName}
	is, err := files.ReadInfo(ctx, place, at)
	if err == nil {
		err = is.CheckTable(place, at, s.AppId, s.PartitionCount)
	}
	if err != nil {
		return info, err
	}
	p, err := files.OpenPartition(ctx, place, at, j.gpid.PartitionIndex, s.PartitionCount)
	if err != nil {
		return info, err
	}
	j.total.Store(p.Metadata.Bytes)
	j.files.Store(int32(len(p.Metadata.Files)))
	if room := r.Room(); p.Metadata.Bytes > room/2 {
		return info, fmt.Errorf("the files of the partition have %d bytes, and the disk has room for %d; twice as much is needed: %w", p.Metadata.Bytes, room, base.ErrDiskInsufficient)
	}
	owed := int64(0)
	rows, err := p.Rows(ctx, func(n int64) {
		j.read.Add(n)
		j.counts.bytes.Add(n)
		owed += n
	})
	if err != nil {
		j.counts.filesBad.Add(1)
		return info, err
	}
	defer rows.Close()
	b, err := store.BuildSet(store.SetDir(j.load), j.of())
	l.left.made(j.gpid)
	if err != nil {
		return info, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Abort())
		}
	}()
	cutoff, tag := rrdb.ExpiryTime(time.UnixMicro(s.TimetagUs)), rrdb.MakeTimetag(s.TimetagUs, 0, false)
	for rows.Next() {
		if !j.wait(ctx) {
			return info, context.Cause(ctx)
		}
		for owed > 0 {
			n := int(min(owed, burst, inSecond(l.pace), inSecond(j.pace)))
			if err := errors.Join(l.pace.WaitN(ctx, n), j.pace.WaitN(ctx, n)); err != nil {
				return info, cmp.Or(context.Cause(ctx), err)
			}
			owed -= int64(n)
		}
		row := rows.Row()
		if row.Expired(cutoff) {
			j.expired++
			continue
		}
		if err := b.Add(row.Key, row.ExpireTS, tag, row.Data); err != nil {
			return info, err
		}
		j.rows.Add(1)
		if most := l.o.BehindBytes; s.IngestBehind && most > 0 {
			if n, bytes := b.Rows(); bytes+behindRow*n > most {
				return info, fmt.Errorf("the files of the partition have more than %d bytes, each row counted with %d besides: %w", most, behindRow, errTooMuch)
			}
		}
	}
	if err := rows.Close(); err != nil {
		j.counts.filesBad.Add(1)
		return info, err
	}
	if ctx.Err() != nil {
		return info, context.Cause(ctx)
	}
	j.counts.filesOK.Add(int64(len(p.Metadata.Files)))
	return b.Finish()
}
