package receive

import (
	"sync"
	"sync/atomic"
	"time"

	"pegasus/metrics"
	"pegasus/rrdb"
)

// Lagging is from how long after it was made on a write counts as late, as upstream's default.
const Lagging = 10 * time.Second

var (
	writes = metrics.Define(metrics.Replica, "dup_requests", metrics.Counter, "requests", "Writes of other clusters that arrived.").
		Worry("It stops while the other cluster writes.")
	lag = metrics.Define(metrics.Replica, "dup_time_lag_ms", metrics.Percentile, "milliseconds",
		"Time from a write in another cluster to its proposal here, by the clocks of both, of the oldest write of each request.").
		Worry("Longer than you may lose if the other cluster dies.")
	lagging = metrics.Define(metrics.Replica, "dup_lagging_writes", metrics.Counter, "requests", "Writes of other clusters that arrived more than 10 s after they were made.").
		Worry("It grows: the way from the other cluster is slow.")
	stale = metrics.Define(metrics.Replica, "dup_stale_rows", metrics.Counter, "rows", "Rows that a write of another cluster didn't change, because a later write of the row was there.").
		Worry("Never by itself: both clusters wrote the same rows.")
	lost = metrics.Define(metrics.Replica, "dup_lost_writes", metrics.Counter, "requests",
		"Writes of other clusters that can't be applied: damaged, or of a kind that isn't sent to other clusters, or too large; each once, however often it is sent. The clusters differ from then on; the log says why.").
		Worry("Any: the clusters differ. Compare the tables, see docs/operate/duplication.md.")
	misrouted = metrics.Define(metrics.Replica, "dup_misrouted_writes", metrics.Counter, "requests", "Writes of other clusters that came to a partition that they don't belong to, and went on to theirs: the table there has another number of partitions.")
	divided   = metrics.Define(metrics.Replica, "dup_divided_requests", metrics.Counter, "requests", "Requests with writes of other clusters that were taken apart: for other partitions, or too large for one mutation.")
	failed    = metrics.Define(metrics.Replica, "dup_divided_failed_requests", metrics.Counter, "requests", "Of dup_divided_requests, those of which a part wasn't applied in time; their senders try again.").
			Worry("It grows for minutes.")
	own = metrics.Define(metrics.Replica, "dup_own_writes", metrics.Counter, "requests", "Writes that arrived with this cluster's own number (cluster.id), and were left out.").
		Worry("Any: two clusters have one cluster.id.")
	future = metrics.Define(metrics.Replica, "dup_future_writes", metrics.Counter, "requests", "Writes of other clusters that were made more than an hour in the future, by this cluster's clock.").
		Worry("Any: the clocks of the clusters differ.")
)

// Counts are what a replica has received since it was opened. The zero value is ready.
type Counts struct {
	writes, lagging, stale, lost, misrouted, own, future, divided, failed atomic.Int64
	lag                                                                   atomic.Pointer[metrics.Times]
	lostOnce                                                              once
}

// once tells what is new. It remembers the last onceIDs.
type once struct {
	mu   sync.Mutex
	seen map[uint64]struct{}
	ids  []uint64 // of seen, a ring
	next int
}

const onceIDs = 4096

// new counts those that it doesn't remember, and remembers them.
func (o *once) new(ids []uint64) (n int64) {
	if len(ids) == 0 {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[uint64]struct{}{}
	}
	for _, id := range ids {
		if _, ok := o.seen[id]; ok {
			continue
		}
		n++
		o.seen[id] = struct{}{}
		if len(o.ids) < onceIDs {
			o.ids = append(o.ids, id)
			continue
		}
		delete(o.seen, o.ids[o.next])
		o.ids[o.next] = id
		o.next = (o.next + 1) % onceIDs
	}
	return n
}

func (c *Counts) add(d *rrdb.Duplicated, now time.Time) {
	c.writes.Add(int64(d.Writes))
	us := now.UnixMicro()
	oldest := us
	for _, ts := range d.TimestampsUS {
		oldest = min(oldest, ts)
		if us-ts > Lagging.Microseconds() {
			c.lagging.Add(1)
		}
	}
	c.stale.Add(int64(d.Stale))
	c.lost.Add(c.lostOnce.new(d.LostIDs))
	c.own.Add(int64(d.Own))
	c.future.Add(int64(d.Future))
	if len(d.TimestampsUS) == 0 {
		return
	}
	s := c.lag.Load()
	if s == nil {
		s = metrics.Longer()
		if !c.lag.CompareAndSwap(nil, s) {
			s = c.lag.Load()
		}
	}
	s.Add(time.Duration(us-oldest) * time.Microsecond)
}

// Collect adds the metrics of the replica to its entity.
func (c *Counts) Collect(e *metrics.Entity) {
	e.Set(writes, c.writes.Load())
	e.Set(lagging, c.lagging.Load())
	e.Set(stale, c.stale.Load())
	e.Set(lost, c.lost.Load())
	e.Set(misrouted, c.misrouted.Load())
	e.Set(divided, c.divided.Load())
	e.Set(failed, c.failed.Load())
	e.Set(own, c.own.Load())
	e.Set(future, c.future.Load())
	e.SetTimes(lag, c.lag.Load())
}
