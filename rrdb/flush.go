package rrdb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// durability is the last decree in table files.
//
// It isn't derived from what was applied when a flush began. It is read back by an iterator that sees
// only table files. Pebble shows the tables of a flush to that iterator once they and the manifest that
// names them are synced, and flushes memtables whole and in order. So the decree read is the last of a
// prefix that a crash can't lose.
type durability struct {
	stale  atomic.Bool // a flush has ended since decree was read
	mu     sync.Mutex
	decree atomic.Int64
}

// LastFlushed returns the decree up to which everything is in table files and survives a crash: this
// store doesn't need log entries up to it. It never decreases, and stays the same once the store has
// failed.
func (s *applier) LastFlushed() int64 {
	d := &s.durable
	if d.stale.Load() {
		if err := s.refreshDurable(); err != nil && s.Failed() == nil && !errors.Is(err, ErrClosed) {
			s.report(fmt.Errorf("reading the flushed decree: %w", err))
		}
	}
	return d.decree.Load()
}

func (s *applier) refreshDurable() error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	d := &s.durable
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stale.Swap(false) {
		return nil
	}
	m, err := readMeta(s.db, true)
	if err != nil {
		d.stale.Store(true)
		return err
	}
	// If the store has failed, the manifest of the version that was read may not be synced.
	if err := s.member.Err(); err != nil {
		return err
	}
	if m.decree > d.decree.Load() {
		d.decree.Store(m.decree)
	}
	return nil
}

// firstFlushTimeout bounds the first flush of a new store.
const firstFlushTimeout = 10 * time.Second

// firstRecord writes the record of decree 0 of a new store and flushes it: every store has a record in
// a table.
func (s *applier) firstRecord() error {
	ctx, cancel := context.WithTimeout(context.Background(), firstFlushTimeout)
	defer cancel()
	if err := s.putRecord(); err != nil {
		return err
	}
	return s.flushOnce(ctx)
}

// Flush writes everything applied so far into table files. It returns early when ctx ends, the store
// fails or is closed; the flush then continues.
func (s *applier) Flush(ctx context.Context) error {
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
		err = fmt.Errorf("decree %d isn't in table files after a flush: %w", target, ErrFailed)
	}
	if err != nil {
		return fmt.Errorf("flushing %s: %w", s.dir, err)
	}
	return nil
}

func (s *applier) flushOnce(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.member.AwaitFlush()()
	type started struct {
		done <-chan struct{}
		err  error
	}
	begun := make(chan started, 1)
	go func() {
		// The call blocks while writes are stalled, maybe for ever.
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
		case <-s.member.Failed():
			return s.member.Err()
		case <-s.closed:
			return ErrClosed
		}
	}
}

// rotate begins a new memtable and starts a flush of the old one. The channel is closed when the flush
// is done. applyMu is held, so that the memtable holds no batch that readers don't see yet: a flush
// keeps only the last version of a key, and a reader that doesn't see that version would find none.
func (s *applier) rotate() (<-chan struct{}, error) { return s.db.AsyncFlush() }

// engineStore is the store as the engine knows it.
type engineStore struct{ *applier }

// FlushEarly implements engine.Store.
func (h engineStore) FlushEarly() error {
	if h.begin() != nil {
		return nil
	}
	defer h.leave()
	h.applyMu.Lock()
	defer h.applyMu.Unlock()
	h.member.FillMemtable(h.db)
	if _, err := h.rotate(); err != nil && !errors.Is(err, pebble.ErrClosed) {
		return err
	}
	return nil
}

// Closing implements engine.Store.
func (h engineStore) Closing() <-chan struct{} { return h.closed }
