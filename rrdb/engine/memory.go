package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/sirupsen/logrus"
)

// memory keeps the memtables of all stores within one budget, which counts what they have allocated.
// Above it the largest memtables are flushed early, also large empty ones of idle stores. The next
// memtable of a store is as large as what the last one held, so that memtables shrink as the number
// of busy stores grows (see memtablesize.go). If flushes can't keep up, writes wait.
//
// Pebble subtracts what a memtable allocates from the size of its block cache. A hundred instances
// would leave nothing of a cache that they share. Here memtables and blocks have a budget each, so the
// cache gets back what memtables took.
type memory struct {
	limit    int64
	cache    *pebble.Cache
	log      *logrus.Entry
	active   atomic.Int64 // sum of the stores' active
	reserved atomic.Int64 // sum of the stores' reserved
	wake     chan struct{}

	mu     sync.Mutex
	stores map[*Member]struct{}
}

// memtables is one store's part of memory.
type memtables struct {
	max      int64        // bytes of one memtable
	active   atomic.Int64 // bytes applied since the last flush began
	reserved atomic.Int64 // bytes that memtables had allocated at the last measurement
	dirty    atomic.Bool  // memtables were added or removed since then
	measured atomic.Int64 // active at that time
	// requested: a flush was asked for and hasn't ended.
	requested atomic.Bool
	behind    atomic.Bool  // flushes or compactions are behind
	awaited   atomic.Int32 // calls that wait for a flush

	// Used only by the goroutine in balance, see backoff.
	retryAt        time.Time
	retryWait      time.Duration
	reservedBefore int64

	mu       sync.Mutex // of setReserved
	giveBack func()     // ends the compensation of the cache
}

const (
	// smallestFlush is the number of bytes that make an early flush worth while.
	smallestFlush = 64 << 10
	// smallestArena is the smallest memtable that Pebble allocates. Flushing a store that has
	// no larger one frees no memory.
	smallestArena = 256 << 10
	// measureEvery is the number of bytes applied after which a store is measured again.
	measureEvery = 512 << 10
)

func newMemory(limit int64, cache *pebble.Cache, log *logrus.Entry) *memory {
	return &memory{limit: limit, cache: cache, log: log,
		wake: make(chan struct{}, 1), stores: map[*Member]struct{}{}}
}

func (m *memory) join(s *Member) {
	m.mu.Lock()
	m.stores[s] = struct{}{}
	m.mu.Unlock()
	s.mem.dirty.Store(true)
	m.poke()
}

func (m *memory) leave(s *Member) {
	m.mu.Lock()
	delete(m.stores, s)
	m.mu.Unlock()
	m.active.Add(-s.mem.active.Swap(0))
	m.setReserved(s, 0)
}

// all returns the stores that are open.
func (m *memory) all() []*Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	stores := make([]*Member, 0, len(m.stores))
	for s := range m.stores {
		stores = append(stores, s)
	}
	return stores
}

// applied counts n bytes into the store's memtable.
func (m *memory) applied(s *Member, n int64) {
	mine := s.mem.active.Add(n)
	if mine-s.mem.measured.Load() >= measureEvery {
		s.mem.measured.Store(mine)
		s.mem.dirty.Store(true)
		m.poke()
	}
	if m.active.Add(n) > m.limit {
		m.poke()
	}
}

// full tells whether memtables exceed their budget by so much that writes must wait for flushes.
func (m *memory) full() bool {
	return nextSizeAt >= 0 && m.reserved.Load() > m.limit+m.limit/2
}

// maxAdmitWait is the longest time that a write waits for flushes. Then it goes on: flushes may be
// impossible, and the store reports that elsewhere.
const maxAdmitWait = 100 * time.Millisecond

// admit makes a write wait while memtables take too much memory.
func (m *memory) admit(s *Member) {
	if !m.full() || s.mem.reserved.Load() <= 2*smallestArena {
		return
	}
	m.poke()
	const interval = 5 * time.Millisecond
	t := time.NewTicker(interval)
	defer t.Stop()
	for range int(maxAdmitWait / interval) {
		select {
		case <-t.C:
		case <-s.store.Closing():
			return
		}
		if !m.full() {
			return
		}
	}
}

// flushBegan is called by Pebble, under its mutex: it must not block.
func (m *memory) flushBegan(s *Member) {
	held := s.mem.active.Swap(0)
	s.flushes.begin(time.Now(), held)
	s.mem.measured.Store(0)
	m.active.Add(-held)
	s.sizeMemtable(held, m.reserved.Load() > m.limit/4*3)
	s.mem.dirty.Store(true)
	m.poke()
}

// flushEnded is called by Pebble, under its mutex: it must not block.
func (m *memory) flushEnded(s *Member) {
	s.mem.requested.Store(false)
	s.mem.dirty.Store(true)
	m.poke()
}

func (m *memory) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// balance measures the stores that changed, and asks for flushes if the budget is exceeded.
func (m *memory) balance(stop <-chan struct{}) {
	stores := m.all()
	for _, s := range stores {
		if s.mem.dirty.Swap(false) {
			m.measure(s)
		}
	}
	m.flushLargest(stores, stop, m.active.Load()-m.limit, smallestFlush, func(s *Member) int64 { return s.mem.active.Load() })
	if nextSizeAt < 0 {
		return
	}
	now := time.Now()
	m.flushLargest(stores, stop, m.reserved.Load()-m.limit, 2*smallestArena+1, func(s *Member) int64 {
		if now.Before(s.mem.retryAt) {
			return 0
		}
		return s.mem.reserved.Load()
	})
}

// backoff notes that a flush was asked for. If the one before has freed no memory, the time until
// the next doubles.
func (u *memtables) backoff(now time.Time) {
	n := u.reserved.Load()
	if n < u.reservedBefore || u.retryWait == 0 {
		u.retryWait = time.Millisecond
	} else {
		u.retryWait = min(2*u.retryWait, 10*time.Second)
	}
	u.reservedBefore, u.retryAt = n, now.Add(u.retryWait)
}

// flushLargest asks for flushes, of the largest stores first, until they will free as much as the
// budget is exceeded by. Stores below the smallest size are left alone.
func (m *memory) flushLargest(stores []*Member, stop <-chan struct{}, over, smallest int64, size func(*Member) int64) {
	for _, s := range stores {
		if over > 0 && s.mem.requested.Load() {
			over -= size(s) // its flush was asked for
		}
	}
	for over > 0 {
		var largest *Member
		for _, s := range stores {
			if !s.mem.requested.Load() && (largest == nil || size(s) > size(largest)) {
				largest = s
			}
		}
		if largest == nil || size(largest) < smallest {
			return
		}
		over -= size(largest)
		largest.mem.requested.Store(true)
		largest.mem.backoff(time.Now())
		select {
		case <-stop:
			return
		default:
			// On a goroutine of its own: it blocks while the store's writes are stalled.
			go m.flushEarly(largest)
		}
	}
}

func (m *memory) flushEarly(s *Member) {
	if err := s.store.FlushEarly(); err != nil {
		s.mem.requested.Store(false)
		m.log.WithError(err).Warn("early flush of a memtable failed")
	}
}

func (m *memory) measure(s *Member) {
	all := s.store.Metrics()
	if all == nil {
		return // it is being closed
	}
	t := all.MemTable
	m.setReserved(s, int64(t.Size+t.ZombieSize))
	// Pebble collects small memtables until a flush of them is worth while, so their number says
	// nothing. More bytes than one full memtable to write into and one being flushed is too much.
	s.mem.behind.Store(int64(t.Size) > 2*s.mem.max || all.Levels[0].Sublevels > 20 && !s.bulkLoad)
}

// setReserved notes what the store's memtables have allocated, and makes the cache larger by that.
func (m *memory) setReserved(s *Member, n int64) {
	u := &s.mem
	u.mu.Lock()
	defer u.mu.Unlock()
	old := u.reserved.Swap(n)
	if n == old {
		return
	}
	m.reserved.Add(n - old)
	before := u.giveBack
	u.giveBack = nil
	if n > smallestFlush {
		u.giveBack = m.cache.Reserve(int(-n))
	}
	if before != nil {
		before() // last, so that no block is evicted in between
	}
}
