package restore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/rrdb"
)

const (
	// tellEvery is how often the meta is told of the progress; tellWaiting, of a store that others are before.
	tellEvery, tellWaiting = time.Second, 3 * time.Second
	// lastTries is how often the meta is told of a failure.
	lastTries = 10
	// almost is the progress, per mille, of a store that isn't complete.
	almost = 990
)

// task is a store that is being made.
type task struct {
	*Restorer
	Job
	log     *logrus.Entry
	started atomic.Bool // else it waits for others
	// read of total bytes of files.
	read, total atomic.Int64

	where                         string
	rows, bytes, expired, foreign int64
}

func (t *task) progress() int32 {
	if n := t.total.Load(); n > 0 {
		return int32(min(t.read.Load()*1000/n, almost))
	}
	return 0
}

// tell reports until ctx ends, and ends it if the store isn't wanted or the disk takes no more.
func (t *task) tell(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		switch code, err := t.report(ctx, t.Gpid, base.ErrOK, t.progress(), ""); {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.log.Debugf("tell the meta of the restore: %v", err)
		case code == base.ErrObjectNotFound || code == base.ErrInvalidState || code == base.ErrBusy:
			cancel(fmt.Errorf("%w: %v", ErrUnwanted, code))
			return
		}
		if err := t.Usable(); err != nil {
			cancel(err)
			return
		}
		wait := tellWaiting
		if t.started.Load() {
			wait = tellEvery
		}
		pause.For(ctx, wait)
	}
}

// make makes the store, and says of a failure what it is.
func (t *task) make(ctx context.Context) error {
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return t.gaveUp(ctx, ctx.Err())
	}
	defer func() { <-t.slots }()
	t.started.Store(true)
	t.Restorer.running.Add(1)
	defer t.Restorer.running.Add(-1)
	err := t.store(ctx)
	if err != nil && ctx.Err() == nil && backup.Damaged(err) {
		err = t.stillThere(ctx, err)
	}
	if err != nil && ctx.Err() == nil && backup.Damaged(err) && t.Of.SkipBad {
		t.log.Warnf("its backup is bad, and it is left empty, as the restore asked for: %v", err)
		if err = t.note(ctx, err); err == nil {
			err = t.empty(ctx)
		}
	}
	if err != nil {
		return t.gaveUp(ctx, err)
	}
	return nil
}

// gaveUp tells the meta of a failure. The server may be about to end, or the meta may have said that it doesn't want the store.
func (t *task) gaveUp(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, ErrUnwanted) || errors.Is(err, context.Canceled) {
		return err
	}
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTries*time.Second)
	defer cancel()
	for c.Err() == nil {
		if _, e := t.report(c, t.Gpid, codeOf(err), t.progress(), err.Error()); e == nil {
			break
		}
		pause.For(c, time.Second/2)
	}
	return err
}

// note has the meta note that the partition is left empty.
func (t *task) note(ctx context.Context, why error) error {
	for {
		code, err := t.report(ctx, t.Gpid, base.ErrIgnoreBadData, 1000, why.Error())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || code == base.ErrTimeout || code == base.ErrForwardToOthers:
			pause.For(ctx, tellEvery/2) // no leader takes it now
		case code != base.ErrOK:
			return fmt.Errorf("%w: %v", ErrUnwanted, code)
		default:
			return nil
		}
	}
}

// empty makes a store without rows.
func (t *task) empty(ctx context.Context) error {
	b, err := t.Begin()
	if err != nil {
		return err
	}
	if err := b.Finish(ctx, Decree, t.o.Now().UnixMicro()); err != nil {
		return errors.Join(err, b.Abort())
	}
	return nil
}

// source is the table in the backup.
func (t *task) source() backup.Table {
	return backup.Location{Path: t.Of.Path.V, Cluster: t.Of.Cluster, Policy: t.Of.Policy, ID: t.Of.BackupID}.Table(t.Of.App, t.Of.AppID)
}

// stillThere returns why a backup is bad, or another error if this server doesn't see it any more: files are missing where a
// directory is no longer mounted, and where a backup is being removed (app_metadata goes first).
func (t *task) stillThere(ctx context.Context, why error) error {
	if t.Open != nil {
		return why // what it is made of isn't a backup
	}
	place, err := t.o.Blobs.Get(ctx, t.Of.Provider)
	if err == nil {
		_, err = backup.ReadTable(ctx, place, t.source())
	}
	switch {
	case errors.Is(err, backup.ErrNone):
		return fmt.Errorf("%w any more: %v; before: %v", errNotHere, err, why)
	case err != nil && !backup.Damaged(err):
		return fmt.Errorf("look at the backup again: %w; before: %v", err, why)
	}
	return why
}

// openBackup opens the rows of the backup.
func (t *task) openBackup(ctx context.Context) (Rows, error) {
	place, err := t.o.Blobs.Get(ctx, t.Of.Provider)
	if err != nil {
		return nil, err
	}
	of := t.source()
	where := fmt.Sprintf("%s of %s", of.Partition(t.Gpid.PartitionIndex), place)
	// Without it nothing is said of the partition's files: a directory that isn't mounted here has none either.
	info, err := backup.ReadTable(ctx, place, of)
	switch {
	case errors.Is(err, backup.ErrNone):
		return nil, fmt.Errorf("%w: %v", errNotHere, err)
	case err != nil:
		return nil, err
	case info.PartitionCount != t.Partitions:
		return nil, fmt.Errorf("%s says that the table has %d partitions, the table here has %d: %w", of.MetadataFile(), info.PartitionCount, t.Partitions, backup.ErrDamaged)
	}
	p, err := backup.OpenPartition(ctx, place, of.Partition(t.Gpid.PartitionIndex), backup.OpenOptions{Read: func(n int64) {
		t.read.Add(n)
		t.Restorer.bytes.Add(n)
	}})
	if err != nil {
		return nil, err
	}
	t.total.Store(p.Metadata.Bytes)
	rows, err := p.Rows(ctx)
	if err != nil {
		return nil, err
	}
	return backupRows{rows, where}, nil
}

type backupRows struct {
	*backup.Reader
	where string
}

func (r backupRows) String() string { return r.where }

// open opens the rows.
func (t *task) open(ctx context.Context) (Rows, error) {
	if t.Open == nil {
		return t.openBackup(ctx)
	}
	return t.Open(ctx, Progress{Total: t.total.Store, Read: func(ctx context.Context, n int64) error {
		t.read.Add(n)
		t.Restorer.bytes.Add(n)
		for n > 0 {
			k := min(n, burst)
			if err := t.pace.WaitN(ctx, int(k)); err != nil {
				return err
			}
			n -= k
		}
		return nil
	}})
}

// store makes the store of what the rows are.
func (t *task) store(ctx context.Context) error {
	rows, err := t.open(ctx)
	if err != nil {
		return err
	}
	t.where = rows.String()
	b, err := t.Begin()
	if err != nil {
		return errors.Join(err, rows.Close())
	}
	if err = t.copy(ctx, rows, b); err == nil {
		err = b.Finish(ctx, Decree, min(max(b.Newest(), 1), t.o.Now().UnixMicro()))
	}
	if err != nil {
		return errors.Join(err, b.Abort(), rows.Close())
	}
	return rows.Close()
}

// copy adds the rows of a backup to a store. When it returns nil all of the backup was as it was written.
func (t *task) copy(ctx context.Context, rows Rows, b *rrdb.Builder) error {
	cutoff := uint32(0) // nothing has expired
	if now, err := t.o.DeleteTime(); err == nil {
		cutoff = rrdb.ExpiryTime(now)
	}
	owed := 0
	for rows.Next() {
		row := rows.Row()
		key, v := row.Key, row.Value
		if len(key) == 0 {
			continue
		}
		switch {
		case !rrdb.InPartition(key, t.Gpid.PartitionIndex, t.Partitions):
			t.foreign++
			continue
		case v.Expired(cutoff):
			t.expired++
			continue
		}
		switch err := b.Add(key, v.ExpireTS, v.Timetag, v.Data); {
		case errors.Is(err, base.ErrInvalidData):
			return fmt.Errorf("%s: %w: %w", t.where, backup.ErrDamaged, err)
		case err != nil:
			return err
		}
		if owed += len(key) + len(v.Data); owed >= burst/2 {
			if err := t.pace.WaitN(ctx, min(owed, burst)); err != nil {
				return err
			}
			owed = 0
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if t.rows, t.bytes = b.Rows(); t.rows == 0 && t.foreign > 0 {
		return fmt.Errorf("none of the %d rows of %s is of this partition: it is the backup of another one, or of a table with another partition count: %w", t.foreign, t.where, backup.ErrDamaged)
	}
	return nil
}
