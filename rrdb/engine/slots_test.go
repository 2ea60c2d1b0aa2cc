package engine

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// fakeDB is a store with compactions to do.
type fakeDB struct {
	mu       sync.Mutex
	work     int
	priority int
	allowed  int
	waiting  bool
	started  func(db *fakeDB, h pebble.CompactionGrantHandle)
}

func (f *fakeDB) GetAllowedWithoutPermission() int { return f.allowed }

func (f *fakeDB) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = f.waiting && f.work > 0
	return f.waiting, pebble.WaitingCompaction{Priority: f.priority}
}

func (f *fakeDB) Schedule(h pebble.CompactionGrantHandle) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.work == 0 {
		f.waiting = false
		return false
	}
	f.work--
	f.started(f, h)
	return true
}

// schedule is what Pebble does when it may have work: start what it may, then wait.
func (f *fakeDB) schedule(u *slotUser) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.waiting && f.work > 0 {
		ok, h := u.TrySchedule()
		if !ok {
			f.waiting = true
			return
		}
		f.work--
		f.started(f, h)
	}
}

func TestCompactionSlots(t *testing.T) {
	type running struct {
		db *fakeDB
		h  pebble.CompactionGrantHandle
	}
	started := make(chan running, 100)
	start := func(db *fakeDB, h pebble.CompactionGrantHandle) { started <- running{db, h} }
	slots := newCompactionSlots(2)
	var dbs []*fakeDB
	var users []*slotUser
	for i := range 4 {
		db := &fakeDB{work: 5, priority: i, allowed: 2, started: start}
		u := slots.member()
		u.Register(2, db)
		dbs, users = append(dbs, db), append(users, u)
	}
	next := func() running {
		t.Helper()
		select {
		case r := <-started:
			return r
		case <-time.After(time.Minute):
			t.Fatal("no compaction is started")
			panic("unreachable")
		}
	}
	dbs[0].schedule(users[0])
	a, b := next(), next()
	if a.db != dbs[0] || b.db != dbs[0] {
		t.Fatal("the first store should have both slots")
	}
	for i := 1; i < 4; i++ {
		dbs[i].schedule(users[i])
	}
	if len(started) != 0 {
		t.Fatal("a third slot was given")
	}
	// Freed slots go to the most urgent, also when the one that frees asks at once.
	a.h.Done()
	dbs[0].schedule(users[0])
	if a = next(); a.db != dbs[3] {
		t.Errorf("a slot went to the store of priority %d", a.db.priority)
	}
	// A store that may have only one more gets no more.
	dbs[3].allowed = 1
	b.h.Done()
	if b = next(); b.db != dbs[2] {
		t.Errorf("a slot went to the store of priority %d", b.db.priority)
	}
	// Until it may again.
	dbs[3].allowed = 2
	b.h.Done()
	if b = next(); b.db != dbs[3] {
		t.Errorf("a slot went to the store of priority %d", b.db.priority)
	}
	// A store that is gone isn't called any more, and gives back what it had.
	users[3].Unregister()
	users[3].Unregister()
	a.h.Done()
	b.h.Done()
	seen := map[int]int{}
	for range 5 + 4 + 3 { // of the three that are left, less what ran
		r := next()
		seen[r.db.priority]++
		r.h.Done()
	}
	if seen[3] != 0 || seen[0] != 3 || seen[1] != 5 || seen[2] != 4 {
		t.Errorf("compactions by priority: %v", seen)
	}
	waitFor(t, "slots to be free", func() bool {
		slots.mu.Lock()
		defer slots.mu.Unlock()
		return slots.running == 0 && !slots.granting
	})
	slots.member().Unregister() // never registered
}

// waitFor waits for a condition that comes about by itself.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("waited a minute for: %s", what)
		case <-tick.C:
		}
	}
}
