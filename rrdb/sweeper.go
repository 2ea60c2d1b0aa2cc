package rrdb

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base/config"
)

// clockPause is for how long nothing is deleted after the clock was put forward: whoever did
// that by mistake has that long to put it right.
const clockPause = time.Hour

// sweepLoop sweeps all stores, one after the other, until Close.
func (s *Shared) sweepLoop(cfg config.Storage, log *logrus.Entry) {
	defer s.done.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	limit := rate.Inf
	unknown := int64(1 << 40)
	if cfg.SweepBytes > 0 {
		limit = rate.Limit(cfg.SweepBytes)
		// To find out what was there when the server started may take a quarter of the rate.
		unknown = max(int64(float64(cfg.SweepBytes)*cfg.SweepInterval.D().Seconds()/4), sweepChunk)
	}
	pace := rate.NewLimiter(limit, sweepStep)
	began := time.Now()
	clock := clockGuard{wall: began, tolerance: cfg.SweepDelay.D()}
	t := time.NewTicker(cfg.SweepInterval.D())
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		if step := clock.check(time.Now(), time.Since(began)); step > 0 {
			log.Warnf("the clock was put forward by %v: expired rows are kept for %v", step, clockPause)
		}
		if clock.paused() {
			continue
		}
		s.sweep(ctx, cfg.SweepDelay.D(), unknown, pace)
	}
}

// sweep sweeps each store once.
func (s *Shared) sweep(ctx context.Context, delay time.Duration, unknown int64, pace *rate.Limiter) {
	for _, st := range s.memory.all() {
		if ctx.Err() != nil {
			return
		}
		if !st.Calm() {
			continue // it has enough to do
		}
		began := time.Now()
		did, err := st.Sweep(ctx, delay, unknown, pace)
		s.swept.add(did, time.Since(began))
		unknown = max(unknown-did.Bytes, 0)
		switch {
		case err != nil && ctx.Err() == nil && st.Failed() == nil && !st.closeCalled.Load():
			st.log.WithError(err).Warn("expired rows are left for the next sweep")
		case did.Rows > 0:
			st.log.Debugf("swept %d expired rows of %d bytes, %d bytes read", did.Rows, did.DeletedBytes, did.Bytes)
		}
	}
}

// clockGuard notices that the wall clock was put forward, by the monotonic one.
type clockGuard struct {
	tolerance time.Duration
	wall      time.Time     // at the last check
	elapsed   time.Duration // then
	until     time.Duration // paused before it
}

// check is given the wall clock and the time that has elapsed since the guard was made. It
// returns by how much the clock was put forward since the last check, 0 if not by more than
// is tolerated.
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
