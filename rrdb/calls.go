package rrdb

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// calls counts the calls into a store's Pebble, so that it is closed only when none is in progress.
type calls struct {
	refs        atomic.Int64 // calls in progress; closing is added once
	closeCalled atomic.Bool
	closed      chan struct{} // closed when the store begins to close
	drained     chan struct{} // closed when no call is in progress after that
	drainOnce   sync.Once
}

const closing = math.MinInt64 / 2

func (c *calls) init() { c.closed, c.drained = make(chan struct{}), make(chan struct{}) }

// enter begins a call; false means that the store is being closed.
func (c *calls) enter() bool {
	if c.refs.Add(1) > 0 {
		return true
	}
	c.leave()
	return false
}

// leave ends a call.
func (c *calls) leave() {
	if c.refs.Add(-1) == closing {
		c.drainOnce.Do(func() { close(c.drained) })
	}
}

// shut makes enter return false from now on. It reports false if it was called before.
func (c *calls) shut() bool {
	if c.closeCalled.Swap(true) {
		return false
	}
	close(c.closed)
	if c.refs.Add(closing) == closing {
		c.drainOnce.Do(func() { close(c.drained) })
	}
	return true
}

// drain waits until all calls have ended, but no longer than timeout. It reports whether they have.
func (c *calls) drain(timeout time.Duration) bool {
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-c.drained:
		return true
	case <-t.C:
		return false
	}
}
