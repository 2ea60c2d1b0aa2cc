package engine

import (
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Engine is what all stores of a server have in common. Close it after the stores.
type Engine struct {
	cache  *pebble.Cache
	files  *pebble.FileCache
	slots  *compactionSlots
	memory *memory
	pacing *pacing

	stop chan struct{}
	done sync.WaitGroup
}

// New allocates the caches and starts the goroutine that keeps the memtables of all stores
// within their budget.
func New(o Options) (*Engine, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		cache:  pebble.NewCache(o.BlockCacheBytes),
		files:  pebble.NewFileCache(runtime.GOMAXPROCS(0), o.OpenFiles),
		slots:  newCompactionSlots(o.Compactions),
		pacing: newPacing(time.Now),
		stop:   make(chan struct{}),
	}
	e.memory = newMemory(o.MemtablesBytes, e.cache, o.Logger)
	e.done.Add(1)
	go e.run()
	return e, nil
}

// run does what must not be done on a writer's goroutine or under Pebble's locks.
func (e *Engine) run() {
	defer e.done.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
			// Pebble tells of everything that may make a compaction due; this is
			// for what it may come to forget.
			e.slots.kick()
		case <-e.memory.wake:
		}
		e.memory.balance(e.stop)
	}
}

// Close releases the caches. All stores must be closed.
func (e *Engine) Close() {
	close(e.stop)
	e.done.Wait()
	e.files.Unref()
	e.cache.Unref()
}

// MemtablesBytes returns the memory of all memtables together.
func (e *Engine) MemtablesBytes() int64 { return e.memory.limit }

// Metrics are gauges of what the stores share, and sums of how long they were held up.
type Metrics struct {
	BlockCacheBytes    int64 // in use
	BlockCacheHits     int64
	BlockCacheMisses   int64
	MemtableBytes      int64 // rows in memtables that aren't being flushed yet
	MemtableReserved   int64 // memory that memtables have allocated, touched or not
	CompactionsRunning int
	StoresWaiting      int           // for a compaction slot
	FlushWaits         time.Duration // of flushes that weren't urgent, in all
	CompactionWaits    time.Duration
}

// Metrics returns the present figures.
func (e *Engine) Metrics() Metrics {
	c := e.cache.Metrics()
	running, waiting := e.slots.counts()
	return Metrics{
		BlockCacheBytes:    c.Size,
		BlockCacheHits:     c.Hits,
		BlockCacheMisses:   c.Misses,
		MemtableBytes:      e.memory.active.Load(),
		MemtableReserved:   e.memory.reserved.Load(),
		CompactionsRunning: running,
		StoresWaiting:      waiting,
		FlushWaits:         time.Duration(e.pacing.flushWaits.Load()),
		CompactionWaits:    time.Duration(e.pacing.compactionWaits.Load()),
	}
}
