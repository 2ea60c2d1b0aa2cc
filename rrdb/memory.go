package rrdb

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/sirupsen/logrus"

	"pegasus/base/appenv"
)

// memory keeps the memtables of all stores within one budget, by flushing the largest
// early, and keeps them from eating the block cache: Pebble takes what a memtable
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
	requested atomic.Bool  // a flush was asked for and hasn't ended
	crowded   atomic.Bool  // flushes or compactions are behind

	// of the goroutine in balance, and of the one that closes the store
	mu       sync.Mutex
	reserved int64
	giveBack func() // ends the compensation of the cache
}

// smallestFlush is how much a memtable must hold to be worth an early flush.
const smallestFlush = 64 << 10

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
	s.mem.active.Add(n)
	if m.active.Add(n) > m.limit {
		m.poke()
	}
}

// flushBegan is told by Pebble, under its mutex: it must not block.
func (m *memory) flushBegan(s *Store) {
	m.active.Add(-s.mem.active.Swap(0))
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
	return !s.mem.crowded.Load() && s.mem.active.Load() < s.opts.Tuning.memtable(&s.opts.Storage)*3/2
}

// balance measures what changed and asks for flushes if the budget is exceeded.
func (m *memory) balance(stop <-chan struct{}) {
	m.mu.Lock()
	stores := make([]*Store, 0, len(m.stores))
	for s := range m.stores {
		stores = append(stores, s)
	}
	m.mu.Unlock()
	for _, s := range stores {
		if s.mem.dirty.Swap(false) {
			m.measure(s)
		}
	}
	over := m.active.Load() - m.limit
	for _, s := range stores {
		if s.mem.requested.Load() {
			over -= s.mem.active.Load() // about to be flushed
		}
	}
	for over > 0 {
		var largest *Store
		for _, s := range stores {
			if s.mem.requested.Load() {
				continue
			}
			if largest == nil || s.mem.active.Load() > largest.mem.active.Load() {
				largest = s
			}
		}
		if largest == nil || largest.mem.active.Load() < smallestFlush {
			return
		}
		over -= largest.mem.active.Load()
		largest.mem.requested.Store(true)
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
	s.mem.crowded.Store(t.Count > 2 || all.Levels[0].Sublevels > 20 && s.opts.Tuning.Scenario != appenv.BulkLoad)
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
