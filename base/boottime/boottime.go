package boottime

import (
	"sync/atomic"
	"time"
)

const (
	// tolerance is by how much the wall clock may move against the monotonic one unnoticed.
	tolerance = 5 * time.Millisecond
	// bracket is within which time both clocks have to be read to be compared.
	bracket = time.Millisecond
)

// clock is the boot clock, made of others.
type clock struct {
	// coarse returns the wall clock in Unix nanoseconds and the monotonic clock; boot the boot
	// clock.
	coarse func() (wall int64, mono time.Duration)
	boot   func() time.Duration
	seen   atomic.Pointer[relation]
}

// relation is how the clocks stood to each other.
type relation struct {
	wall  int64         // the wall clock less the monotonic one
	ahead time.Duration // the boot clock less the monotonic one
}

var (
	origin = time.Now()
	system = &clock{coarse: coarse, boot: boot}
)

func coarse() (int64, time.Duration) {
	t := time.Now()
	return t.UnixNano(), t.Sub(origin)
}

// Now returns the time since the machine was started, suspends included. It takes twice as long as
// time.Since.
func Now() time.Duration { return system.now() }

// Refresh looks at all clocks anew.
func Refresh() { system.refresh() }

func (c *clock) now() time.Duration {
	if r := c.seen.Load(); r != nil {
		wall, mono := c.coarse()
		if d := wall - int64(mono) - r.wall; -int64(tolerance) < d && d < int64(tolerance) {
			return mono + r.ahead
		}
	}
	return c.refresh()
}

// refresh returns the boot clock's time, and remembers how the clocks stand if they could be read
// together: the thread may have been interrupted between two of them.
func (c *clock) refresh() time.Duration {
	for try := 0; ; try++ {
		wall, before := c.coarse()
		now := c.boot()
		_, after := c.coarse()
		if after-before < bracket {
			c.seen.Store(&relation{wall - int64(before), now - before})
			return now
		}
		if try == 3 {
			c.seen.Store(nil)
			return c.boot()
		}
	}
}
