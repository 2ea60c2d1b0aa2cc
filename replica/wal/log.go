package wal

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
)

const (
	lockName  = "LOCK"
	spareName = "spare"

	syncAlways = "always"
	syncOS     = "os"

	// idleTick is how long a log does nothing before the end of it is marked as whole.
	idleTick = time.Second
	// writeCategory names the log in the file system's statistics of writes.
	writeCategory vfs.DiskWriteCategory = "replication-log"
)

// unknownFrom is Damage.From when nothing is known to be complete.
const unknownFrom = math.MaxInt64

var (
	// ErrClosed is given to callbacks and returned after Close.
	ErrClosed = fmt.Errorf("the log is closed: %w", base.ErrServiceNotActive)
	// ErrGone is returned by Read for a decree up to Last that the log doesn't hold.
	ErrGone = fmt.Errorf("the entry is not in the log: %w", base.ErrObjectNotFound)
)

// Entry is one mutation of one replica. Timestamp is in microseconds.
type Entry struct {
	Gpid base.Gpid
	// Ballot and Decree number the mutation; Decree is at least 1. Committed is the
	// commit point that travelled with it, usually below Decree.
	Ballot, Decree, Committed, Timestamp int64
	Payload                              []byte
}

// State is what the log knows of a replica. All is zero for an unknown one.
type State struct {
	// First is the lowest decree from which all up to Last can be read; 0 if Last can't.
	First int64
	// Last is the highest decree that was appended and not truncated; Base if there is
	// none. Entries may be gone from the log, if they were not needed.
	Last int64
	// Base is the decree of the last Reset, 0 if there was none.
	Base int64
	// Ballot of the entry Last, 0 if unknown. MaxBallot is the highest ever seen.
	Ballot, MaxBallot int64
	// Committed is the highest commit point seen; at least Base.
	Committed int64
	// Retention is the decree up to which entries are not needed.
	Retention int64
}

// Damage tells that entries of a replica, or the knowledge that there were none, are lost.
type Damage struct {
	Gpid base.Gpid
	// From: entries from this decree on are complete; math.MaxInt64 if that isn't known
	// of any. A replica that has everything below From elsewhere has lost nothing
	// (SetRetention to From-1 takes the mark away).
	From   int64
	Reason string
}

// Options of Open.
type Options struct {
	// FS is vfs.Default if nil.
	FS  vfs.FS
	Dir string
	// Sync is "always" (if empty), or "os": then an entry counts as written once the operating system
	// has it.
	Sync string
	// SegmentBytes is the size of a segment, MaxBytes that of the log from which on OnPressure is
	// called; KeepBytes of entries stay that nobody needs.
	SegmentBytes, MaxBytes, KeepBytes int64
	// Logger is logrus's standard one if nil.
	Logger *logrus.Entry
	// Replicas that live on this disk: those that may have lost entries although the log
	// holds nothing of them any more, if it is damaged.
	Replicas []base.Gpid
	// OnPressure is told the replicas whose needed entries keep the oldest segment while
	// the log is above MaxBytes. It should have them flushed and return at once.
	// May be nil.
	OnPressure func([]base.Gpid)
	// AfterBatch is called after the callbacks of Appends that were written together, on
	// the same goroutine, unless that is one in Kick. It must not block. May be nil.
	AfterBatch func()

	// tick is idleTick if 0; without idle marks if negative, so that tests see the same
	// writes each time.
	tick time.Duration
	// id is the identity of a new log; random if 0.
	id uint64
}

// segment is one file. f, dead and end are guarded by Log.ix; refs grows under it.
type segment struct {
	seq  uint64
	name string
	f    vfs.File
	// end of the valid data.
	end int64
	// size of the file when it was opened: more than end in a recycled one.
	size int64
	// low stands in the head's mark.
	low uint64
	// refs counts readers; dead: no longer in the log, to be closed by the last reader.
	refs atomic.Int32
	dead bool
	// unmovable: an entry in it can't be read, so it can't be rewritten.
	unmovable bool
}

// item is one call of Append, Truncate, Reset or Drop.
type item struct {
	entries []Entry
	kind    kind
	gpid    base.Gpid
	decree  int64
	done    func(error)
	err     error
}

// intake is what goes to the writer goroutine. mu is never held during I/O.
type intake struct {
	mu     sync.Mutex
	work   sync.Cond
	items  []item
	busy   bool   // somebody writes: the writer goroutine, or one in Kick
	kicked []item // an empty slice for the next Kick
	// slowUntil is until when Kick leaves everything to the writer goroutine.
	slowUntil time.Time
	job       *job
	idle      bool // a mark of idleness is wanted
	closing   bool
}

// Log is an open log. All methods may be called from any goroutine.
type Log struct {
	opts Options
	// longestWait is the constant of that name, but in tests.
	longestWait time.Duration
	fs          vfs.FS
	logger      *logrus.Entry
	always      bool
	id          uint64
	lock        io.Closer
	dir         vfs.File
	stats       stats

	in intake
	// failed, synced and unsealed are guarded by in.mu.
	failed error
	// synced: all before it is on the disk.
	synced position
	// unsealed are full segments whose end isn't sealed yet.
	unsealed []*segment

	// ix guards the index. It is never held during I/O.
	ix       sync.RWMutex
	replicas map[base.Gpid]*replica
	segs     []*segment
	// hint keeps the oldest segment, as far as is known.
	hint *replica

	// low is the oldest segment that isn't given up; durableLow the same, as far as a
	// mark on the disk tells it.
	low, durableLow atomic.Uint64

	// dirMu guards the name "spare" and the order of directory changes.
	dirMu sync.Mutex

	kick                       chan struct{}
	stop                       chan struct{}
	writerDone, backgroundDone chan struct{}

	w       writer
	cleaner cleaner
}

// Append adds entries, all or none. done is called when they are durable (with sync
// "always": on the disk; with "os": handed to the operating system) and readable, or with
// an error; calls come in the order of the Appends, on the log's writer goroutine: done
// must not block and may call Append; it may be nil. After an error the entries may or may not be in the
// log when it is opened again. entries and their payloads must stay unchanged until then.
// No entries at all make a barrier.
//
// An entry replaces one of the same decree; it leaves those above it.
func (l *Log) Append(entries []Entry, done func(error)) {
	l.enqueue(item{kind: kindMutation, entries: entries, done: done}, true)
}

// Truncate makes all entries above decree void. For done see Append.
func (l *Log) Truncate(g base.Gpid, decree int64, done func(error)) {
	l.enqueue(item{kind: kindTruncate, gpid: g, decree: decree, done: done}, true)
}

// Reset makes all entries void: the replica was learned anew from a checkpoint at decree.
// It takes the mark of damage away. For done see Append.
func (l *Log) Reset(g base.Gpid, decree int64, done func(error)) {
	l.enqueue(item{kind: kindReset, gpid: g, decree: decree, done: done}, true)
}

// Drop forgets the replica. For done see Append.
func (l *Log) Drop(g base.Gpid, done func(error)) {
	l.enqueue(item{kind: kindDrop, gpid: g, done: done}, true)
}

// enqueue queues it; wake: and wakes the writer goroutine, unless somebody writes.
func (l *Log) enqueue(it item, wake bool) {
	if it.done == nil {
		it.done = func(error) {}
	}
	l.in.mu.Lock()
	if l.in.closing {
		l.in.mu.Unlock()
		// Not on the caller's goroutine: it may hold what done takes.
		go it.done(ErrClosed)
		return
	}
	l.in.items = append(l.in.items, it)
	wake = wake && !l.in.busy // else who is busy looks again
	l.in.mu.Unlock()
	if wake {
		l.in.work.Signal()
	}
}

// ID is the random identity of this log.
func (l *Log) ID() uint64 { return l.id }

// Failed returns why the log takes no more writes, nil as long as it does.
func (l *Log) Failed() error {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	return l.failed
}

// fail puts the log into the failed state, for good, and returns the error of all writes
// from now on.
func (l *Log) fail(err error) error {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("the log in %s failed: %w: %w", l.opts.Dir, base.ErrDiskIoError, err)
		l.logger.WithError(err).Error("replication log failed; it takes no more writes")
	}
	return l.failed
}

// Fail puts the log into the failed state for a reason that it can't see itself.
func (l *Log) Fail(err error) {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("%w: %w", base.ErrDiskIoError, err)
		l.logger.WithError(err).Error("the replication log is out of service; it takes no more writes")
	}
}

// State returns what the log knows of a replica, as far as it is durable.
func (l *Log) State(g base.Gpid) State {
	l.ix.RLock()
	defer l.ix.RUnlock()
	r := l.replicas[g]
	if r == nil {
		return State{}
	}
	s := r.state
	s.First = r.contiguousFrom()
	return s
}

// Size returns the size of all segments in bytes.
func (l *Log) Size() (n int64) {
	l.ix.RLock()
	defer l.ix.RUnlock()
	for _, s := range l.segs {
		n += s.end
	}
	return n
}

// Oldest returns the highest decree of a replica that the oldest segment has and that is needed; 0 if there is none. The
// segment that is written to is never the oldest.
func (l *Log) Oldest(g base.Gpid) (decree int64) {
	l.ix.RLock()
	defer l.ix.RUnlock()
	r := l.replicas[g]
	if r == nil || len(l.segs) < 2 {
		return 0
	}
	for i := range r.runs {
		if t := &r.runs[i]; t.seg == l.segs[0] && r.needsRun(t) > 0 {
			decree = max(decree, t.last())
		}
	}
	return decree
}

// Replicas returns the replicas that the log knows, in order.
func (l *Log) Replicas() []base.Gpid {
	l.ix.RLock()
	defer l.ix.RUnlock()
	gs := make([]base.Gpid, 0, len(l.replicas))
	for g, r := range l.replicas {
		if !r.dropped {
			gs = append(gs, g)
		}
	}
	slices.SortFunc(gs, base.Gpid.Compare)
	return gs
}

// Damaged returns the replicas that have lost entries, in order: they must be learned
// again, unless nothing that was lost is needed.
func (l *Log) Damaged() []Damage {
	l.ix.RLock()
	defer l.ix.RUnlock()
	var ds []Damage
	for _, r := range l.replicas {
		if r.damage != nil {
			ds = append(ds, *r.damage)
		}
	}
	slices.SortFunc(ds, func(a, b Damage) int { return a.Gpid.Compare(b.Gpid) })
	return ds
}

// DamageOf returns the damage of one replica.
func (l *Log) DamageOf(g base.Gpid) (Damage, bool) {
	l.ix.RLock()
	defer l.ix.RUnlock()
	if r := l.replicas[g]; r != nil && r.damage != nil {
		return *r.damage, true
	}
	return Damage{}, false
}

// SetRetention says that the replica needs no entries up to decree. A smaller decree
// than before protects what is still there. It isn't durable by itself, and does nothing
// for a replica that the log doesn't know. A replica whose retention nobody moves, and
// that nobody drops, keeps the log from becoming smaller.
func (l *Log) SetRetention(g base.Gpid, decree int64) {
	l.ix.Lock()
	r := l.replicas[g]
	if r == nil {
		l.ix.Unlock()
		return
	}
	r.state.Retention = decree
	r.settle()
	wake := l.hint == r
	l.ix.Unlock()
	if wake {
		l.wakeBackground()
	}
}

func (l *Log) wakeBackground() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// release gives back a segment that Read held.
func (l *Log) release(s *segment) {
	if s.refs.Add(-1) > 0 {
		return
	}
	l.ix.Lock()
	defer l.ix.Unlock()
	if s.dead {
		if err := s.close(); err != nil {
			l.logger.WithError(err).WithField("segment", s.name).Warn("cannot close a log segment")
		}
	}
}

// close closes the file unless it is closed or has readers; Log.ix must be held.
func (s *segment) close() error {
	if s.f == nil || s.refs.Load() > 0 {
		return nil
	}
	f := s.f
	s.f = nil
	return f.Close()
}

func (l *Log) path(name string) string { return l.fs.PathJoin(l.opts.Dir, name) }

// EnsureDefaults replaces what isn't set, but for KeepBytes: nothing is kept then.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = logrus.NewEntry(logrus.StandardLogger())
	}
	o.Sync = cmp.Or(o.Sync, syncAlways)
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 64<<20)
	o.MaxBytes = cmp.Or(o.MaxBytes, 1<<30)
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	if o.Sync != syncAlways && o.Sync != syncOS {
		return fmt.Errorf("wal.sync is %q, must be %q or %q: %w", o.Sync, syncAlways, syncOS, base.ErrInvalidParameters)
	}
	if o.SegmentBytes <= 0 || o.SegmentBytes > maxSegmentBytes {
		return fmt.Errorf("wal.segment_bytes is %d, must be 1 to %d: %w", o.SegmentBytes, maxSegmentBytes, base.ErrInvalidParameters)
	}
	if o.MaxBytes <= 0 || o.KeepBytes < 0 {
		return fmt.Errorf("wal.max_bytes is %d, must be positive; wal.keep_bytes is %d, must not be negative: %w", o.MaxBytes, o.KeepBytes, base.ErrInvalidParameters)
	}
	return nil
}
