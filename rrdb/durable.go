package rrdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// metaKey holds what a store knows of itself. Every mutation's batch overwrites it, so
// that rows and decree are in the same memtable, and with it in the same flush.
var metaKey = append(metaPrefix[:len(metaPrefix):len(metaPrefix)], "meta"...)

// meta is the value at metaKey: version of this record (1), version of the row values,
// u64 BE decree, u64 BE timestamp in microseconds.
type meta struct {
	decree      int64
	timestampUS int64
}

const (
	metaVersion = 1
	metaLen     = 18
)

func (m meta) append(b []byte) []byte {
	b = append(b, metaVersion, dataVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(m.decree))
	return binary.BigEndian.AppendUint64(b, uint64(m.timestampUS))
}

func parseMeta(b []byte) (meta, error) {
	if len(b) != metaLen {
		return meta{}, fmt.Errorf("record of the last decree has %d bytes, not %d: %w", len(b), metaLen, ErrCorrupt)
	}
	if b[0] != metaVersion || b[1] != dataVersion {
		return meta{}, fmt.Errorf("record version %d, row version %d; this program knows %d and %d: %w",
			b[0], b[1], metaVersion, dataVersion, ErrCorrupt)
	}
	m := meta{int64(binary.BigEndian.Uint64(b[2:])), int64(binary.BigEndian.Uint64(b[10:]))}
	if m.decree < 0 {
		return meta{}, fmt.Errorf("last decree is %d: %w", m.decree, ErrCorrupt)
	}
	return m, nil
}

// durability remembers which decree is in table files.
//
// The figure isn't derived from what was applied when a flush began: it is read back, by
// an iterator that sees table files only. Pebble shows a flush's tables to it when they
// and the manifest that names them are synced, and flushes memtables whole and in order,
// so the decree found there is the last of a prefix that a crash can't lose.
type durability struct {
	stale  atomic.Bool // a flush ended since
	mu     sync.Mutex
	decree atomic.Int64
}

// LastFlushed returns the decree up to which everything is in table files and survives a
// crash: log entries up to it are not needed for this store. It never goes down, and stays
// where it is when the store fails.
func (s *Store) LastFlushed() int64 {
	d := &s.durable
	if d.stale.Load() {
		if err := s.refreshDurable(); err != nil && s.Failed() == nil && !errors.Is(err, ErrClosed) {
			s.report(fmt.Errorf("reading the flushed decree: %w", err))
		}
	}
	return d.decree.Load()
}

func (s *Store) refreshDurable() error {
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
	// The read may have been of a version whose manifest could not be synced.
	if err := s.failure.get(); err != nil {
		return err
	}
	if m.decree > d.decree.Load() {
		d.decree.Store(m.decree)
	}
	return nil
}

// readMeta reads the metadata record, the zero meta if there is none.
func readMeta(db *pebble.DB, durableOnly bool) (m meta, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: metaPrefix, OnlyReadGuaranteedDurable: durableOnly})
	if err != nil {
		return meta{}, err
	}
	if it.SeekPrefixGE(metaKey) {
		v, err := it.ValueAndErr()
		if err == nil {
			m, err = parseMeta(v)
		}
		if err != nil {
			_ = it.Close()
			return meta{}, err
		}
	}
	return m, it.Close()
}

// loadMeta sets the decrees of a store that was just opened. Nothing is in memtables
// then, as there is no write-ahead log to replay, so what it reads is durable.
func (s *Store) loadMeta() error {
	m, err := readMeta(s.db, true)
	if err != nil {
		return classify(err)
	}
	if m.decree == 0 {
		// A store without a decree must be empty, else something took the record away.
		it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
		if err != nil {
			return classify(err)
		}
		rows := it.First()
		if err := it.Close(); err != nil {
			return classify(err)
		}
		if rows {
			return fmt.Errorf("there are rows, but no record of the last decree: %w", ErrCorrupt)
		}
	}
	s.applied.Store(m.decree)
	s.timestamp.Store(m.timestampUS)
	s.durable.decree.Store(m.decree)
	return nil
}

// firstFlush bounds the flush of a new store.
const firstFlush = 10 * time.Second

// firstRecord gives a new store its record, of decree 0: it has one, in a table, from the
// beginning.
func (s *Store) firstRecord() error {
	ctx, cancel := context.WithTimeout(context.Background(), firstFlush)
	defer cancel()
	if err := s.putRecord(); err != nil {
		return err
	}
	return s.flushOnce(ctx)
}

// putRecord writes the metadata record anew.
func (s *Store) putRecord() error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	s.metaBuf = meta{s.applied.Load(), s.timestamp.Load()}.append(s.metaBuf[:0])
	return s.db.Set(metaKey, s.metaBuf, pebble.NoSync)
}

// Checkpoint makes a copy of the store, with links where the file system can, in a
// directory that must not exist, and returns the decree that it contains: exactly the
// effects of all decrees up to it. Everything applied before the call is in it.
func (s *Store) Checkpoint(dir string) (decree int64, err error) {
	if err := s.begin(); err != nil {
		return 0, fmt.Errorf("checkpoint in %s: %w", dir, err)
	}
	defer s.leave()
	defer func() {
		if err != nil {
			err = fmt.Errorf("checkpoint in %s: %w", dir, err)
		}
	}()
	if err := s.Flush(context.Background()); err != nil {
		return 0, err
	}
	defer s.manifests.copying()()
	if err := s.db.Checkpoint(dir); err != nil {
		return 0, err
	}
	// Pebble copies its table files as of some moment in the call, and shows that moment to
	// readers later. Which one it was only the copy knows. Its last decree may be one that is
	// being applied just now; it is counted as applied when this returns.
	s.applyMu.Lock()
	s.applyMu.Unlock() //lint:ignore SA2001 it waits for the batch
	m, err := s.readCopy(dir)
	if err == nil {
		err = s.failure.get()
	}
	if err != nil {
		return 0, errors.Join(err, s.opts.FS.RemoveAll(dir))
	}
	return m.decree, nil
}

// readCopy returns the metadata record of a copy of the store.
func (s *Store) readCopy(dir string) (meta, error) {
	o := pebbleOptions(s, nil)
	o.ReadOnly, o.ErrorIfNotExists, o.EventListener = true, true, nil
	o.Experimental.CompactionScheduler = nil
	db, err := pebble.Open(dir, o)
	if err != nil {
		return meta{}, err
	}
	m, err := readMeta(db, true)
	return m, errors.Join(err, db.Close(), s.opts.FS.Remove(s.opts.FS.PathJoin(dir, "LOCK")))
}
