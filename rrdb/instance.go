package rrdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/rrdb/engine"
)

// instance is a store's Pebble, the calls into it, and whether it has failed.
type instance struct {
	calls
	gpid    base.Gpid
	dir     string
	fs      vfs.FS // the disk; Pebble works on that of member
	db      *pebble.DB
	lock    *pebble.Lock
	member  *engine.Member
	log     *logrus.Entry
	now     func() time.Time
	onError func(error) // may be nil
	// tombstones is how many seconds a tombstone stays.
	tombstones uint32
	remembers  func() bool // Options.Remembers; may be nil

	cut   atomic.Pointer[Cut]
	taken atomic.Pointer[Taken]
	// keeps: there may be a set that is taken behind. It is set, and looked at on the disk, under keepsMu.
	keeps   atomic.Bool
	keepsMu sync.Mutex

	count atomic.Int32 // of the table's partitions; 0 is unknown

	older    atomic.Int32           // pages under way of scans that began before the cut
	giving   atomic.Int32           // the count of the cut whose hidden rows are being removed
	scansOld func(count int32) bool // whether scans from before a cut are open

	reportMu sync.Mutex
	reported time.Time // when onError was told last
}

func newInstance(o *Options) *instance {
	s := &instance{gpid: o.Gpid, dir: o.Dir, fs: o.FS, log: o.Logger.WithField("gpid", o.Gpid.String()), now: o.Now, onError: o.OnError, remembers: o.Remembers}
	s.calls.init()
	s.cut.Store(&Cut{})
	s.taken.Store(&Taken{})
	return s
}

// begin is enter for calls that a failed store refuses.
func (s *instance) begin() error {
	if err := s.member.Err(); err != nil {
		return err
	}
	if !s.enter() {
		return ErrClosed
	}
	return nil
}

// whileOpen returns a context that also ends when the store is being closed.
func (s *instance) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Gpid returns the partition.
func (s *instance) Gpid() base.Gpid { return s.gpid }

// Failed returns the error that put the store out of service, or nil.
func (s *instance) Failed() error { return s.member.Err() }

// WouldStall tells whether Apply may have to wait for a flush or a compaction. It never blocks: it
// estimates, without asking Pebble.
func (s *instance) WouldStall() bool { return s.member.WouldStall() }

// Metrics returns Pebble's figures, nil when the store is closed.
func (s *instance) Metrics() *pebble.Metrics {
	if !s.enter() {
		return nil
	}
	defer s.leave()
	return s.db.Metrics()
}

// serving tells that the store has neither failed nor is being closed.
func (s *instance) serving() bool { return s.Failed() == nil && !s.closeCalled.Load() }

func (s *instance) logger() *logrus.Entry { return s.log }

// fail puts the store out of service. Pebble calls it, maybe with its mutex held, when it doesn't know
// how to continue, mostly because it can't tell whether a record of the manifest was written. Most
// programs end then and find out at the next start. This process has other replicas, so only the
// store stops: it refuses all calls, counts nothing more as flushed, and changes no file; see
// engine.Guard.
func (s *instance) fail(cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if !s.member.Fail(err) {
		return
	}
	s.log.WithError(cause).Error("Pebble failed: the store is out of service until it is opened again")
	if s.onError != nil {
		go s.onError(err)
	}
}

// report logs an error that the store survives and calls onError, at most once a second.
func (s *instance) report(err error) {
	if errors.Is(err, ErrClosed) { // what CloseAtOnce ended
		return
	}
	err = classify(err)
	now := s.now()
	s.reportMu.Lock()
	quiet := now.Sub(s.reported) < time.Second
	if !quiet {
		s.reported = now
	}
	s.reportMu.Unlock()
	if quiet {
		return
	}
	s.log.WithError(err).Error("error in Pebble, the storage engine")
	if s.onError != nil {
		go s.onError(err)
	}
}

// readFailed reports the error of a read and returns the code for the answer.
func (s *instance) readFailed(err error) int32 {
	err = classify(err)
	s.report(err)
	if errors.Is(err, ErrCorrupt) {
		return codeCorruption
	}
	return codeIOError
}

// close closes the files. No call may be in progress.
func (s *instance) close() error {
	err := s.db.Close()
	if s.member.Err() != nil {
		err = nil // it couldn't finish its files
	}
	return errors.Join(err, s.lock.Close())
}

// wait takes n bytes from pace, which may be nil.
func wait(ctx context.Context, pace *rate.Limiter, n int) error {
	if pace == nil || n == 0 {
		return ctx.Err()
	}
	return pace.WaitN(ctx, min(n, pace.Burst()))
}
