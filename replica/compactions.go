package replica

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"pegasus/base/appenv"
	"pegasus/gen/metadata"
)

// compactions are the manual compactions of one replica: those that the table's settings
// demand at some time.
type compactions struct {
	mu    sync.Mutex
	plan  appenv.Compact
	times []time.Duration // of day
	since time.Time       // when the times were set; those before then are past
	state metadata.ManualCompactionStatus
	made  time.Time
	// Of the latest.
	enqueued, started, finished time.Time // zero: not yet
	used                        time.Duration
}

// setCompactions takes the table's settings, and when the last compaction ended, as they are
// in info.
func (r *driver) setCompactions() {
	s, _ := appenv.Parse(r.info.Envs)
	c := &r.compactions
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan, c.times = s.Compact, appenv.TimesOfDay(s.Compact.Periodic)
	c.made, c.since = time.UnixMilli(r.info.Made), time.UnixMilli(r.info.TimesSet)
	if last := r.info.Compacted; last > 0 && c.finished.IsZero() {
		c.finished = time.UnixMilli(last)
	}
}

// due tells whether a compaction should begin: once after a moment, or after a time of day.
// One that ended later than that counts for it.
func (c *compactions) due(now time.Time) bool {
	if c.plan.Disabled {
		return false
	}
	last := c.last(now)
	if once := time.Unix(c.plan.Once, 0); c.plan.Once > 0 && once.After(last) && !once.After(now) {
		return true
	}
	return c.timeOfDay(now).After(last)
}

// last returns when the last compaction ended, or if none did since, when the replica was made.
// What is later than now was noted by a clock that was wrong, and would forbid compactions until
// then: it counts for nothing.
func (c *compactions) last(now time.Time) (last time.Time) {
	for _, at := range [...]time.Time{c.finished, c.made} {
		if at.After(last) && !fromWrongClock(at, now) {
			last = at
		}
	}
	return last
}

// demanded returns the latest moment, up to now, for which the table's settings demand a
// compaction; the zero time if they demand none.
func (c *compactions) demanded(now time.Time) (latest time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan.Disabled {
		return latest
	}
	if once := time.Unix(c.plan.Once, 0); c.plan.Once > 0 && !once.After(now) {
		latest = once
	}
	if at := c.timeOfDay(now); at.After(latest) {
		latest = at
	}
	return latest
}

// look puts the replica in the queue if a compaction is due, and takes it out if it isn't
// any more. It tells whether one may begin, and how many of the table at most.
func (c *compactions) look(now time.Time) (waits bool, most int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.due(now)
	switch {
	case c.state == metadata.RUNNING:
		return false, 0
	case due && c.state != metadata.QUEUING:
		c.state, c.enqueued = metadata.QUEUING, now
	case !due && c.state == metadata.QUEUING:
		c.state = metadata.IDLE
	}
	return due, c.plan.Running
}

func (c *compactions) begin(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state, c.started = metadata.RUNNING, now
}

func (c *compactions) end(now time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.state = metadata.IDLE // it stays due
		return
	}
	c.state, c.finished, c.used = metadata.FINISHED, now, now.Sub(c.started)
}

func (c *compactions) status() metadata.ManualCompactionStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// describe answers the remote command replica.query-compact.
func (c *compactions) describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Format("2006-01-02 15:04:05.000")
	}
	used := "-"
	if c.used > 0 {
		used = strconv.FormatInt(c.used.Milliseconds(), 10)
	}
	b, _ := json.Marshal(map[string]string{"recent_enqueue_at": at(c.enqueued), "recent_start_at": at(c.started), "last_finish": at(c.finished), "last_used_ms": used})
	return string(b)
}

// fromWrongClock tells that what was noted as at wasn't noted before now: a clock was wrong.
func fromWrongClock(at, now time.Time) bool { return at.Sub(now) > time.Minute }

// timeOfDay returns the latest moment before now at which one of the times of day came, today or
// yesterday; the zero time if none did since they were set.
func (c *compactions) timeOfDay(now time.Time) (latest time.Time) {
	y, m, d := now.Date()
	for _, t := range c.times {
		at := time.Date(y, m, d, 0, 0, 0, 0, now.Location()).Add(t)
		if !at.Before(now) {
			at = time.Date(y, m, d-1, 0, 0, 0, 0, now.Location()).Add(t)
		}
		if at.After(latest) && (at.After(c.since) || fromWrongClock(c.since, now)) {
			latest = at
		}
	}
	return latest
}
