package hotkey

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Every is of how many requests one is looked at.
	Every = 16
	// cells is how many keys a sketch follows. One that has more than 1/cells of the
	// requests is among them for certain (space-saving, Metwally et al. 2005).
	cells = 16
	// longest is how much of a key is kept.
	longest = 256
)

var seed = maphash.MakeSeed()

// Key is a hash key that stands out.
type Key struct {
	Key []byte // at most 256 bytes of it
	// PerSecond is an estimate of its rows a second, never less than there were but for the
	// sampling; of this Over may be another key's.
	PerSecond, Over float64
	Share           float64 // of all rows of the partition, 0 to 1
}

// Top is what a sketch saw in a span of time.
type Top struct {
	Until     time.Time
	PerSecond float64 // rows of all keys
	Keys      []Key   // the heaviest first
}

// Sketch follows the heaviest of the keys it is shown. The zero value is ready.
type Sketch struct {
	live atomic.Pointer[counters]
	top  atomic.Pointer[Top]
}

type counters struct {
	mu    sync.Mutex
	since time.Time
	total int64
	n     int
	hash  [cells]uint64
	count [cells]int64
	over  [cells]int64
	key   [cells][]byte
}

// Sampled tells whether a request is one of those to be shown to Add.
func Sampled() bool { return rand.Uint32()%Every == 0 }

// Add counts a sampled request for weight rows of a hash key.
func (s *Sketch) Add(key []byte, weight int) {
	c := s.live.Load()
	if c == nil {
		c = &counters{since: time.Now()}
		if !s.live.CompareAndSwap(nil, c) {
			c = s.live.Load()
		}
	}
	if !c.mu.TryLock() {
		return
	}
	c.add(maphash.Bytes(seed, key), key, int64(weight))
	c.mu.Unlock()
}

func (c *counters) add(hash uint64, key []byte, w int64) {
	c.total += w
	lowest := 0
	for i := range c.n {
		if c.hash[i] == hash {
			c.count[i] += w
			return
		}
		if c.count[i] < c.count[lowest] {
			lowest = i
		}
	}
	if c.n < cells {
		lowest = c.n
		c.n++
		c.count[lowest] = 0
	}
	c.over[lowest] = c.count[lowest]
	c.count[lowest] += w
	c.hash[lowest] = hash
	c.key[lowest] = append(c.key[lowest][:0], key[:min(len(key), longest)]...)
}

// Turn ends a span: what was counted since the last one is what Top returns from now on.
func (s *Sketch) Turn(now time.Time) {
	c := s.live.Load()
	if c == nil {
		return
	}
	c.mu.Lock()
	t := c.read(now)
	c.mu.Unlock()
	s.top.Store(t)
}

func (c *counters) read(now time.Time) *Top {
	span := max(now.Sub(c.since).Seconds(), 1e-3)
	t := &Top{Until: now, PerSecond: float64(c.total) * Every / span}
	for i := range c.n {
		t.Keys = append(t.Keys, Key{Key: slices.Clone(c.key[i]), PerSecond: float64(c.count[i]) * Every / span,
			Over: float64(c.over[i]) * Every / span, Share: float64(c.count[i]) / float64(max(c.total, 1))})
	}
	slices.SortStableFunc(t.Keys, func(a, b Key) int {
		switch {
		case a.PerSecond > b.PerSecond:
			return -1
		case a.PerSecond < b.PerSecond:
			return 1
		}
		return 0
	})
	c.since, c.total, c.n = now, 0, 0
	return t
}

// Top returns what the last span saw; nothing before the first one has ended.
func (s *Sketch) Top() Top {
	if t := s.top.Load(); t != nil {
		return *t
	}
	return Top{}
}
