package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/pause"
	"pegasus/blob"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rocks/pegasus"
	"pegasus/rrdb"
)

const (
	// catchUp is how long a replica may take to apply what it had prepared when its backup began.
	catchUp     = time.Minute
	catchUpPoll = 10 * time.Millisecond
	// tidyTime is for removing what a backup that failed has left in the store.
	tidyTime = 5 * time.Second
	// cacheBytes is for blocks of a checkpoint that is read once.
	cacheBytes = 4 << 20
	// tableBytes is the size of the tables of a backup. Each is sent at once, and three are in memory.
	tableBytes = 16 << 20
)

// Why a backup was cancelled. It hasn't failed, then.
var (
	errCleared   = errors.New("it was cleared")
	errForgotten = errors.New("the meta hasn't asked for it in a long time")
	errStopping  = errors.New("the server stops")
)

// newerError cancels a backup, too.
type newerError struct{ id int64 }

func (e newerError) Error() string {
	return fmt.Sprintf("the same policy asked for backup %d", e.id)
}

func wasCancelled(err error) bool {
	var newer newerError
	return errors.Is(err, errCleared) || errors.Is(err, errForgotten) || errors.Is(err, errStopping) || errors.As(err, &newer)
}

// Stages of a job.
const (
	stageLooking = iota // whether it is done already
	stageWaiting        // for others
	stageCopying        // the checkpoint is being made
	stageWriting
)

// job is the backup of one replica.
type job struct {
	provider string
	table    backup.Table
	gpid     base.Gpid
	counts   *counts
	began    time.Time
	before   <-chan struct{} // closed when the backup that this one takes the place of has ended; nil: there is none
	cancel   context.CancelCauseFunc
	ended    chan struct{}

	source      atomic.Pointer[part.Replica] // on whose disk there is a checkpoint
	stage       atomic.Int32
	rows, total atomic.Int64 // bytes of rows that were taken, and about how many there are
	largest     atomic.Int64 // bytes of a file

	// Of Backups, under its lock.
	asked time.Time // when the meta asked last
	over  bool      // it has ended, with err, or with a backup of so many bytes
	err   error
	bytes int64
}

// progress is in thousandths, and below 1000.
func (j *job) progress() int32 {
	total := j.total.Load()
	if total <= 0 {
		return 0
	}
	return int32(min(999, j.rows.Load()*1000/total))
}

// crowded returns an error when the disk of the checkpoint has too little room, or is out of service.
func (j *job) crowded() error {
	r := j.source.Load()
	if r == nil {
		return nil
	}
	if err := (*r).DiskUsable(); err != nil {
		return fmt.Errorf("the backup was given up, since its checkpoint takes room: %w", err)
	}
	return nil
}

// maker makes backups.
type maker struct {
	host   part.Host
	o      Options
	looks  *slots // who looks whether a backup is there already
	places *slots // who reads a checkpoint
	log    *logrus.Entry
}

// make makes a backup, and returns the size of its files.
func (m *maker) make(ctx context.Context, j *job) (int64, error) {
	if j.before != nil {
		select {
		case <-j.before:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	store, err := m.o.Stores.Get(ctx, j.provider)
	if err != nil {
		return 0, err
	}
	if n, done, err := m.look(ctx, store, j); done || err != nil {
		return n, err
	}
	j.stage.Store(stageWaiting)
	if err := m.places.take(ctx); err != nil {
		return 0, err
	}
	defer m.places.free()
	j.stage.Store(stageCopying)
	manifest, err := m.write(ctx, store, j)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	switch {
	case err == nil:
		bytes := int64(0)
		for _, f := range manifest.Files {
			bytes += f.Size
		}
		m.log.Infof("replica %v: backup in %s of blob store %s: %d rows at decree %d, %d bytes, in %v", j.gpid,
			j.table.Partition(j.gpid.PartitionIndex), store.Name(), manifest.Rows, manifest.Decree, bytes, time.Since(j.began).Round(time.Millisecond))
		return bytes, nil
	case errors.Is(err, backup.ErrComplete):
		n, _, err := m.look(ctx, store, j)
		return n, err
	}
	return m.tidy(ctx, store, j, err)
}

// look tells whether a backup is complete in the store, and how large it is.
func (m *maker) look(ctx context.Context, store *blob.Store, j *job) (bytes int64, done bool, err error) {
	if err := m.looks.take(ctx); err != nil {
		return 0, false, err
	}
	defer m.looks.free()
	dir := j.table.Partition(j.gpid.PartitionIndex)
	name, err := backup.Current(ctx, store, dir)
	if err != nil || name == "" {
		return 0, false, err
	}
	meta, err := backup.ReadMetadata(ctx, store, dir, name)
	if err != nil {
		return 0, false, err
	}
	m.log.Infof("replica %v: backup %d is complete: %s", j.gpid, j.table.ID, blob.Join(dir, name))
	return meta.Bytes, true, nil
}

// may tells whether the replica has what is to be backed up.
func may(r part.Replica) error {
	v := r.View()
	if v.Role != pacifica.Primary && v.Role != pacifica.Secondary {
		return fmt.Errorf("replica %v is %v here, neither primary nor secondary: %w", r.Gpid(), v.Role, base.ErrInvalidState)
	}
	if !v.Usable {
		return fmt.Errorf("replica %v is out of service here: %w", r.Gpid(), base.ErrInvalidState)
	}
	return r.DiskUsable()
}

// caughtUp returns when the replica has applied what it has prepared now: whatever was acknowledged before is
// in the backup, of a secondary too.
func (m *maker) caughtUp(ctx context.Context, r part.Replica) error {
	ctx, cancel := context.WithTimeoutCause(ctx, catchUp, fmt.Errorf("replica %v hasn't applied within %v what it had prepared", r.Gpid(), catchUp))
	defer cancel()
	goal := r.View().Prepared
	for {
		if err := may(r); err != nil {
			return err
		}
		v := r.View()
		if v.Applied >= min(goal, v.Prepared) {
			return nil
		}
		if !pause.For(ctx, catchUpPoll) {
			return context.Cause(ctx)
		}
	}
}

// write makes a checkpoint, and writes its rows into the store.
func (m *maker) write(ctx context.Context, store *blob.Store, j *job) (_ backup.Manifest, err error) {
	r, here := m.host.Replica(j.gpid) // it may have been opened anew
	if !here {
		return backup.Manifest{}, fmt.Errorf("replica %v isn't here any more: %w", j.gpid, base.ErrObjectNotFound)
	}
	if err := m.caughtUp(ctx, r); err != nil {
		return backup.Manifest{}, err
	}
	dir, err := scratch(r, j.table.ID)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil {
			m.log.Warnf("replica %v: the checkpoint of a backup stays until the server starts: %v", j.gpid, e)
		}
	}()
	j.source.Store(&r)
	decree, err := r.Checkpoint(ctx, dir)
	if err != nil {
		return backup.Manifest{}, err
	}
	taken := m.host.Now()
	c, err := rrdb.OpenCopy(rrdb.CopyOptions{Dir: dir, Decree: decree, CacheBytes: cacheBytes, Logger: m.log})
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("replica %v: %w", j.gpid, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	total, err := c.Bytes()
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("replica %v: %w", j.gpid, err)
	}
	j.total.Store(total)
	j.stage.Store(stageWriting)
	rs, err := c.Rows(ctx, rrdb.ExpiryTime(taken))
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("replica %v: %w", j.gpid, err)
	}
	defer rs.Close()
	return backup.WritePartition(ctx, store, rows{rs}, backup.WriteOptions{
		Table: j.table, Partition: j.gpid.PartitionIndex, Checkpoint: m.checkpoint(), Decree: decree, Taken: taken,
		TableSize: tableBytes,
		Progress:  j.rows.Store,
		Pace:      m.o.Pace.Wait,
		Sent: func(_ string, n int64) {
			j.counts.filesOK.Add(1)
			j.counts.bytes.Add(n)
			for was := j.largest.Load(); n > was && !j.largest.CompareAndSwap(was, n); was = j.largest.Load() {
			}
		},
	})
}

// checkpoint is the name of this server's directories.
func (m *maker) checkpoint() string { return backup.CheckpointName(m.o.HostName, m.o.Port) }

// scratch returns the name for a directory of a checkpoint.
func scratch(r part.Replica, id int64) (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return filepath.Join(r.Scratch(), fmt.Sprintf("%v.backup.%d.%s", r.Gpid(), id, hex.EncodeToString(b[:]))), nil
}

// tidy removes what a backup that failed has left in the store, unless it is complete all the same: its last
// file may have arrived without an answer.
func (m *maker) tidy(ctx context.Context, store *blob.Store, j *job, failure error) (int64, error) {
	var of *blob.Error
	if ctx.Err() == nil && errors.As(failure, &of) {
		j.counts.filesBad.Add(1)
	}
	if errors.Is(context.Cause(ctx), errStopping) {
		return 0, failure // the next attempt does it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	dir := j.table.Partition(j.gpid.PartitionIndex)
	name, err := backup.Current(ctx, store, dir)
	switch {
	case err != nil:
	case name == m.checkpoint():
		if meta, err := backup.ReadMetadata(ctx, store, dir, name); err == nil {
			return meta.Bytes, nil
		}
	default:
		err = store.DeleteTree(ctx, blob.Join(dir, m.checkpoint()))
	}
	if err != nil {
		m.log.Warnf("replica %v: what is left of backup %d: %v", j.gpid, j.table.ID, err)
	}
	return 0, failure
}

// rows are those of a copy as package backup wants them.
type rows struct{ *rrdb.Rows }

// Key implements backup.Rows.
func (r rows) Key() []byte { return r.Row().Key }

// Value implements backup.Rows.
func (r rows) Value() pegasus.Value {
	v := r.Row()
	return pegasus.Value{ExpireTS: v.ExpireTS, Timetag: v.Timetag, Data: v.Data}
}
