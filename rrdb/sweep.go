package rrdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sort"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"

	"pegasus/rrdb/engine"
)

// A sweep removes expired rows from this store alone, or leaves tombstones of them. No read can tell: the rows were hidden
// before. The deletes aren't replicated: on another cluster that gets this table's writes, such a
// delete could remove a row that was written there since.
const (
	// sweepChunk is about the number of bytes of rows that are read before the expired ones among
	// them are deleted.
	sweepChunk = 16 << 20
	// sweepRecent bounds the writes during a chunk. With more, nothing of the chunk is deleted.
	sweepRecent = 20000
	// sweepRange is the length of a run of expired rows from which it is deleted as a range. Then
	// Pebble can drop whole tables unread.
	sweepRange = 256
	// sweepMaxAge is the time in seconds after which even a few expired rows are swept.
	sweepMaxAge = 600
	// sparseSpans is how many spans are remembered that couldn't be merged, before it is the whole store.
	sparseSpans = 1024
	// sweepStep is the number of bytes after which the rate limit is asked.
	sweepStep = 256 << 10
)

// SweepStats are the results of a sweep.
type SweepStats struct {
	Bytes        int64 // of rows read
	Rows         int64 // deleted
	DeletedBytes int64 // of the rows deleted, uncompressed
	Points       int64 // rows deleted one by one
	Shrunk       int64 // of Rows, those of which a tombstone stays
	Ranges       int64 // runs of rows deleted as one
}

func (a *SweepStats) add(b SweepStats) {
	a.Bytes += b.Bytes
	a.Rows += b.Rows
	a.DeletedBytes += b.DeletedBytes
	a.Points += b.Points
	a.Shrunk += b.Shrunk
	a.Ranges += b.Ranges
}

// sweeper deletes a store's expired rows and frees their space.
type sweeper struct {
	*applier
	manifests *manifests
	// certainTime is SharedOptions.DeleteTime.
	certainTime func() (time.Time, error)
	// keepsExpired tells whether expired rows have to stay.
	keepsExpired func() bool

	sweepMu  sync.Mutex // held by a sweep; taken before applyMu
	unmerged bool       // under sweepMu: since rows were swept no later sweep has found nothing to merge
	mayGive  time.Time  // under sweepMu: since when rows that the cut hides may be removed
	sparse   []span     // under sweepMu: with many rows deleted, and not merged since; bytes are the live ones
}

// Sweep deletes the rows that expired at least delay ago, where enough of them lie together, and frees
// their space. It reads at most unknown bytes of ranges whose expiries aren't known. It is called
// again and again.
func (s *sweeper) Sweep(ctx context.Context, delay time.Duration, unknown int64, pace *rate.Limiter) (SweepStats, error) {
	var all SweepStats
	if err := s.begin(); err != nil {
		return all, fmt.Errorf("sweeping %s: %w", s.gpid, err)
	}
	defer s.leave()
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	if s.keepsExpired() {
		return all, nil
	}
	if pace == nil {
		pace = rate.NewLimiter(rate.Inf, sweepStep)
	}
	now := s.now() // read once: what is noted of a chunk must not be later than the cutoff allows
	upTo, err := s.deleteTime(now)
	if err != nil {
		return all, fmt.Errorf("sweeping %s: %w", s.gpid, err)
	}
	cutoff := ExpiryTime(upTo.Add(-delay))
	s.beginGiving()
	s.applyMu.Lock()
	spans := s.expiries.toSweep(cutoff, sweepMaxAge)
	s.applyMu.Unlock()
	for _, sp := range spans {
		var done SweepStats
		at := sp
		for {
			if sp.unknown && unknown <= 0 {
				break
			}
			st, next, err := s.sweepChunk(ctx, at, cutoff, ExpiryTime(now), pace)
			done.add(st)
			if sp.unknown {
				unknown -= st.Bytes
			}
			if err != nil {
				all.add(done)
				return all, fmt.Errorf("sweeping %s: %w", s.gpid, err)
			}
			if next == nil {
				break
			}
			at.start = next
		}
		all.add(done)
		if done.Rows > 0 && done.DeletedBytes*8 >= done.Bytes {
			sp.bytes = done.Bytes - done.DeletedBytes
			s.sparse = append(s.sparse, sp)
		}
	}
	s.unmerged = s.unmerged || all.Rows > 0
	if all.Rows > 0 || len(s.sparse) > 0 {
		if len(s.sparse) > sparseSpans {
			s.sparse = []span{{bytes: spanBytes(s.sparse)}} // the whole store
		}
		if err = s.reclaim(ctx, s.sparse, all.Ranges > 0, pace); err == nil {
			s.sparse = nil
		}
	}
	if err == nil && s.unmerged {
		var done bool
		done, err = s.mergeRemains(ctx)
		// The next sweep looks again: what Pebble does in the background may be under way yet.
		s.unmerged = !done || all.Rows > 0
	}
	if err != nil {
		return all, fmt.Errorf("freeing the space of expired rows of %s: %w", s.gpid, err)
	}
	return all, nil
}

// beginGiving has the sweeps read all rows once the ones that the cut hides may be removed.
func (s *sweeper) beginGiving() {
	c := s.Cut()
	if c.Count == 0 || c.Count != s.count.Load() || c.Count == s.giving.Load() {
		return
	}
	// Scans from before the cut still read them.
	if now := s.now(); s.scansOld(c.Count) {
		if s.mayGive.IsZero() {
			s.mayGive = now
		}
		if now.Sub(s.mayGive) < scansWait {
			return
		}
		s.log.Warnf("scans that began before the table got %d partitions are given up: the rows that went to the new ones are removed", c.Count)
	}
	s.mayGive = time.Time{}
	s.giving.Store(c.Count)
	s.applyMu.Lock()
	s.expiries = newExpiryMap(false)
	s.applyMu.Unlock()
}

func spanBytes(spans []span) (n int64) {
	for i := range spans {
		n += spans[i].bytes
	}
	return n
}

// deleteTime returns the time by which rows are deleted. It is never after the store's clock.
func (s *sweeper) deleteTime(now time.Time) (time.Time, error) {
	at := now
	if f := s.certainTime; f != nil {
		var err error
		if at, err = f(); err != nil {
			return time.Time{}, fmt.Errorf("%w: %w", ErrClock, err)
		}
	} else if last := s.timestamp.Load(); last > 0 {
		at = time.UnixMicro(last).Add(clockPause)
	}
	if at.Before(now) {
		return at, nil
	}
	return now, nil
}

// clockPlausible tells whether the last write in the store, when it was opened, is at most clockPause
// older than the clock. It is a second source for the time.
func (s *sweeper) clockPlausible() bool {
	return s.openedTS == 0 || s.now().Sub(time.UnixMicro(s.openedTS)) <= clockPause
}

// sweepChunk reads rows from sp.start on, and deletes those that had expired by cutoff. now is the
// current time. next is the key to continue at, nil at the end of sp.
func (s *sweeper) sweepChunk(ctx context.Context, sp span, cutoff, now uint32, pace *rate.Limiter) (st SweepStats, next []byte, err error) {
	upper := sp.end
	if upper == nil {
		upper = metaPrefix
	}
	s.applyMu.Lock()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: sp.start, UpperBound: upper})
	if err == nil {
		s.recent = &recentWrites{}
	}
	s.applyMu.Unlock()
	if err != nil {
		return st, nil, classify(err)
	}
	c := chunk{start: sp.start, cutoff: cutoff, now: now, goneFrom: s.goneFrom}
	if s.remembers != nil && s.remembers() {
		c.goneFrom, c.shrink = s.remembered, true
	}
	if cut, ok := s.given(); ok {
		c.cut = cut
	}
	next, err = c.read(ctx, it, pace)
	if cerr := it.Close(); err == nil && cerr != nil {
		err = classify(cerr)
	}
	end := sp.end
	if next != nil {
		end = next
	}
	c.finish(end, upper)
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	recent := s.recent
	s.recent = nil
	if err == nil && !recent.overflow && !s.keeps.Load() {
		st, err = s.delete(&c, recent)
		if err == nil {
			s.expiries.replace(sp.start, end, c.segs)
		}
	}
	for _, w := range recent.keys {
		s.expiries.add(w.key, w.expireTS, c.now, w.bytes)
	}
	st.Bytes = c.bytes
	if st.Rows > 0 {
		st.DeletedBytes = c.deleted
	}
	return st, next, err
}

// delete deletes the expired rows of a chunk, or makes tombstones of them, except keys that were written meanwhile. applyMu is
// held.
func (s *sweeper) delete(c *chunk, recent *recentWrites) (st SweepStats, err error) {
	if len(c.runs)+len(c.faded) == 0 {
		return st, nil
	}
	written := make([][]byte, len(recent.keys))
	for i := range recent.keys {
		written[i] = recent.keys[i].key
	}
	sort.Slice(written, func(i, j int) bool { return bytes.Compare(written[i], written[j]) < 0 })
	b := s.db.NewBatch()
	defer b.Close()
	if err := deleteRuns(b, c.runs, written, &st); err != nil {
		return st, err
	}
	if err := shrink(b, c.faded, written, &st); err != nil {
		return st, err
	}
	size := engine.BatchBytes(b)
	if err := s.db.Apply(b, pebble.NoSync); err != nil {
		return st, err
	}
	if err := s.member.Err(); err != nil {
		return st, err
	}
	s.member.Applied(size)
	return st, nil
}

// shrink adds the tombstones of rows to a batch.
func shrink(b *pebble.Batch, rows []faded, written [][]byte, st *SweepStats) error {
	at := 0
	for i := range rows {
		r := &rows[i]
		for at < len(written) && bytes.Compare(written[at], r.key) < 0 {
			at++
		}
		if at < len(written) && bytes.Equal(written[at], r.key) {
			continue
		}
		d := b.SetDeferred(len(r.key), valueHeader+tombstoneData)
		copy(d.Key, r.key)
		putTombstone(d.Value, r.timetag|1, r.at)
		if err := d.Finish(); err != nil {
			return err
		}
		st.Rows++
		st.Shrunk++
	}
	return nil
}

// deleteRuns adds the deletes of runs to a batch.
func deleteRuns(b *pebble.Batch, runs []run, written [][]byte, st *SweepStats) error {
	at := 0 // index of the first written key that may lie in or after the run
	for i := range runs {
		r := &runs[i]
		for at < len(written) && bytes.Compare(written[at], r.start) < 0 {
			at++
		}
		st.Rows += int64(r.rows)
		if r.keys != nil {
			for _, k := range r.keys {
				for at < len(written) && bytes.Compare(written[at], k) < 0 {
					at++
				}
				if at < len(written) && bytes.Equal(written[at], k) {
					st.Rows--
					continue
				}
				st.Points++
				if err := b.Delete(k, nil); err != nil {
					return err
				}
			}
			continue
		}
		st.Ranges++
		start := r.start
		for ; at < len(written) && bytes.Compare(written[at], r.end) < 0; at++ {
			if bytes.Compare(start, written[at]) < 0 {
				if err := b.DeleteRange(start, written[at], nil); err != nil {
					return err
				}
			}
			start = append(bytes.Clone(written[at]), 0)
		}
		if bytes.Compare(start, r.end) < 0 {
			if err := b.DeleteRange(start, r.end, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Compact deletes all rows that expired at least delay ago, and merges all tables into the lowest
// level. It may take long.
func (s *sweeper) Compact(ctx context.Context, delay time.Duration) error {
	if err := s.begin(); err != nil {
		return fmt.Errorf("compacting %s: %w", s.gpid, err)
	}
	defer s.leave()
	s.applyMu.Lock()
	s.expiries = newExpiryMap(false) // unknown: all rows are read
	s.applyMu.Unlock()
	if _, err := s.Sweep(ctx, delay, math.MaxInt64, nil); errors.Is(err, ErrClock) {
		s.log.WithError(err).Warn("a manual compaction keeps expired rows")
	} else if err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	if err := s.flushOnce(ctx); err != nil {
		return fmt.Errorf("compacting %s: %w", s.gpid, err)
	}
	if err := s.compact(ctx, firstKey, metaEnd); err != nil {
		return fmt.Errorf("compacting %s: %w", s.gpid, classify(err))
	}
	return nil
}
