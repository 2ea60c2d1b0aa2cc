package boottime

import (
	"sync"
	"testing"
	"time"
)

// machine has the clocks of a machine that can be suspended.
type machine struct {
	wall  int64
	mono  time.Duration
	boot  time.Duration
	asked int
}

func (m *machine) clock() *clock {
	return &clock{coarse: func() (int64, time.Duration) { return m.wall, m.mono },
		boot: func() time.Duration { m.asked++; return m.boot }}
}

func (m *machine) run(d time.Duration) { m.wall, m.mono, m.boot = m.wall+int64(d), m.mono+d, m.boot+d }
func (m *machine) suspend(d time.Duration) {
	m.wall, m.boot = m.wall+int64(d), m.boot+d
}

func TestSuspendIsCounted(t *testing.T) {
	m := &machine{wall: 1e18, mono: time.Hour, boot: 5 * time.Hour}
	c := m.clock()
	want := func(what string) {
		t.Helper()
		if got := c.now(); got != m.boot {
			t.Errorf("%s: %v, want %v", what, got, m.boot)
		}
	}
	want("first")
	for range 100 {
		m.run(time.Second)
		want("running")
	}
	if m.asked != 1 {
		t.Errorf("the kernel was asked %d times", m.asked)
	}
	m.suspend(time.Minute)
	want("after a suspend")
	m.wall += int64(time.Hour)
	want("the wall clock was put forward")
	m.wall -= int64(2 * time.Hour)
	want("the wall clock was put back")
	m.run(time.Second)
	asked := m.asked
	want("afterwards")
	if m.asked != asked {
		t.Error("the kernel is asked again and again")
	}
	// Suspends that are too short to be seen add up.
	for range 20 {
		m.suspend(tolerance / 2)
		if off := m.boot - c.now(); off < 0 || off > tolerance {
			t.Errorf("%v off", off)
		}
	}
	// The one case in which it takes Refresh.
	m.suspend(time.Minute)
	m.wall -= int64(time.Minute)
	c.refresh()
	want("after Refresh")
}

// TestInterruptedBetweenClocks: what was read at different times isn't compared.
func TestInterruptedBetweenClocks(t *testing.T) {
	m := &machine{wall: 1e18, mono: time.Hour, boot: 5 * time.Hour}
	c := m.clock()
	left := 2
	c.boot = func() time.Duration {
		if left > 0 {
			left--
			m.run(time.Second)
		}
		return m.boot
	}
	if got := c.now(); got != m.boot || c.seen.Load().ahead != 4*time.Hour {
		t.Errorf("%v, want %v; ahead by %v", got, m.boot, c.seen.Load().ahead)
	}
	left = 1000
	c.refresh()
	if c.seen.Load() != nil {
		t.Error("clocks are compared that were never read together")
	}
}

// TestSystemClock: it runs as fast as the monotonic one, and never back.
func TestSystemClock(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			began, first := time.Now(), Now()
			last := first
			for time.Since(began) < 200*time.Millisecond {
				now := Now()
				if now < last-2*bracket {
					t.Errorf("back from %v to %v", last, now)
				}
				last = now
				if now%1000 == 0 {
					Refresh()
				}
			}
			if mono := time.Since(began); last-first > mono+2*bracket || last <= first {
				t.Errorf("%v, where the monotonic clock says %v", last-first, mono)
			}
		})
	}
	wg.Wait()
}

var sink time.Duration

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		sink = Now()
	}
}

func BenchmarkKernel(b *testing.B) {
	for b.Loop() {
		sink = boot()
	}
}

func BenchmarkMonotonic(b *testing.B) {
	for b.Loop() {
		sink = time.Since(origin)
	}
}
