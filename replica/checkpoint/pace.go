package checkpoint

import (
	"context"
	"pegasus/base/pause"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"
)

// How a copy of a checkpoint is kept from being felt by clients. Each server, be it the one
// that sends or the one that receives, has a pace. While it copies, it rests for the first
// moment of each cycle of the wall clock, all servers at the same time, and compares what
// requests take then with what they take while it copies. If they take much longer it copies
// more slowly, else faster, between replica.learn_least_bytes_per_second and
// replica.learn_bytes_per_second. A server that nobody uses doesn't rest, and soon copies as
// fast as it may.
const (
	paceCycle = 4 * time.Second
	paceRest  = time.Second
	// paceSettle: what a copy or a rest has begun counts from then on.
	paceSettle = 250 * time.Millisecond
	// pacePoll is how often the phase is looked at.
	pacePoll = 10 * time.Millisecond
	// paceLinger: after so long without a copy the next one begins slowly again.
	paceLinger = 10 * time.Second
	// paceGap is how long a copy may seem to stand still: what is buffered on the way is sent
	// in lumps when the receiver is the slower one.
	paceGap = time.Second
	// paceBurst is what a pace lets through at once, in bytes.
	paceBurst = 128 << 10
	// readCost: a byte that is only read and hashed counts a quarter of one that is copied, which
	// two servers and a network have a part in.
	readCost = 4
)

// Phases of a cycle.
const (
	paceIdle     = iota // there is no copy
	paceSettling        // neither one nor the other
	paceWith            // it copies
	paceWithout         // it rests
)

// Pace bounds what one server copies.
type Pace struct {
	minRate, maxRate atomic.Int64 // bytes a second; maxRate 0: no limit, and no rests
	send, take       *rate.Limiter
	touched          atomic.Int64 // Unix nanoseconds of when something was copied last
	phase            atomic.Int32
	restEnd          atomic.Int64 // Unix nanoseconds; before then nothing is copied
	wake             chan struct{}
	observed         [signals]latency
	requests         atomic.Int64 // in this cycle
	log              *logrus.Entry
	now              atomic.Int64 // the rate in force, bytes a second; 0: no limit
	also             *Pace        // is told what this one is
}

// NewPace returns a pace between two rates in bytes a second, see Limit and SetMin.
func NewPace(minRate, maxRate int64, log *logrus.Entry) *Pace {
	p := &Pace{log: log, send: rate.NewLimiter(rate.Inf, paceBurst), take: rate.NewLimiter(rate.Inf, paceBurst), wake: make(chan struct{}, 1)}
	p.minRate.Store(minRate)
	p.Limit(maxRate)
	return p
}

// Tell has q told, too, what p observes. Call it before p is used.
func (p *Pace) Tell(q *Pace) { p.also = q }

// Limit sets the highest rate in bytes a second, 0 for no limit.
func (p *Pace) Limit(maxRate int64) {
	p.maxRate.Store(max(0, maxRate))
	p.set(p.clamp(0))
}

// clamp brings a rate between the limits; 0 is no limit.
func (p *Pace) clamp(r float64) float64 {
	highest := float64(p.maxRate.Load())
	if highest == 0 {
		return 0
	}
	return min(max(r, float64(p.minRate.Load())), highest)
}

// fixed tells that there is nothing to decide.
func (p *Pace) fixed() bool {
	highest := p.maxRate.Load()
	return highest == 0 || highest <= p.minRate.Load()
}

// Max returns the highest rate in bytes a second, 0 for no limit.
func (p *Pace) Max() int64 { return p.maxRate.Load() }

// SetMin sets the rate below which clients' latency brings no copy, in bytes a second.
func (p *Pace) SetMin(minRate int64) { p.minRate.Store(minRate) }

// Rate returns the rate in force in bytes a second, 0 if there is no limit.
func (p *Pace) Rate() int64 { return p.now.Load() }

func (p *Pace) set(r float64) {
	p.now.Store(int64(r))
	for _, l := range []*rate.Limiter{p.send, p.take} {
		if r <= 0 {
			l.SetLimit(rate.Inf)
		} else {
			l.SetLimit(rate.Limit(r))
		}
	}
}

// touch notes that something is copied.
func (p *Pace) touch() {
	p.touched.Store(time.Now().UnixNano())
	if p.phase.Load() == paceIdle {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// wait lets n bytes of a copy through l, at most paceBurst.
func (p *Pace) wait(ctx context.Context, l *rate.Limiter, n int) error {
	for {
		p.touch()
		left := p.restLeft()
		if left == 0 {
			return l.WaitN(ctx, n)
		}
		pause.For(ctx, left)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// restLeft returns how long nothing is copied from now on.
func (p *Pace) restLeft() time.Duration {
	left := time.Until(time.Unix(0, p.restEnd.Load()))
	if left <= 0 || left > paceRest { // a clock that was set back
		return 0
	}
	return left
}

// Wait returns when n more bytes may be copied.
func (p *Pace) Wait(ctx context.Context, n int) error {
	for n > 0 {
		k := min(n, p.piece())
		if err := p.wait(ctx, p.take, k); err != nil {
			return err
		}
		n -= k
	}
	return ctx.Err()
}

// piece is how many bytes of a copy to send, or receive, at once: what the rate lets through in an
// eighth of a second, so that the other side never waits long for a sign of life.
func (p *Pace) piece() int {
	r := p.now.Load()
	if r <= 0 {
		return paceBurst
	}
	return int(min(max(r/8, 1), paceBurst))
}

// Ready tells whether something may be sent at once.
func (p *Pace) Ready() bool {
	return p.restLeft() == 0 && (p.send.Limit() == rate.Inf || p.send.Tokens() >= 1)
}

// Sent takes n bytes that were sent after Ready said so. If that was more than there was, what
// is missing must come together before more is sent.
func (p *Pace) Sent(n int64) {
	p.touch()
	for now := time.Now(); n > 0; n -= paceBurst {
		p.send.ReserveN(now, int(min(n, paceBurst)))
	}
}

// Observing tells whether Observe wants to be called.
func (p *Pace) Observing() bool {
	return p.phase.Load() != paceIdle || p.also != nil && p.also.phase.Load() != paceIdle
}

// Observe takes what something took.
func (p *Pace) Observe(s Signal, d time.Duration) {
	if p.also != nil {
		p.also.observe(s, d)
	}
	p.observe(s, d)
}

func (p *Pace) observe(s Signal, d time.Duration) {
	phase := p.phase.Load()
	if phase != paceIdle {
		p.requests.Add(1)
	}
	switch phase {
	case paceWith:
		p.observed[s].with.add(d)
	case paceWithout:
		p.observed[s].without.add(d)
	}
}

// Run sets the pace until ctx ends.
func (p *Pace) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		p.set(p.clamp(0))
		p.follow(ctx)
		p.phase.Store(paceIdle)
		p.restEnd.Store(0)
		forget(&p.observed)
		p.requests.Store(0)
	}
}

// follow goes through cycles until there was no copy for a while.
func (p *Pace) follow(ctx context.Context) {
	t := time.NewTimer(pacePoll)
	defer t.Stop()
	g := governor{observed: &p.observed}
	cycle := time.Now().UnixNano() / int64(paceCycle)
	for {
		t.Reset(pacePoll)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		at := time.Now().UnixNano()
		idle := time.Duration(at - p.touched.Load())
		if idle >= paceLinger {
			return
		}
		if n := at / int64(paceCycle); n != cycle {
			cycle = n
			if !p.fixed() {
				was := p.now.Load()
				p.set(p.clamp(g.decide(float64(was), p.requests.Swap(0))))
				if r := p.now.Load(); p.log != nil && r != was {
					p.log.Debugf("a copy may have %d KiB/s, %d before: %s", r>>10, was>>10, g.why)
				}
			}
		}
		since := time.Duration(at % int64(paceCycle))
		rest := g.used && !p.fixed()
		if rest && since < paceRest {
			p.restEnd.Store(at + int64(paceRest-since))
		}
		p.phase.Store(phaseAt(since, rest, idle))
	}
}

// phaseAt returns the phase so long after the begin of a cycle, nothing having been copied for
// the last idle.
func phaseAt(since time.Duration, rest bool, idle time.Duration) int32 {
	switch {
	case since < paceSettle, rest && since >= paceRest && since < paceRest+paceSettle:
		return paceSettling
	case rest && since < paceRest && idle < since+paceGap:
		return paceWithout
	case (!rest || since >= paceRest) && idle < paceGap:
		return paceWith
	}
	return paceSettling
}

// LogPacer bounds what the learners of one replica are sent from the log: twice what clients
// write meanwhile, or they would never get there, and besides what the server's pace for
// copies leaves.
type LogPacer struct {
	Pace   *Pace
	earned int64 // bytes that may be sent for what was written
}

// maxEarned is how much of it is kept.
const maxEarned = 4 << 20

// Wrote notes that clients wrote n bytes.
func (p *LogPacer) Wrote(n int64) { p.earned = min(p.earned+2*n, maxEarned) }

// Ready implements pacifica.Pacer.
func (p *LogPacer) Ready() bool { return p.earned > 0 || p.Pace.Ready() }

// Sent implements pacifica.Pacer.
func (p *LogPacer) Sent(n int64) {
	if p.earned > 0 {
		p.earned -= n
		return
	}
	p.Pace.Sent(n)
}
