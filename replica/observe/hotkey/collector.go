package hotkey

import (
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// State is where a detection is.
type State int32

// The states.
const (
	Stopped  State = iota
	Coarse         // looks for a bucket of keys that stands out
	Fine           // looks for a key of that bucket
	Finished       // found one
)

// String returns upstream's name of the state.
func (s State) String() string {
	return "hotkey_collector_state::" + [...]string{"STOPPED", "COARSE_DETECTING", "FINE_DETECTING", "FINISHED"}[s]
}

const (
	buckets = 37   // upstream's number of buckets
	maxKeys = 1000 // distinct keys that the second phase counts between two analyses
	minKeys = 3    // fewer keys than that aren't compared, the heaviest is it
)

// Limits decide when something is hot.
type Limits struct {
	// Bucket and Key are how many standard deviations a bucket of keys, and a key in it,
	// must be above the mean of the others.
	Bucket, Key float64
	Interval    time.Duration // between two analyses
	GiveUp      time.Duration // after the start
}

// EnsureDefaults replaces what isn't set.
func (l *Limits) EnsureDefaults() {
	if l.Bucket == 0 {
		l.Bucket = 7
	}
	if l.Key == 0 {
		l.Key = 5
	}
	if l.Interval == 0 {
		l.Interval = 10 * time.Second
	}
	if l.GiveUp == 0 {
		l.GiveUp = 150 * time.Second
	}
}

// Validate returns an error if a detection could never end.
func (l *Limits) Validate() error {
	if min(l.Bucket, l.Key) < 0 || min(l.Interval, l.GiveUp) < 0 {
		return fmt.Errorf("limits of a detection of hot keys must not be negative: %+v", *l)
	}
	return nil
}

// Collector is a detection as upstream has it. The zero value is a stopped one.
type Collector struct {
	state  atomic.Int32
	coarse [buckets]atomic.Int64

	mu      sync.Mutex
	bucket  uint64
	fine    map[string]int64
	started time.Time
	looked  time.Time
	found   []byte
}

// State returns where the detection is.
func (c *Collector) State() State { return State(c.state.Load()) }

// Active tells whether Capture wants to see requests. It costs an atomic load.
func (c *Collector) Active() bool {
	s := State(c.state.Load())
	return s == Coarse || s == Fine
}

// Capture counts a request for weight rows of a hash key.
func (c *Collector) Capture(key []byte, weight int) {
	b := maphash.Bytes(seed, key) % buckets
	switch State(c.state.Load()) {
	case Coarse:
		c.coarse[b].Add(int64(max(weight, 1)))
	case Fine:
		if !c.mu.TryLock() {
			return
		}
		if State(c.state.Load()) == Fine && b == c.bucket {
			if n, ok := c.fine[string(key)]; ok || len(c.fine) < maxKeys {
				c.fine[string(key)] = n + int64(max(weight, 1))
			}
		}
		c.mu.Unlock()
	}
}

// Start begins a detection, unless one is under way or has a result. It returns the state
// before.
func (c *Collector) Start(now time.Time) State {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.State()
	if was == Stopped {
		c.clear()
		c.started, c.looked = now, now
		c.state.Store(int32(Coarse))
	}
	return was
}

// Stop ends a detection and forgets its result.
func (c *Collector) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Store(int32(Stopped))
	c.clear()
}

func (c *Collector) clear() {
	for i := range c.coarse {
		c.coarse[i].Store(0)
	}
	c.fine, c.found = nil, nil
}

// Result returns the hot hash key; ok is false if none was found.
func (c *Collector) Result() (key []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found, c.State() == Finished
}

// Analyse is to be called every second or so. It returns what is to be logged, if anything.
func (c *Collector) Analyse(now time.Time, l Limits) (news string) {
	if !c.Active() {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.Active():
		return ""
	case now.Sub(c.started) >= l.GiveUp:
		c.state.Store(int32(Stopped))
		c.clear()
		return fmt.Sprintf("no hot key was found within %v", l.GiveUp)
	case now.Sub(c.looked) < l.Interval:
		return ""
	}
	c.looked = now
	if c.State() == Coarse {
		var n [buckets]int64
		for i := range n {
			n[i] = c.coarse[i].Swap(0)
		}
		if i, hot := outlier(n[:], l.Bucket); hot {
			c.bucket, c.fine = uint64(i), map[string]int64{}
			c.state.Store(int32(Fine))
		}
		return ""
	}
	keys, n := make([]string, 0, len(c.fine)), make([]int64, 0, len(c.fine))
	for k, v := range c.fine {
		keys, n = append(keys, k), append(n, v)
	}
	c.fine = map[string]int64{}
	if len(n) == 0 {
		return ""
	}
	i, hot := outlier(n, l.Key)
	if len(n) < minKeys {
		hot = true
	}
	if !hot {
		return ""
	}
	c.found, c.fine = []byte(keys[i]), nil
	c.state.Store(int32(Finished))
	return fmt.Sprintf("hot key found, with %d of the requests of the last %v", n[i], l.Interval)
}

// outlier returns the place of the largest number, and whether it is so many standard
// deviations above the mean of the others.
func outlier(n []int64, limit float64) (at int, hot bool) {
	sum := 0.0
	for i, v := range n {
		sum += float64(v)
		if v > n[at] {
			at = i
		}
	}
	if len(n) < minKeys {
		return at, false
	}
	top := float64(n[at])
	mean := (sum - top) / float64(len(n)-1)
	squares := 0.0
	for i, v := range n {
		if i != at {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
	}
	deviation := math.Sqrt(squares / float64(len(n)-2))
	if deviation == 0 {
		return at, top > mean
	}
	return at, (top-mean)/deviation >= limit
}
