package backup

import (
	"context"
	"slices"
	"sync"
)

// slots bounds how many do something at a time. Who waits longest is next.
type slots struct {
	mu      sync.Mutex
	most    int
	used    int
	waiting []chan struct{}
}

func newSlots(most int) *slots { return &slots{most: max(1, most)} }

// set changes how many there are. None is taken from who has it.
func (s *slots) set(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = max(1, most)
	s.hand()
}

// hand gives free slots to who waits. The caller holds mu.
func (s *slots) hand() {
	for s.used < s.most && len(s.waiting) > 0 {
		s.used++
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
}

// take returns with a slot, which free gives back, or with an error when ctx ends.
func (s *slots) take(ctx context.Context) error {
	s.mu.Lock()
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	s.hand()
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, turn); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // it came meanwhile
		s.used--
		s.hand()
	}
	return context.Cause(ctx)
}

func (s *slots) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	s.hand()
}

// limit returns how many slots there are.
func (s *slots) limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}
