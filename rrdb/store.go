package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
)

// Errors of opening and running a store. They are wrapped with what was tried.
var (
	// ErrNotExist: there is no store in the directory, and none was to be created.
	ErrNotExist = fmt.Errorf("no store here: %w", base.ErrPathNotFound)
	// ErrCorrupt: the files of a store are damaged, or some are missing.
	ErrCorrupt = fmt.Errorf("store is damaged: %w", base.ErrRdbCorruption)
	// ErrFailed: the engine met an error after which it can't go on; see Options.OnError.
	ErrFailed = fmt.Errorf("store failed: %w", base.ErrInvalidState)
	// ErrClosed: the store was closed.
	ErrClosed = fmt.Errorf("store is closed: %w", base.ErrInvalidState)
)

// Options say what a Store is.
type Options struct {
	Dir    string
	FS     vfs.FS // nil is the operating system's
	Shared *Shared
	Gpid   base.Gpid
	Server string // "host:port" that stands in the answers

	Storage config.Storage
	Tuning  Tuning
	Create  bool // make a new store; the directory must not hold one
	Logger  *logrus.Entry
	// OnError is told of errors of the engine's background work (a flush or a compaction
	// that failed, damage that a read met: errors.Is(err, ErrCorrupt)), at most one a
	// second, and of the one that made the store fail (errors.Is(err, ErrFailed)). It runs
	// on a goroutine of its own. May be nil.
	OnError func(error)
	Now     func() time.Time // nil is time.Now
}

// Store is one replica's rows. Reads may run concurrently with each other and with all
// else; Apply, Flush and Checkpoint may be called from any goroutine.
type Store struct {
	opts   Options
	db     *pebble.DB
	lock   *pebble.Lock
	log    *logrus.Entry
	now    func() time.Time
	shared *Shared
	slots  *slotUser
	mem    memtableUse
	id     identity
	env    atomic.Pointer[environment]
	note   atomic.Pointer[Note]

	// refs counts calls in progress; closing is added to it once.
	refs        atomic.Int64
	closeCalled atomic.Bool
	closed      chan struct{} // closed when Close begins
	drained     chan struct{} // closed when no call is in progress after that
	drainOnce   sync.Once
	released    chan struct{} // closed when the engine is about to be closed

	applyMu   sync.Mutex
	applied   atomic.Int64
	timestamp atomic.Int64
	metaBuf   []byte        // under applyMu
	expiries  expiryMap     // under applyMu
	sweepMu   sync.Mutex    // held by a sweep; taken before applyMu
	untidy    bool          // under sweepMu: rows were swept since tidy was done
	recent    *recentWrites // under applyMu; nil unless a sweep is at it
	noted     *Note         // under applyMu: of the mutations being applied; nil: none

	durable   durability
	manifests manifests
	failure   failure

	partitions atomic.Int32 // of the table; 0 is unknown
	estimate   countEstimate
}

// identity is what every answer says of where it comes from.
type identity struct {
	appID, partition int32
	server           string
}

const closing = math.MinInt64 / 2

// Open opens the store in a directory, or makes one. Errors wrap ErrNotExist, ErrCorrupt,
// or what the file system said.
func Open(o Options) (_ *Store, err error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = silent()
	}
	s := &Store{
		opts:    o,
		log:     o.Logger.WithField("gpid", o.Gpid.String()),
		now:     o.Now,
		shared:  o.Shared,
		slots:   o.Shared.slots.member(),
		id:      identity{o.Gpid.AppID, o.Gpid.PartitionIndex, o.Server},
		drained: make(chan struct{}),
		closed:  make(chan struct{}),

		released: make(chan struct{}),
	}
	s.failure.init()
	s.SetEnvs(nil)
	s.expiries = newExpiryMap(o.Create)
	if s.db, err = openPebble(s); err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, err)
	}
	s.manifestsAtOpen()
	if err := s.loadMeta(); err != nil {
		_ = s.closeFiles()
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, err)
	}
	note, err := readNote(s.db)
	if err != nil {
		_ = s.closeFiles()
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, err)
	}
	s.note.Store(&note)
	s.mem.engine.Store(s.db)
	s.shared.memory.join(s)
	s.failure.opened.Store(true)
	if o.Create {
		if err := s.firstRecord(); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("making the store in %s: %w", o.Dir, err)
		}
	}
	return s, nil
}

// Close waits for the calls in progress and closes the files. It doesn't flush: what isn't
// in table files must come from the log again. Call Flush before to spare that.
//
// Calls may hang in the engine, when its disk hangs or is full and too many writes wait for
// a flush. After half a minute, or a few seconds if the store has failed, Close gives up
// waiting and returns an error; the files are closed when the calls come back.
func (s *Store) Close() error {
	if s.closeCalled.Swap(true) {
		return ErrClosed
	}
	close(s.closed)
	s.shared.sessions.drop(s)
	if s.refs.Add(closing) == closing {
		return s.finish()
	}
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	if s.failure.get() != nil {
		patience.Reset(3 * time.Second)
	}
	select {
	case <-s.drained:
		return s.finish()
	case <-patience.C:
	}
	go func() {
		<-s.drained
		s.log.WithError(s.finish()).Warn("the store that could not be closed is closed now")
	}()
	return fmt.Errorf("closing %s: calls still run: %w", s.opts.Dir, ErrFailed)
}

// finish closes the files, when no call is in progress any more.
func (s *Store) finish() error {
	s.shared.sessions.drop(s) // a scan in progress may have stored one
	s.shared.memory.leave(s)
	close(s.released)
	if err := s.closeFiles(); err != nil {
		return fmt.Errorf("closing %s: %w", s.opts.Dir, err)
	}
	return nil
}

func (s *Store) closeFiles() (err error) {
	err = s.db.Close()
	if s.failure.get() != nil {
		err = nil // it could not write the ends of its files
	}
	return errors.Join(err, s.lock.Close())
}

// enter begins a call into the engine; false means that the store is being closed.
func (s *Store) enter() bool {
	if s.refs.Add(1) > 0 {
		return true
	}
	s.leave()
	return false
}

func (s *Store) leave() {
	if s.refs.Add(-1) == closing {
		s.drainOnce.Do(func() { close(s.drained) })
	}
}

// begin is enter for calls that a failed store must refuse.
func (s *Store) begin() error {
	if err := s.failure.get(); err != nil {
		return err
	}
	if !s.enter() {
		return ErrClosed
	}
	return nil
}

// Gpid returns the partition.
func (s *Store) Gpid() base.Gpid { return s.opts.Gpid }

// LastApplied returns the decree of the last mutation applied; 0 for none.
func (s *Store) LastApplied() int64 { return s.applied.Load() }

// LastTimestamp returns the timestamp of that mutation, microseconds since 1970. A new
// primary gives its mutations later ones.
func (s *Store) LastTimestamp() int64 { return s.timestamp.Load() }

// Mutation is a committed mutation. TimestampUS is in microseconds since 1970; it becomes
// the rows' timetag. An empty Payload only advances the decree.
type Mutation struct {
	Decree, TimestampUS int64
	Payload             []byte
}

// Apply executes one committed mutation: all its ops and its decree in one batch. Decrees
// are consecutive.
func (s *Store) Apply(decree, timestampUS int64, payload []byte) error {
	one := [1]Mutation{{decree, timestampUS, payload}}
	return s.ApplyAll(one[:])
}

// ApplyAll executes consecutive mutations, at least one, in one batch: after a crash there
// are the effects of all of them or of none.
func (s *Store) ApplyAll(ms []Mutation) error {
	decree, timestampUS := ms[len(ms)-1].Decree, ms[len(ms)-1].TimestampUS
	if err := s.begin(); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	defer s.leave()
	s.shared.memory.admit(s)
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	b := s.db.NewBatch()
	defer b.Close()
	s.noted = nil
	for i := range ms {
		m := &ms[i]
		if next := s.applied.Load() + 1 + int64(i); m.Decree != next {
			return fmt.Errorf("applying decree %d: the last one applied is %d: %w", m.Decree, next-1, base.ErrInvalidState)
		}
		if err := s.fillBatch(b, m); err != nil {
			return fmt.Errorf("applying decree %d: %w", m.Decree, err)
		}
	}
	s.metaBuf = meta{decree, timestampUS}.append(s.metaBuf[:0])
	if err := b.Set(metaKey, s.metaBuf, nil); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	size := int64(b.Len()) + int64(b.Count())*rowOverhead
	if err := s.db.Apply(b, pebble.NoSync); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	if err := s.failure.get(); err != nil {
		return fmt.Errorf("applying decree %d: %w", decree, err)
	}
	s.applied.Store(decree)
	s.timestamp.Store(timestampUS)
	if s.noted != nil {
		s.note.Store(s.noted)
	}
	s.shared.memory.applied(s, size)
	return nil
}

func (s *Store) fillBatch(b *pebble.Batch, m *Mutation) error {
	var op Op
	timetag, now := makeTimetag(m.TimestampUS, 0, false), expirySeconds(m.TimestampUS/1e6)
	r := NewOpReader(m.Payload)
	for r.Next(&op) {
		switch {
		case validKey(op.Key):
		case bytes.Equal(op.Key, noteKey) && !op.Delete:
			n, err := parseNote(op.Value)
			if err != nil {
				return fmt.Errorf("%w: %w", base.ErrInvalidData, err)
			}
			s.noted = &n
		default:
			return fmt.Errorf("op with a key that is no row key: %w", base.ErrInvalidData)
		}
		if op.Delete {
			if err := b.Delete(op.Key, nil); err != nil {
				return err
			}
			continue
		}
		s.wrote(&op, now)
		tag := timetag
		if op.Timetag != 0 {
			tag = op.Timetag
		}
		d := b.SetDeferred(len(op.Key), valueHeader+len(op.Value))
		copy(d.Key, op.Key)
		putValueHeader(d.Value, op.ExpireTS, tag)
		copy(d.Value[valueHeader:], op.Value)
		if err := d.Finish(); err != nil {
			return err
		}
	}
	return r.Err()
}

// Flush writes everything applied so far into table files. It returns early when ctx ends
// or the store fails or is closed; the flush then goes on.
func (s *Store) Flush(ctx context.Context) error {
	target := s.LastApplied()
	if s.LastFlushed() >= target {
		return nil
	}
	err := s.flushOnce(ctx)
	if err == nil {
		s.durable.stale.Store(true)
		err = s.refreshDurable()
	}
	if err == nil && s.durable.decree.Load() < target {
		err = fmt.Errorf("decree %d isn't in table files after its flush: %w", target, ErrFailed)
	}
	if err != nil {
		return fmt.Errorf("flushing %s: %w", s.opts.Dir, err)
	}
	return nil
}

func (s *Store) flushOnce(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	s.mem.awaited.Add(1)
	defer s.mem.awaited.Add(-1)
	type started struct {
		done <-chan struct{}
		err  error
	}
	begun := make(chan started, 1)
	go func() {
		// Asking for a flush waits while writes are stalled, maybe for ever.
		defer s.leave()
		s.applyMu.Lock()
		done, err := s.rotate()
		s.applyMu.Unlock()
		begun <- started{done, err}
	}()
	var f started
	for {
		select {
		case f = <-begun:
			if f.err != nil {
				return f.err
			}
			begun = nil
		case <-f.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-s.failure.happened:
			return s.failure.get()
		case <-s.closed:
			return ErrClosed
		}
	}
}

// rotate begins a new memtable and asks for a flush of the one before; what it returns is
// closed when that is done. applyMu is held, so that no batch is in the memtable that readers
// aren't shown yet: a flush keeps only the last version of a key, and a reader that may not see
// that one would find none.
func (s *Store) rotate() (<-chan struct{}, error) { return s.db.AsyncFlush() }

// flushEarly is a flush for the sake of the memory budget.
func (s *Store) flushEarly() {
	if s.begin() != nil {
		return
	}
	defer s.leave()
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	s.fillMemtable()
	if _, err := s.rotate(); err != nil && !errors.Is(err, pebble.ErrClosed) {
		s.mem.requested.Store(false)
		s.log.WithError(err).Warn("early flush of a memtable failed")
	}
}
