package engine

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactionSlots shares a fixed number of compactions among all stores of a server.
// When a slot becomes free and several stores wait, the one whose compaction Pebble rates
// most urgent gets it.
//
// Lock order: a store's Pebble mutex, then mu. Hence Pebble is never called with mu held,
// but for GetAllowedWithoutPermission, which takes no lock, and granting is done on a
// goroutine of its own.
type compactionSlots struct {
	mu       sync.Mutex
	called   sync.Cond // a call into a store returned
	max      int
	running  int
	members  map[*slotUser]struct{}
	granting bool
	again    bool // something changed while granting
}

func newCompactionSlots(limit int) *compactionSlots {
	s := &compactionSlots{max: limit, members: map[*slotUser]struct{}{}}
	s.called.L = &s.mu
	return s
}

// member returns the scheduler for one store.
func (s *compactionSlots) member() *slotUser { return &slotUser{slots: s} }

// slotUser is one store's part; it implements pebble.CompactionScheduler.
type slotUser struct {
	slots *compactionSlots

	// under slots.mu
	db      pebble.DBForCompaction
	running int
	waiting bool // refused since the store last had nothing to do
	refused int  // how often; tells whether waiting is newer than an answer
	calls   int  // calls into db in flight
}

// Register implements pebble.CompactionScheduler.
func (u *slotUser) Register(_ int, db pebble.DBForCompaction) {
	u.slots.mu.Lock()
	defer u.slots.mu.Unlock()
	u.db = db
	u.slots.members[u] = struct{}{}
}

// Unregister implements pebble.CompactionScheduler. When it returns nothing calls the
// store any more; compactions that run still give their slots back. It may be called
// again, and for a store that was never registered.
func (u *slotUser) Unregister() {
	s := u.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.members, u)
	u.waiting = false
	for u.calls > 0 {
		s.called.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (u *slotUser) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s := u.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.members[u]; !ok {
		return false, nil
	}
	// While slots are being given away a store stands in the queue like the others:
	// otherwise one that always has work would take its own slot again and again.
	if s.granting || s.running >= s.max || u.running >= u.db.GetAllowedWithoutPermission() {
		u.waiting = true
		u.refused++
		s.again = s.granting
		return false, nil
	}
	s.running++
	u.running++
	return true, slot{u}
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. It is called
// with the store's mutex held.
func (u *slotUser) UpdateGetAllowedWithoutPermission() { u.slots.kick() }

// kick looks for stores that wait, if a slot is free.
func (s *compactionSlots) kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kickLocked()
}

func (s *compactionSlots) kickLocked() {
	if s.granting {
		s.again = true
		return
	}
	if len(s.candidates()) > 0 {
		s.granting = true
		go s.grant()
	}
}

// candidates lists the stores that wait for a slot they may have now.
func (s *compactionSlots) candidates() []*slotUser {
	if s.running >= s.max {
		return nil
	}
	var c []*slotUser
	for u := range s.members {
		if u.waiting && u.running < u.db.GetAllowedWithoutPermission() {
			c = append(c, u)
		}
	}
	return c
}

func (s *compactionSlots) grant() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.again = false
		for s.grantOne() {
		}
		if !s.again {
			break
		}
	}
	s.granting = false
}

// grantOne gives one slot away, if there are a free one and a taker. mu is held, and
// released while a store is called.
func (s *compactionSlots) grantOne() bool {
	var best *slotUser
	var bestWork pebble.WaitingCompaction
	for _, u := range s.candidates() {
		if _, ok := s.members[u]; !ok {
			continue // closed while others were asked
		}
		refused := u.refused
		var waits bool
		var work pebble.WaitingCompaction
		s.call(u, func() { waits, work = u.db.GetWaitingCompaction() })
		switch {
		case !waits:
			if u.refused == refused {
				u.waiting = false
			}
		case best == nil || moreUrgent(work, bestWork):
			best, bestWork = u, work
		}
	}
	if best == nil || s.running >= s.max {
		return false
	}
	if _, ok := s.members[best]; !ok {
		return true // closed meanwhile; look again
	}
	s.running++
	best.running++
	refused := best.refused
	var taken bool
	s.call(best, func() { taken = best.db.Schedule(slot{best}) })
	if !taken {
		s.running--
		best.running--
		if best.refused == refused {
			best.waiting = false
		}
	}
	return true
}

// call runs f, which calls into u's store, without mu.
func (s *compactionSlots) call(u *slotUser, f func()) {
	u.calls++
	s.mu.Unlock()
	f()
	s.mu.Lock()
	u.calls--
	s.called.Broadcast()
}

func moreUrgent(a, b pebble.WaitingCompaction) bool {
	if a.Optional != b.Optional {
		return b.Optional
	}
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.Score > b.Score
}

// counts returns how many compactions run, and how many stores wait for one of theirs.
func (s *compactionSlots) counts() (running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range s.members {
		if u.waiting {
			waiting++
		}
	}
	return s.running, waiting
}

// slot is the permission to run one compaction.
type slot struct{ u *slotUser }

// Started implements pebble.CompactionGrantHandle.
func (slot) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (slot) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (slot) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle.
func (h slot) Done() {
	s := h.u.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	h.u.running--
	s.kickLocked()
}
