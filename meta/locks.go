package meta

import "sync"

// rank is a lock's place in the order in which locks are taken, see doc.go.
type rank uint8

const (
	rankChanging rank = 1 + iota // Server.changing
	rankLeader                   // term.mu
	rankState                    // fsm.mu
	rankLeaf                     // changeQueue.mu, overrides.mu, room.mu, waitingRoom.mu, Server.reloading
)

// mutex is a sync.Mutex that knows its rank. A build with the tag invariants panics where a
// goroutine takes one of a rank that isn't above all that it holds.
type mutex struct {
	rank rank
	mu   sync.Mutex
}

// Lock takes the mutex.
func (m *mutex) Lock() {
	entering(m.rank)
	m.mu.Lock()
}

// TryLock takes the mutex if it is free.
func (m *mutex) TryLock() bool {
	ok := m.mu.TryLock()
	if ok {
		entering(m.rank)
	}
	return ok
}

// Unlock releases the mutex.
func (m *mutex) Unlock() {
	m.mu.Unlock()
	leaving(m.rank)
}

// rwMutex is a sync.RWMutex that knows its rank. Readers nest no more than writers: a writer
// that waits between two reads of one goroutine would stop all three for ever.
type rwMutex struct {
	rank rank
	mu   sync.RWMutex
}

// Lock takes the mutex for writing.
func (m *rwMutex) Lock() {
	entering(m.rank)
	m.mu.Lock()
}

// Unlock releases what Lock took.
func (m *rwMutex) Unlock() {
	m.mu.Unlock()
	leaving(m.rank)
}

// RLock takes the mutex for reading.
func (m *rwMutex) RLock() {
	entering(m.rank)
	m.mu.RLock()
}

// RUnlock releases what RLock took.
func (m *rwMutex) RUnlock() {
	m.mu.RUnlock()
	leaving(m.rank)
}
