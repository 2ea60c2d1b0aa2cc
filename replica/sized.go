package replica

import (
	"sync"
	"time"

	"pegasus/base"
)

// sizeAge is for how long the size of a store that was reported counts: asking the engine
// isn't cheap, with thousands of replicas.
const sizeAge = 30 * time.Second

// sized is the size of a store as it was last reported.
type sized struct {
	mu    sync.Mutex
	at    time.Time
	bytes int64
}

// reportedSize returns how many bytes the store has on its disk, as of the last half minute.
func (r *replica) reportedSize() base.Opt[int64] {
	store := r.store.Load()
	if store == nil {
		return base.Opt[int64]{}
	}
	s := &r.sized
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > sizeAge {
		s.bytes, s.at = int64(store.Size()), time.Now()
	}
	return base.Some(s.bytes)
}
