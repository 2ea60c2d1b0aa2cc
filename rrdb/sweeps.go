package rrdb

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"
)

// clockPause is the time after a forward step of the clock in which no row is deleted. If the step was
// a mistake, the operator has that long to correct it.
const clockPause = time.Hour

// sweepable is a store as the sweeps of a server know it.
type sweepable interface {
	// WouldStall tells that the store is busy: its sweep waits for the next round.
	WouldStall() bool
	// clockPlausible tells that the store's last write agrees with its clock.
	clockPlausible() bool
	Sweep(ctx context.Context, delay time.Duration, unknown int64, pace *rate.Limiter) (SweepStats, error)
	// serving tells that the store has neither failed nor is being closed.
	serving() bool
	logger() *logrus.Entry
}

// sweeps deletes the expired rows of all stores of a server, one store after the other.
type sweeps struct {
	SweepOptions
	// deleteTime is SharedOptions.DeleteTime.
	deleteTime func() (time.Time, error)
	log        *logrus.Entry
	counts     sweepCounts

	mu     sync.Mutex
	stores map[sweepable]struct{}
}

func (s *sweeps) join(st sweepable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stores[st] = struct{}{}
}

func (s *sweeps) leave(st sweepable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stores, st)
}

// all returns the stores that are open.
func (s *sweeps) all() []sweepable {
	s.mu.Lock()
	defer s.mu.Unlock()
	stores := make([]sweepable, 0, len(s.stores))
	for st := range s.stores {
		stores = append(stores, st)
	}
	return stores
}

// sweepCounts are the sum of what sweeps did.
type sweepCounts struct{ runs, rows, bytes, read, nanos atomic.Int64 }

func (c *sweepCounts) add(st SweepStats, took time.Duration) {
	if st.Bytes == 0 {
		return // there was nothing to look at
	}
	c.runs.Add(1)
	c.nanos.Add(int64(took))
	c.rows.Add(st.Rows)
	c.bytes.Add(st.DeletedBytes)
	c.read.Add(st.Bytes)
}

// run sweeps all stores every SweepOptions.Interval until ctx ends.
func (s *sweeps) run(ctx context.Context) {
	limit := rate.Inf
	unknown := int64(1 << 40)
	if s.BytesPerSecond > 0 {
		limit = rate.Limit(s.BytesPerSecond)
		// Reading what was there when the server started may take a quarter of the rate.
		unknown = max(int64(float64(s.BytesPerSecond)*s.Interval.Seconds()/4), sweepChunk)
	}
	pace := rate.NewLimiter(limit, sweepStep)
	began := time.Now()
	clock := clockGuard{wall: began, tolerance: s.Delay}
	t := time.NewTicker(s.Interval)
	defer t.Stop()
	uncertain := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if why := s.uncertain(); why != uncertain {
			if uncertain = why; why != "" {
				s.log.Warnf("expired rows are kept until the time is certain: %s", why)
			} else {
				s.log.Info("expired rows are deleted again: the time is certain")
			}
		}
		if uncertain != "" {
			continue
		}
		now := time.Now() // once: the goroutine may have to wait between two looks at the clock
		if step := clock.check(now, now.Sub(began)); step > 0 {
			s.log.Warnf("the clock was set forward by %v: expired rows are kept for %v; correct the clock in that time if it is wrong", step, clockPause)
		}
		if clock.paused() {
			continue
		}
		s.round(ctx, time.Since(began), s.Delay, unknown, pace)
	}
}

// uncertain says why nothing may be deleted, "" if it may.
func (s *sweeps) uncertain() string {
	if s.deleteTime == nil {
		return ""
	}
	if _, err := s.deleteTime(); err != nil {
		return err.Error()
	}
	return ""
}

// round sweeps each store once. In the first hour after the server's start it skips stores whose last
// write is old: a clock that was wrong when the machine started is usually correct after that.
func (s *sweeps) round(ctx context.Context, uptime, delay time.Duration, unknown int64, pace *rate.Limiter) {
	for _, st := range s.all() {
		if ctx.Err() != nil {
			return
		}
		if st.WouldStall() || uptime < clockPause && !st.clockPlausible() {
			continue
		}
		began := time.Now()
		did, err := st.Sweep(ctx, delay, unknown, pace)
		s.counts.add(did, time.Since(began))
		unknown = max(unknown-did.Bytes, 0)
		switch {
		case err != nil && ctx.Err() == nil && st.serving():
			st.logger().WithError(err).Warn("a sweep of expired rows failed; the next one tries again")
		case did.Rows > 0:
			st.logger().Debugf("swept %d expired rows of %d bytes, %d bytes read", did.Rows, did.DeletedBytes, did.Bytes)
		}
	}
}

// clockGuard detects forward steps of the wall clock by the monotonic clock.
type clockGuard struct {
	tolerance time.Duration
	wall      time.Time     // at the last check
	elapsed   time.Duration // then
	until     time.Duration // paused before it
}

// check takes the wall clock and the time since the guard was made. It returns the size of a forward
// step since the last check, 0 if it is within the tolerance.
func (g *clockGuard) check(wall time.Time, elapsed time.Duration) time.Duration {
	step := wall.Round(0).Sub(g.wall.Round(0)) - (elapsed - g.elapsed)
	g.wall, g.elapsed = wall, elapsed
	if step <= g.tolerance {
		return 0
	}
	g.until = elapsed + clockPause
	return step
}

func (g *clockGuard) paused() bool { return g.elapsed < g.until }
