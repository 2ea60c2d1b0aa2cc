package rrdb

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base/appenv"
	"pegasus/rrdb/engine"
)

// Store is one replica's rows. Reads may run concurrently with each other and with all
// else; Apply, Flush and Checkpoint may be called from any goroutine.
//
// It consists of layers. The instance holds Pebble and counts the calls into it. Above it are the
// applier of mutations and the reader, which don't know each other. The sweeper, which deletes
// expired rows, works on the applier.
type Store struct {
	*instance
	*applier
	*reader
	*sweeper

	opts      Options
	shared    *Shared
	manifests *manifests
	estimate  countEstimate
	stalls    atomic.Int64
}

// Stalls returns how often the engine has stopped writes since the store was opened.
func (s *Store) Stalls() int64 { return s.stalls.Load() }

// Open opens the store in a directory, or makes one. Errors wrap ErrNotExist, ErrCorrupt, or the error
// of the file system.
func Open(o Options) (*Store, error) { return open(o, false) }

// open is Open. A store that is still compacts nothing: who is about to close it again would wait for that.
func open(o Options, still bool) (_ *Store, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("opening a store: %w", err)
	}
	s := newStore(o)
	po := pebbleOptions(&s.opts, s.instance)
	po.EventListener = s.events()
	po.DisableAutomaticCompactions = po.DisableAutomaticCompactions || still
	if err := s.instance.open(po, o.Create); err != nil {
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, err)
	}
	s.manifests.opened()
	if err := s.load(); err != nil {
		_ = s.instance.close()
		return nil, fmt.Errorf("opening the store in %s: %w", o.Dir, err)
	}
	s.keeps.Store(true)
	s.keepsExpired() // else the next sweep looks
	s.member.Opened(s.db)
	s.shared.sweeps.join(s)
	if o.Create {
		if err := s.firstRecord(); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("making the store in %s: %w", o.Dir, err)
		}
	}
	return s, nil
}

// newStore makes a store that isn't open yet.
func newStore(o Options) *Store {
	s := &Store{opts: o, shared: o.Shared, instance: newInstance(&o)}
	s.instance.tombstones = uint32(min(o.Shared.sweeps.Tombstones/time.Second, math.MaxUint32/2))
	s.applier = &applier{instance: s.instance, expiries: newExpiryMap(o.Create)}
	s.reader = &reader{instance: s.instance, id: identity{o.Gpid.AppID, o.Gpid.PartitionIndex, o.Server}, limits: o.Limits, sessions: o.Shared.sessions}
	s.instance.scansOld = func(count int32) bool { return s.older.Load() > 0 || s.sessions.olderThan(s.reader, count) }
	s.manifests = &manifests{instance: s.instance}
	s.sweeper = &sweeper{applier: s.applier, manifests: s.manifests, certainTime: o.Shared.sweeps.deleteTime}
	s.instance.member = o.Shared.Engine.Join(engineStore{s.applier}, engine.MemberOptions{FS: o.FS, Dir: o.Dir, Fail: s.instance.fail, MemtableBytes: o.memtableBytes(),
		BulkLoad: o.Tuning.Scenario == appenv.BulkLoad, FillerKey: fillerKey})
	s.sweeper.keepsExpired = s.keepsExpired
	s.SetEnvs(nil)
	return s
}

// events returns the listener for Pebble's events.
func (s *Store) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { s.report(fmt.Errorf("background work: %w", err)) },
		DataCorruption:  func(i pebble.DataCorruptionInfo) { s.report(corrupt(i)) },
		ManifestCreated: s.manifests.created,
		FlushBegin: func(pebble.FlushInfo) {
			s.rows.flushBegan()
			s.member.FlushBegan()
		},
		FlushEnd: func(i pebble.FlushInfo) {
			s.rows.flushEnded(i.Err)
			s.durable.stale.Store(true)
			s.member.FlushEnded()
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			s.stalls.Add(1)
			s.member.StallBegan()
			s.log.WithField("reason", i.Reason).Warn("writes are stalled")
		},
		WriteStallEnd: func() {
			s.member.StallEnded()
			s.log.Info("writes are no longer stalled")
		},
	}
}

// Close waits for the calls in progress and closes the files. It doesn't flush: mutations that aren't in
// table files have to be replayed from the log. Flush before Close avoids that.
//
// Calls may hang in Pebble if the disk hangs, or if it is full and too many writes wait for a flush.
// After 30 seconds, or 3 if the store has failed, Close returns an error; the files are closed when the
// calls return.
func (s *Store) Close() error {
	if !s.shut() {
		return ErrClosed
	}
	s.sessions.drop(s.reader)
	timeout := 30 * time.Second
	if s.Failed() != nil {
		timeout = 3 * time.Second
	}
	if s.drain(timeout) {
		return s.finish()
	}
	go func() {
		<-s.drained
		s.log.WithError(s.finish()).Warn("the calls into the store have returned; its files are closed")
	}()
	return fmt.Errorf("closing %s: calls into the store still run; its files are closed when they return: %w", s.dir, ErrFailed)
}

// CloseAtOnce is Close that waits for no flush and no compaction: those under way end with an error. The
// files are as after a crash. For a store that is not used again.
func (s *Store) CloseAtOnce() error {
	s.member.Fail(ErrClosed)
	return s.Close()
}

// finish closes the files. No call may be in progress.
func (s *Store) finish() error {
	s.sessions.drop(s.reader) // a scan that was in progress may have stored one
	s.shared.sweeps.leave(s)
	s.member.Leave()
	if err := s.instance.close(); err != nil {
		return fmt.Errorf("closing %s: %w", s.dir, err)
	}
	return nil
}

// Tuning returns what the store was opened with.
func (s *Store) Tuning() Tuning { return s.opts.Tuning }
