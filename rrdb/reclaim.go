package rrdb

import (
	"bytes"
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// manifestBytes is the size from which Pebble begins a new manifest (its list of table files),
	// if there were more changes since the last one than there are files. It is one block of most
	// file systems; a smaller file frees nothing.
	manifestBytes = 4 << 10
	// remainsBytes is the largest size of a store that mergeRemains merges into one table.
	remainsBytes = 1 << 20
)

// dropWait is the time that Pebble gets to drop, unread, the tables that deleted ranges cover. The
// tables that are left are merged, which takes longer and has the same result.
const dropWait = 3 * time.Second

// reclaimBytes is about the number of bytes of live rows that are merged at a time.
const reclaimBytes = 64 << 20

// reclaim flushes the deletes, and merges the tables of the spans where much was deleted. If ranges
// were deleted, Pebble first drops the tables that they cover whole.
func (s *sweeper) reclaim(ctx context.Context, sparse []span, ranges bool, pace *rate.Limiter) error {
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
	for i := 0; i < len(sparse); {
		sp := sparse[i]
		for i++; i < len(sparse) && sp.bytes < reclaimBytes && bytes.Equal(sparse[i].start, sp.end); i++ {
			sp.end = sparse[i].end
			sp.bytes += sparse[i].bytes
		}
		// Live rows are rewritten, at the rate at which rows are read.
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

// mergeRemains merges what is left of a store with few rows into one table. That also makes Pebble
// begin a new manifest if the current one is longer than necessary: Pebble does so only when it has a
// change to write. done tells that there was nothing to merge.
func (s *sweeper) mergeRemains(ctx context.Context) (done bool, err error) {
	m := s.db.Metrics()
	tables, size := int64(0), int64(m.BlobFiles.Local.LiveSize)
	for i := range m.Levels {
		tables += m.Levels[i].TablesCount
		size += m.Levels[i].TablesSize
	}
	if size > remainsBytes || tables <= 1 && s.manifests.size() < manifestBytes {
		return true, nil
	}
	// The new record makes a second table: Pebble wouldn't merge a single one.
	if err := s.putRecord(); err != nil {
		return false, err
	}
	if err := s.flushOnce(ctx); err != nil {
		return false, err
	}
	return false, s.compact(ctx, firstKey, metaEnd)
}

// compact merges the tables that hold keys of a range. Pebble first flushes the memtable if it holds
// such keys: until it has begun a new memtable applyMu is held, see rotate.
func (s *sweeper) compact(ctx context.Context, start, end []byte) error {
	s.applyMu.Lock()
	free := sync.OnceFunc(s.applyMu.Unlock)
	defer free()
	return s.db.Compact(doneContext{ctx, free}, start, end, false)
}

// doneContext calls onDone at each call of Done. Pebble calls Done for the first time when it has
// begun the new memtable.
type doneContext struct {
	context.Context
	onDone func()
}

// Done implements context.Context.
func (c doneContext) Done() <-chan struct{} {
	c.onDone()
	return c.Context.Done()
}
