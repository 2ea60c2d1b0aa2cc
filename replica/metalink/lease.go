package metalink

import (
	"sync/atomic"
	"time"

	"pegasus/base/boottime"
)

// Lease is the node's permission to serve, granted by the meta leader's acknowledgement of
// a beacon and counted from when the beacon was sent, on the boot clock: the meta's time goes on
// while this machine is suspended.
//
// A lease that has run out is not simply renewed. The meta may have declared the node dead
// meanwhile and given its roles to others; so the node first learns the configuration as it
// is after the beacon, and only then serves again (Resume). While the lease is unbroken the
// meta can't have done that: it waits for longer than a lease.
type Lease struct {
	now    func() time.Duration
	until  atomic.Int64 // what now returns then
	length time.Duration
	lapsed atomic.Bool
	epoch  atomic.Int64
	// over: the server stops, and serves no more.
	over atomic.Bool
}

// NewLease returns a lease of that length, which isn't granted yet.
func NewLease(length time.Duration) *Lease {
	l := &Lease{now: boottime.Now, length: length}
	l.lapsed.Store(true)
	return l
}

// Valid tells whether the node may serve at this moment.
func (l *Lease) Valid() bool { return int64(l.now()) < l.until.Load() && !l.over.Load() }

// Lost tells whether the lease is known to be over, at no cost: it may be over all the same.
func (l *Lease) Lost() bool { return l.lapsed.Load() || l.over.Load() }

// End gives the lease up for good: a port that refuses connections is taken for a dead
// process, so it must not be closed while the node could still answer.
func (l *Lease) End() { l.over.Store(true) }

// Ended tells that it was given up.
func (l *Lease) Ended() bool { return l.over.Load() }

// Epoch changes when the lease is found to have run out, and when it begins anew. What the meta
// was asked in one epoch says nothing in another.
func (l *Lease) Epoch() int64 { return l.epoch.Load() }

// Renew extends the lease on account of a beacon that was sent at sent, which l.now returned, and
// is acknowledged by now. It reports false if the lease had run out before: see Resume.
func (l *Lease) Renew(sent time.Duration) bool {
	now := int64(l.now())
	for {
		old := l.until.Load()
		if l.lapsed.Load() || now >= old {
			if !l.lapsed.Swap(true) {
				l.epoch.Add(1)
			}
			return false
		}
		until := int64(sent + l.length)
		if until <= old || l.until.CompareAndSwap(old, until) {
			return true
		}
	}
}

// Resume begins a lease anew, on account of a beacon that was sent at sent. The node has
// since taken over the configuration that held after the acknowledgement.
func (l *Lease) Resume(sent time.Duration) {
	l.epoch.Add(1)
	l.until.Store(int64(sent + l.length))
	l.lapsed.Store(false)
}
