package rrdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// Sum identifies the content of a store, see Digest.
type Sum struct {
	Decree int64  // the content is that of this decree
	Rows   int64  // live rows
	Hash   uint64 // over keys, expiries, timetags, and data of the live rows, in key order
}

// Digest hashes the rows that are live at now (see ExpiryTime), as of one decree. For the same decree and
// now, all replicas of a partition have the same sum, whatever they flushed or compacted. It reads all
// rows; writes continue meanwhile.
func (s *Store) Digest(ctx context.Context, now uint32) (Sum, error) {
	return s.digest(ctx, now, true)
}

// DigestRows is Digest without the timetags, which stores of two clusters have each their own of: it is equal if clients
// see the same.
func (s *Store) DigestRows(ctx context.Context, now uint32) (Sum, error) {
	return s.digest(ctx, now, false)
}

func (s *Store) digest(ctx context.Context, now uint32, timetags bool) (Sum, error) {
	if err := s.begin(); err != nil {
		return Sum{}, fmt.Errorf("digest of %s: %w", s.gpid, err)
	}
	defer s.leave()
	s.applyMu.Lock()
	sum := Sum{Decree: s.applied.Load()}
	it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
	s.applyMu.Unlock()
	if err != nil {
		return Sum{}, fmt.Errorf("digest of %s: %w", s.gpid, classify(err))
	}
	h := xxhash.New()
	var length [8]byte
	for valid := it.First(); valid; valid = it.Next() {
		if sum.Rows%1024 == 0 && ctx.Err() != nil {
			_ = it.Close()
			return Sum{}, fmt.Errorf("digest of %s: %w", s.gpid, ctx.Err())
		}
		expireTS, data, err := rowValue(it)
		if err != nil {
			_ = it.Close()
			return Sum{}, fmt.Errorf("digest of %s: %w", s.gpid, classify(err))
		}
		if expired(expireTS, now) || s.hides(it.Key()) {
			continue
		}
		v := data
		if timetags {
			v, _ = it.ValueAndErr()
		}
		binary.BigEndian.PutUint32(length[:], uint32(len(it.Key())))
		binary.BigEndian.PutUint32(length[4:], uint32(len(v)))
		_, _ = h.Write(length[:])
		_, _ = h.Write(it.Key())
		if !timetags {
			binary.BigEndian.PutUint32(length[:], expireTS)
			_, _ = h.Write(length[:4])
		}
		_, _ = h.Write(v)
		sum.Rows++
	}
	if err := it.Close(); err != nil {
		return Sum{}, fmt.Errorf("digest of %s: %w", s.gpid, classify(err))
	}
	sum.Hash = h.Sum64()
	return sum, nil
}

// Touch reads the first row, or finds that there is none: it tells whether the store can be read.
func (s *Store) Touch() error {
	if err := s.begin(); err != nil {
		return fmt.Errorf("reading a row of %s: %w", s.gpid, err)
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
	if err == nil {
		if it.First() {
			_, err = it.ValueAndErr()
		}
		err = errors.Join(err, it.Error(), it.Close())
	}
	if err != nil {
		return fmt.Errorf("reading a row of %s: %w", s.gpid, classify(err))
	}
	return nil
}

// Size returns how many bytes the store's rows take: its files on disk, and what waits in memory for
// a flush. Otherwise a store that was just filled would be said to be empty.
func (s *Store) Size() uint64 {
	m := s.Metrics()
	if m == nil {
		return 0
	}
	return m.DiskSpaceUsage() + uint64(s.instance.member.Unflushed())
}

// countEstimate keeps the last estimate, because an estimate reads the properties of all tables.
type countEstimate struct {
	mu   sync.Mutex
	rows int64
	at   time.Time
}

// estimateAge is the time for which an estimate is used.
const estimateAge = time.Minute

// CountEstimate returns an estimate of the store's rows, including expired ones. It counts puts minus
// removes, so a row that was overwritten counts more than once until a compaction. It is at most a
// minute old.
func (s *Store) CountEstimate() (int64, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.leave()
	e := &s.estimate
	e.mu.Lock()
	defer e.mu.Unlock()
	now := s.now()
	if !e.at.IsZero() && now.Sub(e.at) < estimateAge {
		return e.rows, nil
	}
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		return 0, fmt.Errorf("estimating the rows of %s: %w", s.gpid, classify(err))
	}
	rows := s.rows.unflushed()
	for _, tables := range levels {
		for _, t := range tables {
			rows += int64(t.Properties.NumEntries) - 2*int64(t.Properties.NumDeletions)
			if bytes.Compare(t.Largest.UserKey, metaPrefix) > 0 {
				rows-- // for the record of the last decree
			}
		}
	}
	e.rows, e.at = max(rows, 0), now
	return e.rows, nil
}
