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
	state metadata.ManualCompactionStatus
	made  time.Time
	// Of the latest.
	enqueued, started, finished time.Time // zero: not yet
	used                        time.Duration
}

// setCompactions takes the table's settings, and when the last compaction ended, as they are
// in info.
func (r *replica) setCompactions() {
	s, _ := appenv.Parse(r.info.Envs)
	c := &r.compactions
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plan, c.times = s.Compact, appenv.TimesOfDay(s.Compact.Periodic)
	c.made = time.UnixMilli(r.info.Made)
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
	last := c.finished
	if c.made.After(last) {
		last = c.made
	}
	if once := time.Unix(c.plan.Once, 0); c.plan.Once > 0 && once.After(last) && !once.After(now) {
		return true
	}
	y, m, d := now.Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, now.Location())
	for _, t := range c.times {
		if at := midnight.Add(t); at.After(last) && at.Before(now) {
			return true
		}
	}
	return false
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
	y, m, d := now.Date()
	for _, t := range c.times {
		at := time.Date(y, m, d, 0, 0, 0, 0, now.Location()).Add(t)
		if !at.Before(now) {
			at = time.Date(y, m, d-1, 0, 0, 0, 0, now.Location()).Add(t)
		}
		if at.After(latest) {
			latest = at
		}
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

// compactSome begins compactions that are due, as many as may run at the same time: on the
// whole server those that the engine's slots suffice for, of a table those its settings allow.
// It is called again and again, by one goroutine.
func (s *Server) compactSome(now time.Time, rs []*replica) {
	running := map[int32]int32{}
	sum := 0
	for _, r := range rs {
		if r.compactions.status() == metadata.RUNNING {
			running[r.gpid.AppID]++
			sum++
		}
	}
	for _, r := range rs {
		waits, most := r.compactions.look(now)
		app := r.gpid.AppID
		if !waits || sum >= max(s.cfg.Storage.Compactions, 1) || most > 0 && running[app] >= most || r.view.Load().failed != nil || r.awaitsPass(now) {
			continue
		}
		running[app]++
		sum++
		r.compactions.begin(now)
		s.spawn(func() {
			r.log.Info("manual compaction begins")
			err := r.store.Load().Compact(s.ctx, s.cfg.Storage.SweepDelay.D())
			at := time.Now()
			r.compactions.end(at, err)
			if err != nil {
				r.log.Warnf("manual compaction: %v", err)
				return
			}
			r.log.Infof("manual compaction took %v", at.Sub(now).Round(time.Millisecond))
			r.post(func() {
				r.info.Compacted = at.UnixMilli()
				if err := writeJSON(r.infoName(), &r.info); err != nil {
					r.log.Warnf("the end of a manual compaction: %v", err)
				}
			})
		})
	}
}
