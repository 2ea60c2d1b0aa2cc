package rrdb

import (
	"cmp"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/sirupsen/logrus"

	"pegasus/base/config"
)

// SharedOptions configure what the stores of one server share.
type SharedOptions struct {
	Storage         config.Storage
	MaxScanSessions int              // sessions kept; above it the oldest goes. 0 is 10000
	ScanSessionAge  time.Duration    // a session unused for that long goes. 0 is 5 minutes
	Logger          *logrus.Entry    // nil is silence
	Now             func() time.Time // nil is time.Now
}

// Shared is what all stores of a server have in common. Close it after the stores.
type Shared struct {
	cache    *pebble.Cache
	files    *pebble.FileCache
	slots    *compactionSlots
	memory   *memory
	tempo    *tempo
	sessions *sessionTable
	swept    sweepCounts
	// ruledRead are the bytes of rows that were looked at for the tables' rules.
	ruledRead atomic.Int64

	stop chan struct{}
	done sync.WaitGroup
}

// NewShared allocates the caches and starts the goroutine that keeps the memtables of
// all stores within their budget.
func NewShared(o SharedOptions) *Shared {
	if o.MaxScanSessions <= 0 {
		o.MaxScanSessions = 10000
	}
	if o.ScanSessionAge <= 0 {
		o.ScanSessionAge = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = silent()
	}
	s := &Shared{
		cache:    pebble.NewCache(max(cmp.Or(o.Storage.BlockCacheBytes, 256<<20), 1<<20)),
		files:    pebble.NewFileCache(runtime.GOMAXPROCS(0), max(o.Storage.OpenFiles, 64)),
		slots:    newCompactionSlots(o.Storage.Compactions),
		sessions: newSessionTable(o.MaxScanSessions, o.ScanSessionAge, o.Now),
		tempo:    newTempo(time.Now),
		stop:     make(chan struct{}),
	}
	s.memory = newMemory(cmp.Or(o.Storage.MemtablesBytes, 256<<20), s.cache, o.Logger)
	s.done.Add(1)
	go s.run()
	if o.Storage.SweepInterval > 0 {
		s.done.Add(1)
		go s.sweepLoop(o.Storage, o.Logger)
	}
	return s
}

// run does what must not be done on a writer's goroutine or under Pebble's locks.
func (s *Shared) run() {
	defer s.done.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			// Pebble tells of everything that may make a compaction due; this is
			// for what it may come to forget.
			s.slots.kick()
		case <-s.memory.wake:
		}
		s.memory.balance(s.stop)
	}
}

// Close releases the caches. All stores must be closed.
func (s *Shared) Close() {
	close(s.stop)
	s.done.Wait()
	s.files.Unref()
	s.cache.Unref()
}

// SharedMetrics are gauges of what the stores share.
type SharedMetrics struct {
	BlockCacheBytes    int64 // in use
	BlockCacheHits     int64
	BlockCacheMisses   int64
	MemtableBytes      int64 // rows in memtables that aren't being flushed yet
	MemtableReserved   int64 // memory that memtables have allocated, touched or not
	CompactionsRunning int
	FlushWaits         time.Duration // in all, of those that weren't hurried
	CompactionWaits    time.Duration
	ScanSessions       int
	Sweeps             int64 // of a store, in which there was something to look at
	SweepTime          time.Duration
	SweptRows          int64 // expired rows deleted since the start
	SweptBytes         int64 // what they took, uncompressed
	SweepReadBytes     int64 // rows read to find them
	RuledReadBytes     int64 // rows read to find those that tables' rules change
}

// Metrics returns the present figures.
func (s *Shared) Metrics() SharedMetrics {
	c := s.cache.Metrics()
	s.slots.mu.Lock()
	running := s.slots.running
	s.slots.mu.Unlock()
	return SharedMetrics{
		BlockCacheBytes:    c.Size,
		BlockCacheHits:     c.Hits,
		BlockCacheMisses:   c.Misses,
		MemtableBytes:      s.memory.active.Load(),
		MemtableReserved:   s.memory.reserved.Load(),
		CompactionsRunning: running,
		FlushWaits:         time.Duration(s.tempo.flushWaits.Load()),
		CompactionWaits:    time.Duration(s.tempo.waits.Load()),
		ScanSessions:       s.sessions.len(),
		Sweeps:             s.swept.runs.Load(),
		SweepTime:          time.Duration(s.swept.nanos.Load()),
		SweptRows:          s.swept.rows.Load(),
		SweptBytes:         s.swept.bytes.Load(),
		SweepReadBytes:     s.swept.read.Load(),
		RuledReadBytes:     s.ruledRead.Load(),
	}
}

func silent() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}
