package rrdb

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/sirupsen/logrus"

	"pegasus/base/appenv"
)

// memory keeps the memtables of all stores within one budget. It looks at what they have
// allocated: the largest are flushed early, also idle ones that keep a large empty memtable,
// and the next memtable of a store is made as large as what the last one held, so that
// memtables shrink with the number of stores that are written to (see memtablesize.go). If
// flushes can't keep up, writes wait. It also keeps them from eating the block cache: Pebble takes what a memtable
// allocates off its cache's size, which is right for one instance and ruinous for a
// hundred on one cache. Here both have budgets of their own, so the cache is given back
// what the memtables took.
type memory struct {
	limit    int64
	cache    *pebble.Cache
	log      *logrus.Entry
	active   atomic.Int64 // sum of the stores' active
	reserved atomic.Int64 // sum of the stores' reserved
	wake     chan struct{}

	mu     sync.Mutex
	stores map[*Store]struct{}
}

// memtableUse is one store's part.
type memtableUse struct {
	active    atomic.Int64 // bytes applied since the last flush began
	dirty     atomic.Bool  // memtables came or went since reserved was measured
	measured  atomic.Int64 // active when reserved was measured
	requested atomic.Bool  // a flush was asked for and hasn't ended
	crowded   atomic.Bool  // flushes or compactions are behind
	awaited   atomic.Int32 // calls that wait for a flush
	flushing  flushTempo
	// reservedNow is what memtables had allocated when it was measured last.
	reservedNow atomic.Int64
	// engine is set when it is open.
	engine atomic.Pointer[pebble.DB]

	// of the goroutine in balance: see asked
	again  time.Time
	wait   time.Duration
	before int64

	// of the goroutine in balance, and of the one that closes the store
	mu       sync.Mutex
	reserved int64
	giveBack func() // ends the compensation of the cache
}

// smallestFlush is how much a memtable must hold to be worth an early flush.
const smallestFlush = 64 << 10

const (
	// smallestArena is what Pebble allocates for a memtable at least. A store that has only
	// this isn't worth flushing for the sake of what it has allocated.
	smallestArena = 256 << 10
	// measureEvery is after how many bytes a store is measured again.
	measureEvery = 512 << 10
)

// rowOverhead is about what the skip list adds to a row.
const rowOverhead = 64

func newMemory(limit int64, cache *pebble.Cache, log *logrus.Entry) *memory {
	return &memory{limit: max(limit, 1<<20), cache: cache, log: log,
		wake: make(chan struct{}, 1), stores: map[*Store]struct{}{}}
}

func (m *memory) join(s *Store) {
	m.mu.Lock()
	m.stores[s] = struct{}{}
	m.mu.Unlock()
	s.mem.dirty.Store(true)
	m.poke()
}

func (m *memory) leave(s *Store) {
	m.mu.Lock()
	delete(m.stores, s)
	m.mu.Unlock()
	m.active.Add(-s.mem.active.Swap(0))
	m.setReserved(s, 0)
}

// all returns the stores that are open.
func (m *memory) all() []*Store {
	m.mu.Lock()
	defer m.mu.Unlock()
	stores := make([]*Store, 0, len(m.stores))
	for s := range m.stores {
		stores = append(stores, s)
	}
	return stores
}

// applied counts n bytes into the store's memtable.
func (m *memory) applied(s *Store, n int64) {
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

// full tells whether memtables take so much more than their budget that writes must wait
// for flushes.
func (m *memory) full() bool {
	return nextSizeAt >= 0 && m.reserved.Load() > m.limit+m.limit/2
}

// fullest is how long a write waits for flushes at most. It goes on then: flushes may be
// impossible, which is told elsewhere.
const fullest = 100 * time.Millisecond

// admit makes a write wait while memtables take too much.
func (m *memory) admit(s *Store) {
	if !m.full() || s.mem.reservedNow.Load() <= 2*smallestArena {
		return
	}
	m.poke()
	const look = 5 * time.Millisecond
	t := time.NewTicker(look)
	defer t.Stop()
	for range int(fullest / look) {
		select {
		case <-t.C:
		case <-s.closed:
			return
		}
		if !m.full() {
			return
		}
	}
}

// flushBegan is told by Pebble, under its mutex: it must not block.
func (m *memory) flushBegan(s *Store) {
	held := s.mem.active.Swap(0)
	s.mem.flushing.begin(time.Now(), held)
	s.mem.measured.Store(0)
	m.active.Add(-held)
	s.sizeMemtable(held, m.reserved.Load() > m.limit/4*3)
	s.mem.dirty.Store(true)
	m.poke()
}

// flushEnded is told by Pebble, under its mutex.
func (m *memory) flushEnded(s *Store) {
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

// Calm tells that Apply will not have to wait for a flush or a compaction, as far as that
// can be told without asking the engine: it may be called from where nothing may wait.
func (s *Store) Calm() bool {
	return !s.mem.crowded.Load() && !s.shared.memory.full() && s.mem.active.Load() < s.memtableBytes()*3/2
}

// balance measures what changed and asks for flushes if the budget is exceeded.
func (m *memory) balance(stop <-chan struct{}) {
	stores := m.all()
	for _, s := range stores {
		if s.mem.dirty.Swap(false) {
			m.measure(s)
		}
	}
	m.flushLargest(stores, stop, m.active.Load()-m.limit, smallestFlush, func(s *Store) int64 { return s.mem.active.Load() })
	if nextSizeAt < 0 {
		return
	}
	now := time.Now()
	m.flushLargest(stores, stop, m.reserved.Load()-m.limit, 2*smallestArena+1, func(s *Store) int64 {
		if now.Before(s.mem.again) {
			return 0
		}
		return s.mem.reservedNow.Load()
	})
}

// asked notes that a flush of s was asked for. A store that flushes don't make smaller is left
// alone for longer and longer.
func (u *memtableUse) asked(now time.Time) {
	n := u.reservedNow.Load()
	if n < u.before || u.wait == 0 {
		u.wait = time.Millisecond
	} else {
		u.wait = min(2*u.wait, 10*time.Second)
	}
	u.before, u.again = n, now.Add(u.wait)
}

// flushLargest asks for flushes until as much is on its way as the budget is exceeded by, of
// stores with at least the least, the largest first.
func (m *memory) flushLargest(stores []*Store, stop <-chan struct{}, over, least int64, size func(*Store) int64) {
	for _, s := range stores {
		if over > 0 && s.mem.requested.Load() {
			over -= size(s) // about to be flushed
		}
	}
	for over > 0 {
		var largest *Store
		for _, s := range stores {
			if !s.mem.requested.Load() && (largest == nil || size(s) > size(largest)) {
				largest = s
			}
		}
		if largest == nil || size(largest) < least {
			return
		}
		over -= size(largest)
		largest.mem.requested.Store(true)
		largest.mem.asked(time.Now())
		select {
		case <-stop:
			return
		default:
			// On a goroutine of its own: it waits while the store's writes are stalled.
			go largest.flushEarly()
		}
	}
}

func (m *memory) measure(s *Store) {
	if !s.enter() {
		return
	}
	defer s.leave()
	all := s.db.Metrics()
	t := all.MemTable
	m.setReserved(s, int64(t.Size+t.ZombieSize))
	// The engine lets small memtables gather until a flush of them is worth it, so their number
	// says nothing: more than one to write into and one being flushed is too much.
	s.mem.crowded.Store(int64(t.Size) > 2*s.memtableBytes() || all.Levels[0].Sublevels > 20 && s.opts.Tuning.Scenario != appenv.BulkLoad)
}

// setReserved notes what the store's memtables have allocated, and makes the cache larger
// by as much.
func (m *memory) setReserved(s *Store, n int64) {
	u := &s.mem
	u.mu.Lock()
	defer u.mu.Unlock()
	if n == u.reserved {
		return
	}
	m.reserved.Add(n - u.reserved)
	u.reservedNow.Store(n)
	u.reserved = n
	before := u.giveBack
	u.giveBack = nil
	if n > smallestFlush {
		u.giveBack = m.cache.Reserve(int(-n))
	}
	if before != nil {
		before() // last, so that nothing is evicted in between
	}
}
