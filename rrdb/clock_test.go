package rrdb

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
)

// TestWrongClockDeletesNothing: neither a sweep nor a manual compaction deletes rows that live
// by another clock than the machine's, which may be wrong from the start.
func TestWrongClockDeletesNothing(t *testing.T) {
	const start, hour = 1000, 3600
	truth := time.Unix(base.EpochBegin+start+60, 0)
	why := errors.New("clocks differ")
	for _, c := range []struct {
		name   string
		time   func() (time.Time, error)
		failed bool
	}{
		{"the other clock is certain", func() (time.Time, error) { return truth, nil }, false},
		{"no clock is certain", func() (time.Time, error) { return time.Time{}, why }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarnessThat(t, nil, c.time)
			h.fill(1000, func(int) uint32 { return start + 6*hour })
			h.flush()
			h.clock.set(start + 24*hour) // this machine's clock alone
			_, err := h.store.Sweep(context.Background(), 30*time.Second, 1<<40, nil)
			if errors.Is(err, ErrClock) != c.failed || errors.Is(err, why) != c.failed || !c.failed && err != nil {
				t.Errorf("sweep: %v", err)
			}
			if err := h.store.Compact(context.Background(), 30*time.Second); err != nil {
				t.Errorf("compact: %v", err)
			}
			if n := h.physical(); n != 1000 {
				t.Fatalf("%d of 1000 live rows are left", n)
			}
		})
	}
}

// TestSweepsGoOnWhenTheTimeIsCertain: what was kept meanwhile goes then.
func TestSweepsGoOnWhenTheTimeIsCertain(t *testing.T) {
	var certain atomic.Bool
	asked := make(chan struct{}, 1)
	h := newHarnessThat(t, func(c *testConfig) {
		c.Sweep.Interval, c.Sweep.BytesPerSecond = 5*time.Millisecond, 64<<20
		c.Sweep.Delay = time.Second // also how far the machine's own clock may move
	}, func() (time.Time, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		if !certain.Load() {
			return time.Time{}, errors.New("clocks differ")
		}
		return time.Unix(base.EpochBegin+1<<30, 0), nil
	})
	h.put("a", "s", "old", 1100)
	h.clock.set(1000 + sweepMaxAge + 1200)
	for range 3 {
		<-asked
	}
	if n := h.physical(); n != 1 {
		t.Errorf("%d rows", n)
	}
	certain.Store(true)
	waitFor(t, "the expired row is gone", func() bool { return h.physical() == 0 })
}

// TestNoSweepLongAfterTheLastWrite: a store whose last write, when it was opened, lay long back
// isn't swept soon: the clock may be what moved. What the server itself writes by that clock
// proves nothing.
func TestNoSweepLongAfterTheLastWrite(t *testing.T) {
	h := newHarness(t, nil)
	h.put("a", "s", "x", 1000+6*3600)
	h.flush()
	at := time.UnixMicro(h.store.LastTimestamp()) // not the clock's, in these tests
	h.clock.set(uint32(at.Unix() - base.EpochBegin + 24*3600))
	h.close()
	h.open(false)
	h.put("b", "s", "x", 0)
	pace := rate.NewLimiter(rate.Inf, sweepStep)
	h.shared.sweeps.round(context.Background(), time.Minute, time.Second, 1<<40, pace)
	if n := h.physical(); n != 2 {
		t.Errorf("%d rows a minute after the start", n)
	}
	h.shared.sweeps.round(context.Background(), clockPause, time.Second, 1<<40, pace)
	if n := h.physical(); n != 1 {
		t.Errorf("%d rows after %v", n, clockPause)
	}
}
