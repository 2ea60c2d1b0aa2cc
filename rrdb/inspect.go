package rrdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
)

// Sum is what Digest says of a store's content.
type Sum struct {
	Decree int64  // the content is that of this decree
	Rows   int64  // live rows
	Hash   uint64 // over keys, expiries, timetags, and data of the live rows, in key order
}

// Digest hashes the rows that are live at now (see ExpiryTime), as of one decree. Replicas
// of a partition that applied the same decree have the same sum for the same now, whatever
// they flushed or compacted. It reads everything; writes go on meanwhile.
func (s *Store) Digest(ctx context.Context, now uint32) (Sum, error) {
	if err := s.begin(); err != nil {
		return Sum{}, fmt.Errorf("digest of %s: %w", s.opts.Gpid, err)
	}
	defer s.leave()
	s.applyMu.Lock()
	sum := Sum{Decree: s.applied.Load()}
	it, err := s.db.NewIter(&pebble.IterOptions{UpperBound: metaPrefix})
	s.applyMu.Unlock()
	if err != nil {
		return Sum{}, fmt.Errorf("digest of %s: %w", s.opts.Gpid, classify(err))
	}
	h := xxhash.New()
	var length [8]byte
	for valid := it.First(); valid; valid = it.Next() {
		if sum.Rows%1024 == 0 && ctx.Err() != nil {
			_ = it.Close()
			return Sum{}, fmt.Errorf("digest of %s: %w", s.opts.Gpid, ctx.Err())
		}
		expireTS, _, err := rowValue(it)
		if err != nil {
			_ = it.Close()
			return Sum{}, fmt.Errorf("digest of %s: %w", s.opts.Gpid, classify(err))
		}
		if expired(expireTS, now) {
			continue
		}
		v, _ := it.ValueAndErr()
		binary.BigEndian.PutUint32(length[:], uint32(len(it.Key())))
		binary.BigEndian.PutUint32(length[4:], uint32(len(v)))
		_, _ = h.Write(length[:])
		_, _ = h.Write(it.Key())
		_, _ = h.Write(v)
		sum.Rows++
	}
	if err := it.Close(); err != nil {
		return Sum{}, fmt.Errorf("digest of %s: %w", s.opts.Gpid, classify(err))
	}
	sum.Hash = h.Sum64()
	return sum, nil
}

// Metrics returns Pebble's own figures, nil when the store is closed.
func (s *Store) Metrics() *pebble.Metrics {
	if !s.enter() {
		return nil
	}
	defer s.leave()
	return s.db.Metrics()
}

// Size returns how many bytes the store's files take on disk.
func (s *Store) Size() uint64 {
	m := s.Metrics()
	if m == nil {
		return 0
	}
	return m.DiskSpaceUsage()
}

// countEstimate keeps the last estimate: making one reads the properties of all tables.
type countEstimate struct {
	mu   sync.Mutex
	rows int64
	at   time.Time
}

// estimateAge is how long an estimate is good.
const estimateAge = time.Minute

// CountEstimate returns about how many rows the table files hold, expired ones too: puts
// less removes, so rows that were overwritten count more than once until a compaction
// meets them. It is at most a minute old.
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
		return 0, fmt.Errorf("estimating the rows of %s: %w", s.opts.Gpid, classify(err))
	}
	var rows int64
	for _, tables := range levels {
		for _, t := range tables {
			rows += int64(t.Properties.NumEntries) - 2*int64(t.Properties.NumDeletions)
			if bytes.Compare(t.Largest.UserKey, metaPrefix) > 0 {
				rows-- // the record of the last decree
			}
		}
	}
	e.rows, e.at = max(rows, 0), now
	return e.rows, nil
}
