package checkpoint

import (
	"context"
	"math/rand/v2"
	"pegasus/base/pause"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// loaded is a model of a server whose requests take longer the faster it copies, beyond a rate that
// it has room for.
type loaded struct {
	room   float64 // bytes a second
	usual  time.Duration
	use    int    // requests a cycle
	signal Signal // what takes longer
	r      *rand.Rand
	// noise: of so many quarters of a second there is one in which everything takes ten times
	// as long, whoever is to blame; 0: none.
	noise int
}

// cycle feels what one cycle of copying at so many bytes a second does.
func (l *loaded) cycle(observed *[signals]latency, speed float64) {
	slow := false
	take := func(speed float64) time.Duration {
		d := float64(l.usual) * (0.5 + l.r.ExpFloat64()/4)
		if slow {
			d *= 10
		}
		if over := speed / l.room; over > 1 {
			d *= over
		}
		return time.Duration(d)
	}
	for i := range 16 {
		slow = l.noise > 0 && l.r.IntN(l.noise) == 0
		for range l.use / 16 {
			if i < 4 {
				observed[l.signal].without.add(take(0))
			} else {
				observed[l.signal].with.add(take(speed))
			}
		}
	}
}

// steer lets a governor decide for n cycles and returns the mean rate of the second half.
func steer(l *loaded, observed *[signals]latency, g *governor, p *Pace, n int) float64 {
	sum := 0.0
	for i := range n {
		l.cycle(observed, float64(p.now.Load()))
		p.set(p.clamp(g.decide(float64(p.now.Load()), int64(l.use))))
		if i >= n/2 {
			sum += float64(p.now.Load())
		}
	}
	return sum / float64(n-n/2)
}

func TestGovernor(t *testing.T) {
	const least, most = 8 << 20, 100 << 20
	for _, c := range []struct {
		name     string
		room     float64
		use      int
		noise    int
		from, to float64
	}{
		{"has room for all", 1 << 40, 4000, 0, most * 0.8, most},
		{"has room for all and others are loud", 1 << 40, 4000, 10, most * 0.4, most},
		{"has room for all and others are loud at times", 1 << 40, 4000, 60, most * 0.6, most},
		{"has room for some", 30 << 20, 4000, 0, 25 << 20, 60 << 20},
		{"has room for some and others are loud", 30 << 20, 4000, 10, 15 << 20, 70 << 20},
		{"has room for nothing", 1 << 20, 4000, 0, least, least * 1.2},
		{"is hardly used", 30 << 20, 64, 0, least, 70 << 20},
		{"is not used", 1 << 20, 0, 0, most, most},
	} {
		for s, name := range signalNames {
			t.Run(c.name+", as "+name+" show", func(t *testing.T) {
				p := NewPace(least, most, nil)
				g := &governor{observed: &p.observed}
				l := &loaded{c.room, 4 * time.Millisecond, c.use, Signal(s), rand.New(rand.NewPCG(1, 2)), c.noise}
				got := steer(l, &p.observed, g, p, 200)
				t.Logf("copies %.1f MiB/s", got/(1<<20))
				if got < c.from || got > c.to {
					t.Errorf("copies %.1f MiB/s, want %.1f to %.1f", got/(1<<20), c.from/(1<<20), c.to/(1<<20))
				}
			})
		}
	}
}

// TestGovernorArrival: a server that was free is copied slowly at once when somebody comes, and
// fast again when nobody is left.
func TestGovernorArrival(t *testing.T) {
	p := NewPace(8<<20, 100<<20, nil)
	g := &governor{observed: &p.observed}
	l := &loaded{30 << 20, 4 * time.Millisecond, 0, Reads, rand.New(rand.NewPCG(3, 4)), 0}
	steer(l, &p.observed, g, p, 4)
	if got := p.now.Load(); got != 100<<20 || g.used {
		t.Fatalf("nobody is there, and it copies %d bytes/s, used %t", got, g.used)
	}
	l.use = 2000
	steer(l, &p.observed, g, p, 1)
	if got := p.now.Load(); got != 8<<20 || !g.used {
		t.Fatalf("somebody came, and it copies %d bytes/s, used %t", got, g.used)
	}
	if got := steer(l, &p.observed, g, p, 40); got < 20<<20 || got > 70<<20 {
		t.Errorf("with somebody there it copies %.0f bytes/s", got)
	}
	l.use = 0
	steer(l, &p.observed, g, p, 3)
	if got := p.now.Load(); got != 100<<20 || g.used {
		t.Errorf("after all have gone it copies %d bytes/s, used %t", got, g.used)
	}
}

func TestPaceLimits(t *testing.T) {
	p := NewPace(8, 100, nil)
	if p.fixed() || p.now.Load() != 8 || p.clamp(1000) != 100 || p.clamp(50) != 50 {
		t.Errorf("fixed %t, %d, %v, %v", p.fixed(), p.now.Load(), p.clamp(1000), p.clamp(50))
	}
	p.Limit(5)
	if !p.fixed() || p.now.Load() != 5 || p.clamp(7) != 5 || p.send.Limit() != 5 {
		t.Errorf("a limit below the least: fixed %t, %d, %v", p.fixed(), p.now.Load(), p.clamp(7))
	}
	for _, none := range []int64{0, -1} {
		p.Limit(none)
		if !p.fixed() || p.send.Limit() != rate.Inf || p.take.Limit() != rate.Inf {
			t.Errorf("a limit of %d: fixed %t, %v", none, p.fixed(), p.send.Limit())
		}
	}
}

func TestPhases(t *testing.T) {
	for _, c := range []struct {
		since, idle time.Duration
		rest        bool
		want        int32
	}{
		{0, 0, true, paceSettling},
		{paceSettle, paceSettle, true, paceWithout},
		{paceRest - 1, paceRest, true, paceWithout},
		{paceRest - 1, paceRest + paceGap, true, paceSettling}, // there is no copy that rests
		{paceRest, 0, true, paceSettling},
		{paceRest + paceSettle, 0, true, paceWith},
		{paceRest + paceSettle, paceGap, true, paceSettling},
		{paceSettle, 0, false, paceWith},
		{paceSettle, paceGap, false, paceSettling},
		{paceCycle - 1, 0, true, paceWith},
	} {
		if got := phaseAt(c.since, c.rest, c.idle); got != c.want {
			t.Errorf("%+v: phase %d", c, got)
		}
	}
}

// TestPaceRuns: while nobody uses the server a copy gets faster and doesn't rest; once somebody
// does, it rests, and both with and without it is observed what requests take.
func TestPaceRuns(t *testing.T) {
	const least, most = 1 << 20, 64 << 20
	p := NewPace(least, most, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	defer func() { cancel(); <-done }()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		for p.wait(ctx, p.send, 1024) == nil {
			pause.For(ctx, time.Millisecond)
		}
	}()
	defer func() { cancel(); <-copied }()
	until(t, "it is faster", func() bool { return p.now.Load() > least })
	if left := p.restLeft(); left != 0 {
		t.Errorf("it rests for %v though nobody is there", left)
	}
	rested, slow := false, false
	until(t, "it rests, is slow again, and observes requests with and without a copy", func() bool {
		p.Observe(Reads, time.Millisecond)
		rested = rested || p.restLeft() > 0
		slow = slow || p.now.Load() == least
		if o := &p.observed[Reads]; o.with.count() == 0 || o.without.count() == 0 {
			return false
		}
		return rested && slow
	})
}

// TestPaceRests: nothing is let through during a rest, and what waits ends with its context.
func TestPaceRests(t *testing.T) {
	p := NewPace(1<<30, 2<<30, nil)
	p.restEnd.Store(time.Now().Add(300 * time.Millisecond).UnixNano())
	if p.Ready() {
		t.Error("ready in a rest")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.wait(ctx, p.take, 1); err == nil && time.Now().UnixNano() < p.restEnd.Load() {
		t.Error("a rest ended with its context, without an error")
	}
	if err := p.wait(t.Context(), p.take, paceBurst); err != nil || time.Now().UnixNano() < p.restEnd.Load() {
		t.Errorf("let through in a rest: %v", err)
	}
	if !p.Ready() {
		t.Error("not ready after a rest")
	}
	// A clock that was set back doesn't make a rest of a day.
	p.restEnd.Store(time.Now().Add(24 * time.Hour).UnixNano())
	if !p.Ready() {
		t.Error("rests for a day")
	}
}

// TestPacerEarns: what learners are sent for what clients write doesn't depend on copies.
func TestPacerEarns(t *testing.T) {
	p := NewPace(1, 1, nil)
	p.Sent(2 * paceBurst) // nothing is left for a long time
	c := LogPacer{Pace: p}
	if c.Ready() {
		t.Fatal("ready, with nothing written and nothing left")
	}
	const each = 10_000
	total := int64(0)
	for range 100 {
		c.Wrote(each)
		for c.Ready() {
			c.Sent(1000)
			total += 1000
		}
	}
	if total != 100*2*each {
		t.Errorf("%d bytes were sent while %d were written", total, 100*each)
	}
	c.Wrote(1 << 40)
	if c.earned != maxEarned {
		t.Errorf("%d bytes are kept", c.earned)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := q * 1000
		if got := float64(h.quantile(q)) / float64(time.Millisecond); got < want || got > want*1.13+0.01 {
			t.Errorf("quantile %v is %v ms, want %v", q, got, want)
		}
	}
	h.decay(1, 2)
	if n := h.count(); n < 300 || n > 500 {
		t.Errorf("%d of 1000 after a half", n)
	}
	h.decay(0, 1)
	h.add(-time.Second)
	h.add(1000 * time.Hour)
	if n := h.count(); n != 2 || h.quantile(0.5) > 2*time.Microsecond {
		t.Errorf("%d, %v", n, h.quantile(0.5))
	}
}

// TestPaceOfPieces: a slow copy is sent in small pieces, so that something comes each moment.
func TestPaceOfPieces(t *testing.T) {
	for rate, want := range map[int64]int{0: paceBurst, 1: 1, 1000: 125, 80_000: 10_000, 100 << 20: paceBurst} {
		p := NewPace(1, rate, nil)
		p.set(float64(rate))
		if got := p.piece(); got != want {
			t.Errorf("at %d bytes a second: pieces of %d, want %d", rate, got, want)
		}
	}
}
