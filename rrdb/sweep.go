package rrdb

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"sort"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/time/rate"
)

// A sweep removes expired rows from this store alone. No read can tell: they were hidden
// before. It is not replicated, because a delete that is could meet, on another cluster that
// gets this table's writes, a row that was written there anew.
const (
	// sweepChunk is about how many bytes of rows are looked at before what is expired of them
	// is deleted.
	sweepChunk = 16 << 20
	// sweepRecent bounds the writes that may meet a chunk. One that meets more is left.
	sweepRecent = 20000
	// sweepRange is from how many rows that follow one another are deleted as a range, which
	// lets the engine drop whole tables unread.
	sweepRange = 256
	// sweepPatience is after how many seconds even little that is expired is looked for.
	sweepPatience = 600
	// sweepStep bounds the bytes that are accounted for at a time.
	sweepStep = 256 << 10
)

// SweepStats tell what a sweep did.
type SweepStats struct {
	Bytes        int64 // of rows read
	Rows         int64 // deleted
	DeletedBytes int64 // what they took, uncompressed
	Points       int64 // rows deleted one by one
	Ranges       int64 // runs of rows deleted as one
}

func (a *SweepStats) add(b SweepStats) {
	a.Bytes += b.Bytes
	a.Rows += b.Rows
	a.DeletedBytes += b.DeletedBytes
	a.Points += b.Points
	a.Ranges += b.Ranges
}

// sweepCounts are the sum of what sweeps did.
type sweepCounts struct{ runs, rows, bytes, read, nanos atomic.Int64 }

func (c *sweepCounts) add(st SweepStats, took time.Duration) {
	if st.Bytes == 0 {
		return // there was nothing to look at
	}
	c.runs.Add(1)
	c.nanos.Add(int64(took))
	c.rows.Add(st.Rows)
	c.bytes.Add(st.DeletedBytes)
	c.read.Add(st.Bytes)
}

// recentWrites are the keys written while a chunk is looked at. Under applyMu.
type recentWrites struct {
	keys     []recentWrite
	overflow bool
}

type recentWrite struct {
	key      []byte
	expireTS uint32
	bytes    int64
}

// wrote accounts for a put that is about to be applied. applyMu is held.
func (s *Store) wrote(op *Op, now uint32) {
	size := int64(len(op.Key) + valueHeader + len(op.Value))
	switch r := s.recent; {
	case r == nil:
		s.expiries.add(op.Key, op.ExpireTS, now, size)
	case len(r.keys) >= sweepRecent:
		r.overflow = true
		s.expiries.add(op.Key, op.ExpireTS, now, size)
	default:
		r.keys = append(r.keys, recentWrite{bytes.Clone(op.Key), op.ExpireTS, size})
	}
}

// Sweep deletes the rows that had expired delay ago, where enough of them lie together, and
// has their space given back. Of parts of which nothing is known yet it reads at most unknown
// bytes. It is meant to be called again and again.
func (s *Store) Sweep(ctx context.Context, delay time.Duration, unknown int64, pace *rate.Limiter) (SweepStats, error) {
	var all SweepStats
	if err := s.begin(); err != nil {
		return all, fmt.Errorf("sweeping %s: %w", s.opts.Gpid, err)
	}
	defer s.leave()
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	if pace == nil {
		pace = rate.NewLimiter(rate.Inf, sweepStep)
	}
	cutoff := ExpiryTime(s.now().Add(-delay))
	s.applyMu.Lock()
	spans := s.expiries.ripe(cutoff, sweepPatience)
	s.applyMu.Unlock()
	var much []span // bytes: live ones
	for _, sp := range spans {
		var done SweepStats
		at := sp
		for {
			if sp.unknown && unknown <= 0 {
				break
			}
			st, next, err := s.sweepChunk(ctx, at, cutoff, pace)
			done.add(st)
			if sp.unknown {
				unknown -= st.Bytes
			}
			if err != nil {
				all.add(done)
				return all, fmt.Errorf("sweeping %s: %w", s.opts.Gpid, err)
			}
			if next == nil {
				break
			}
			at.start = next
		}
		all.add(done)
		if done.Rows > 0 && done.DeletedBytes*8 >= done.Bytes {
			sp.bytes = done.Bytes - done.DeletedBytes
			much = append(much, sp)
		}
	}
	err := error(nil)
	if all.Rows > 0 {
		s.untidy = true
		err = s.reclaim(ctx, much, all.Ranges > 0, pace)
	}
	if err == nil && s.untidy {
		if err = s.tidy(ctx); err == nil {
			s.untidy = false
		}
	}
	if err != nil {
		return all, fmt.Errorf("reclaiming the space of expired rows of %s: %w", s.opts.Gpid, err)
	}
	return all, nil
}

// whileOpen returns a context that also ends when the store is being closed.
func (s *Store) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
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

// Compact deletes all rows that had expired delay ago, wherever they are, and merges all
// tables into the lowest level. It may take long.
func (s *Store) Compact(ctx context.Context, delay time.Duration) error {
	if err := s.begin(); err != nil {
		return fmt.Errorf("compacting %s: %w", s.opts.Gpid, err)
	}
	defer s.leave()
	s.applyMu.Lock()
	s.expiries = newExpiryMap(false) // nothing is taken for granted
	s.applyMu.Unlock()
	if _, err := s.Sweep(ctx, delay, math.MaxInt64, nil); err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	ctx, cancel := s.whileOpen(ctx)
	defer cancel()
	if err := s.flushOnce(ctx); err != nil {
		return fmt.Errorf("compacting %s: %w", s.opts.Gpid, err)
	}
	if err := s.compact(ctx, notBefore(nil), metaEnd); err != nil {
		return fmt.Errorf("compacting %s: %w", s.opts.Gpid, classify(err))
	}
	return nil
}

// dropWait is how long the engine is given to drop tables that deleted ranges cover, unread.
// What it hasn't dropped by then is merged, which takes longer and comes to the same.
const dropWait = 3 * time.Second

// reclaimBytes is about how many bytes of live rows are merged at a time.
const reclaimBytes = 64 << 20

// reclaim brings deletes into table files, and merges those where much was deleted with what
// lies below. Ranges have the engine drop what they cover as a whole first.
func (s *Store) reclaim(ctx context.Context, much []span, ranges bool, pace *rate.Limiter) error {
	dropped := s.db.Metrics().Compact.DeleteOnlyCount
	if err := s.flushOnce(ctx); err != nil {
		return err
	}
	if ranges {
		end := time.NewTimer(dropWait)
		defer end.Stop()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
	wait:
		for s.db.Metrics().Compact.DeleteOnlyCount == dropped {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-end.C:
				break wait
			case <-tick.C:
			}
		}
	}
	for i := 0; i < len(much); {
		sp := much[i]
		for i++; i < len(much) && sp.bytes < reclaimBytes && bytes.Equal(much[i].start, sp.end); i++ {
			sp.end = much[i].end
			sp.bytes += much[i].bytes
		}
		// What lives on is written anew, at no greater rate than rows are read at.
		for left := sp.bytes; left > 0; left -= sweepStep {
			if err := wait(ctx, pace, int(min(left, sweepStep))); err != nil {
				return err
			}
		}
		end := sp.end
		if end == nil {
			end = metaPrefix
		}
		if err := s.compact(ctx, notBefore(sp.start), end); err != nil {
			return classify(err)
		}
	}
	return nil
}

// notBefore returns a key that no row's is smaller than, nor than which k is greater.
func notBefore(k []byte) []byte {
	if len(k) == 0 {
		return []byte{0, 0}
	}
	return k
}

// run is a stretch of expired rows without any other between them.
type run struct {
	keys       [][]byte // all, while they are few; then nil
	start, end []byte   // half open
	rows       int
}

// sweepChunk looks at the rows from sp.start on, and deletes what had expired by cutoff. next
// is where to go on, nil at the end.
func (s *Store) sweepChunk(ctx context.Context, sp span, cutoff uint32, pace *rate.Limiter) (st SweepStats, next []byte, err error) {
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
	c := chunk{start: sp.start, cutoff: cutoff, now: ExpiryTime(s.now())}
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
	if err == nil && !recent.overflow {
		st, err = s.deleteRuns(c.runs, recent)
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

// chunk is one look at rows.
type chunk struct {
	start       []byte
	cutoff, now uint32

	runs    []run
	open    bool // the last run goes on
	segs    []segment
	seg     segment // the one being filled
	bytes   int64
	deleted int64
	points  int
}

func (c *chunk) read(ctx context.Context, it *pebble.Iterator, pace *rate.Limiter) (next []byte, err error) {
	var step int64
	for valid := it.First(); valid; valid = it.Next() {
		key := it.Key()
		if c.bytes >= sweepChunk || c.points >= 4*sweepRecent {
			return bytes.Clone(key), nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, classify(err)
		}
		expireTS, _, _, ok := splitValue(v)
		if !ok {
			return nil, badValue(key, v)
		}
		n := int64(len(key) + len(v))
		c.bytes += n
		if step += n; step >= sweepStep {
			if err := pace.WaitN(ctx, int(min(step, int64(pace.Burst())))); err != nil {
				return nil, err
			}
			step = 0
		}
		if expired(expireTS, c.cutoff) {
			c.deleted += n
			c.expiredRow(key)
		} else {
			c.liveRow(key, expireTS, n)
		}
	}
	return nil, it.Error()
}

func (c *chunk) expiredRow(key []byte) {
	k := bytes.Clone(key)
	if !c.open {
		first := k
		if len(c.runs) == 0 && c.seg.bytes == 0 && len(c.segs) == 0 {
			first = notBefore(c.start) // so that it touches the run that the chunk before ended with
		}
		c.runs = append(c.runs, run{start: first})
		c.open = true
	}
	r := &c.runs[len(c.runs)-1]
	r.rows++
	switch {
	case r.rows < sweepRange:
		r.keys = append(r.keys, k)
		c.points++
	case r.rows == sweepRange:
		c.points -= len(r.keys)
		r.keys = nil
	}
}

func (c *chunk) liveRow(key []byte, expireTS uint32, n int64) {
	if c.open {
		c.runs[len(c.runs)-1].end = bytes.Clone(key)
		c.open = false
	}
	if c.seg.bytes >= segmentBytes {
		c.seg.end = bytes.Clone(key)
		c.segs = append(c.segs, c.seg)
		c.seg = segment{}
	}
	c.seg.bytes += n
	if expireTS != 0 {
		if expireTS > c.now && expireTS-c.now > far {
			expireTS = c.now + far
		}
		c.seg.add(roundExpiry(expireTS, c.now), n)
	}
}

// finish ends the last run and the last segment: at upper, and at end, which is nil for the
// end of all keys.
func (c *chunk) finish(end, upper []byte) {
	if c.open {
		c.runs[len(c.runs)-1].end = upper
		if end != nil {
			c.runs[len(c.runs)-1].end = end
		}
	}
	c.seg.end = end
	c.segs = append(c.segs, c.seg)
}

// deleteRuns deletes what the runs hold, but for keys that were written meanwhile. applyMu is
// held.
func (s *Store) deleteRuns(runs []run, recent *recentWrites) (st SweepStats, err error) {
	if len(runs) == 0 {
		return st, nil
	}
	written := make([][]byte, len(recent.keys))
	for i := range recent.keys {
		written[i] = recent.keys[i].key
	}
	sort.Slice(written, func(i, j int) bool { return bytes.Compare(written[i], written[j]) < 0 })
	b := s.db.NewBatch()
	defer b.Close()
	at := 0 // first of written that may lie in the run or behind it
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
					return st, err
				}
			}
			continue
		}
		st.Ranges++
		start := r.start
		for ; at < len(written) && bytes.Compare(written[at], r.end) < 0; at++ {
			if bytes.Compare(start, written[at]) < 0 {
				if err := b.DeleteRange(start, written[at], nil); err != nil {
					return st, err
				}
			}
			start = append(bytes.Clone(written[at]), 0)
		}
		if bytes.Compare(start, r.end) < 0 {
			if err := b.DeleteRange(start, r.end, nil); err != nil {
				return st, err
			}
		}
	}
	size := int64(b.Len()) + int64(b.Count())*rowOverhead
	if err := s.db.Apply(b, pebble.NoSync); err != nil {
		return st, err
	}
	if err := s.failure.get(); err != nil {
		return st, err
	}
	s.shared.memory.applied(s, size)
	return st, nil
}
