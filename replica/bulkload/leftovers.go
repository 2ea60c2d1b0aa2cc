package bulkload

import (
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
	// clean are the stores that were looked at, and had no sets.
	clean map[base.Gpid]*rrdb.Store
}

// made notes that a replica gets a set.
func (f *leftovers) made(g base.Gpid) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clean, g)
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
