package wal

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// stats are counters since Open.
type stats struct {
	entries, bytes, batches      atomic.Uint64
	syncs, syncNanos             atomic.Uint64
	rotations, removed, recycled atomic.Uint64
	filled                       atomic.Uint64
	rewritten, pressures         atomic.Uint64
	reads, readBytes             atomic.Uint64
	batchSizes                   [batchBuckets]atomic.Uint64
	syncTimes                    [syncBuckets]atomic.Uint64
}

const (
	batchBuckets = 12
	syncBuckets  = 16
	// syncUnit is the upper bound of the first bucket of sync times.
	syncUnit = 32 * time.Microsecond
)

// Stats is a snapshot of the log's counters since Open, and of its size.
type Stats struct {
	// Entries counts appended entries (with those written again), Bytes all that was
	// written, Batches the writes that it took.
	Entries, Bytes, Batches uint64
	// Syncs counts fdatasyncs of segments, SyncTime their time.
	Syncs    uint64
	SyncTime time.Duration
	// BatchSizes[i] counts batches of at most 1<<i changes (those of none are in the
	// first), the last all larger ones.
	BatchSizes [batchBuckets]uint64
	// SyncTimes[i] counts fdatasyncs of at most 32us<<i, the last all longer ones.
	SyncTimes [syncBuckets]uint64
	// Rotations counts segments that were begun, Removed those that were given up,
	// Recycled those of them that are written over.
	Rotations, Removed, Recycled uint64
	// Filled counts segments that were written in full before they were needed.
	Filled uint64
	// Rewritten counts entries that were written again so that their segment could go,
	// Pressures the calls of OnPressure.
	Rewritten, Pressures uint64
	// Reads counts entries that Read returned, ReadBytes their size in the log.
	Reads, ReadBytes uint64
	// Segments and TotalBytes are the present size of the log, IndexEntries the entries
	// that can be read.
	Segments     int
	TotalBytes   int64
	IndexEntries int64
}

func (s *stats) batch(changes, bytes int) {
	s.batches.Add(1)
	s.bytes.Add(uint64(bytes))
	s.batchSizes[min(bits.Len(uint(max(changes, 1)-1)), batchBuckets-1)].Add(1)
}

func (s *stats) sync(d time.Duration) {
	s.syncs.Add(1)
	s.syncNanos.Add(uint64(d))
	units := uint((d + syncUnit - 1) / syncUnit)
	s.syncTimes[min(bits.Len(max(units, 1)-1), syncBuckets-1)].Add(1)
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	c := &l.stats
	s := Stats{
		Entries: c.entries.Load(), Bytes: c.bytes.Load(), Batches: c.batches.Load(),
		Syncs: c.syncs.Load(), SyncTime: time.Duration(c.syncNanos.Load()),
		Rotations: c.rotations.Load(), Removed: c.removed.Load(), Recycled: c.recycled.Load(), Filled: c.filled.Load(),
		Rewritten: c.rewritten.Load(), Pressures: c.pressures.Load(),
		Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(),
	}
	for i := range s.BatchSizes {
		s.BatchSizes[i] = c.batchSizes[i].Load()
	}
	for i := range s.SyncTimes {
		s.SyncTimes[i] = c.syncTimes[i].Load()
	}
	l.ix.RLock()
	defer l.ix.RUnlock()
	s.Segments = len(l.segs)
	for _, g := range l.segs {
		s.TotalBytes += g.end
	}
	for _, r := range l.replicas {
		for i := range r.runs {
			s.IndexEntries += int64(len(r.runs[i].locs))
		}
	}
	return s
}
