package bulkload

import (
	"maps"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/rrdb"
)

// leftovers are sets of loads that ended while this server was dead, or wasn't reached for long: nobody tells it to forget them any more. So it asks.
type leftovers struct {
	mu   sync.Mutex
	next time.Time
	busy bool
	// clean are the stores that are looked at, or were and had no sets.
	clean map[base.Gpid]*rrdb.Store
}

// made notes that a replica gets a set.
func (f *leftovers) made(g base.Gpid) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clean, g)
}

// toLook says whether a replica's store may have sets, and notes that it has none: before it is looked at, since one may be made meanwhile (made).
func (f *leftovers) toLook(g base.Gpid, s *rrdb.Store) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clean[g] == s {
		return false
	}
	if f.clean == nil {
		f.clean = map[base.Gpid]*rrdb.Store{}
	}
	f.clean[g] = s
	return true
}

// only forgets the replicas that aren't in a list.
func (f *leftovers) only(list []base.Gpid) {
	here := map[base.Gpid]bool{}
	for _, g := range list {
		here[g] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.clean, func(g base.Gpid, _ *rrdb.Store) bool { return !here[g] })
}

// begin says whether it is time to look.
func (f *leftovers) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.busy || now.Before(f.next) {
		return false
	}
	f.busy, f.next = true, now.Add(leftEvery)
	return true
}

func (f *leftovers) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
}
