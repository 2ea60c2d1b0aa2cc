package replica

import (
	"context"
	"fmt"
	"math"
	"math/bits"
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
	// pacePoll is how often it is looked how late a timer is: as late as a request is noticed.
	pacePoll = 2 * time.Millisecond
	// paceLinger: after so long without a copy the next one begins slowly again.
	paceLinger = 10 * time.Second
	// paceGap is how long a copy may seem to stand still: what is buffered on the way is sent
	// in lumps when the receiver is the slower one.
	paceGap = time.Second
	// learnBurst is what a pace lets through at once, in bytes.
	learnBurst = 128 << 10
	// readCost: a byte that is only read and hashed counts a quarter of one that is copied, which
	// two servers and a network have a part in.
	readCost = 4
)

// sense is one of the things that are compared.
type sense int

const (
	senseRead  sense = iota // what the store takes for a client's read
	senseWrite              // from a write's proposal to its answer
	senseLog                // from an append to the log until it is durable
	senseWake               // how late a timer is
	senses
)

var senseNames = [senses]string{"reads", "writes", "log", "timers"}

// Phases of a cycle.
const (
	paceIdle     = iota // there is no copy
	paceSettling        // neither one nor the other
	paceWith            // it copies
	paceWithout         // it rests
)

// pace bounds what one server copies.
type pace struct {
	least, most atomic.Int64 // bytes a second; most 0: no limit, and no rests
	send, take  *rate.Limiter
	touched     atomic.Int64 // Unix nanoseconds of when something was copied last
	phase       atomic.Int32
	restEnd     atomic.Int64 // Unix nanoseconds; before then nothing is copied
	wake        chan struct{}
	felt        [senses]feeling
	requests    atomic.Int64 // in this cycle
	log         *logrus.Entry
	now         atomic.Int64 // the rate in force, bytes a second; 0: no limit
}

// feeling is what one sense felt with and without a copy.
type feeling struct{ with, without histogram }

func newPace(least, most int64, log *logrus.Entry) *pace {
	p := &pace{log: log, send: rate.NewLimiter(rate.Inf, learnBurst), take: rate.NewLimiter(rate.Inf, learnBurst), wake: make(chan struct{}, 1)}
	p.least.Store(least)
	p.limit(most)
	return p
}

// limit sets the most bytes a second, 0 for no limit.
func (p *pace) limit(most int64) {
	p.most.Store(max(0, most))
	p.set(p.clamp(0))
}

// clamp brings a rate between the limits; 0 is no limit.
func (p *pace) clamp(r float64) float64 {
	most := float64(p.most.Load())
	if most == 0 {
		return 0
	}
	return min(max(r, float64(p.least.Load())), most)
}

// fixed tells that there is nothing to decide.
func (p *pace) fixed() bool {
	most := p.most.Load()
	return most == 0 || most <= p.least.Load()
}

func (p *pace) set(r float64) {
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
func (p *pace) touch() {
	p.touched.Store(time.Now().UnixNano())
	if p.phase.Load() == paceIdle {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// wait lets n bytes of a copy through l, at most learnBurst.
func (p *pace) wait(ctx context.Context, l *rate.Limiter, n int) error {
	for {
		p.touch()
		left := p.restLeft()
		if left == 0 {
			return l.WaitN(ctx, n)
		}
		pause(ctx, left)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// restLeft returns how long nothing is copied from now on.
func (p *pace) restLeft() time.Duration {
	left := time.Until(time.Unix(0, p.restEnd.Load()))
	if left <= 0 || left > paceRest { // a clock that was set back
		return 0
	}
	return left
}

// ready tells whether something may be sent at once.
func (p *pace) ready() bool {
	return p.restLeft() == 0 && (p.send.Limit() == rate.Inf || p.send.Tokens() >= 1)
}

// sent takes n bytes that were sent after ready said so. If that was more than there was, what
// is missing must come together before more is sent.
func (p *pace) sent(n int64) {
	p.touch()
	for now := time.Now(); n > 0; n -= learnBurst {
		p.send.ReserveN(now, int(min(n, learnBurst)))
	}
}

// watching tells whether feel wants to be called.
func (p *pace) watching() bool { return p.phase.Load() != paceIdle }

// feel takes what something took.
func (p *pace) feel(s sense, d time.Duration) {
	phase := p.phase.Load()
	if phase != paceIdle && s != senseWake {
		p.requests.Add(1)
	}
	switch phase {
	case paceWith:
		p.felt[s].with.add(d)
	case paceWithout:
		p.felt[s].without.add(d)
	}
}

// run sets the pace until ctx ends.
func (p *pace) run(ctx context.Context) {
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
		forget(&p.felt)
		p.requests.Store(0)
	}
}

// follow goes through cycles until there was no copy for a while.
func (p *pace) follow(ctx context.Context) {
	t := time.NewTimer(pacePoll)
	defer t.Stop()
	g := governor{felt: &p.felt}
	last := time.Now()
	cycle := last.UnixNano() / int64(paceCycle)
	for {
		t.Reset(pacePoll)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now()
		took := now.Sub(last)
		last = now
		p.feel(senseWake, max(0, took-pacePoll))
		at := now.UnixNano()
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
					p.log.Debugf("copies at most %d KiB/s, %d before: %s", r>>10, was>>10, g.why)
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

// governor decides how fast to copy.
type governor struct {
	felt *[senses]feeling
	used bool // somebody uses the server
	// bad is how often in a row each was too slow.
	bad [senses]int
	why string
}

const (
	// feltUse: fewer requests and appends in a cycle than this are nobody's.
	feltUse = 20
	// feltEnough of something with and without a copy are compared.
	feltEnough = 50
)

// decide returns the rate that follows on r, in bytes a second, after a cycle with so many
// requests.
func (g *governor) decide(r float64, requests int64) float64 {
	was := g.used
	g.used = requests >= feltUse
	switch {
	case !g.used:
		forget(g.felt)
		g.bad = [senses]int{}
		g.why = "nobody uses the server"
		return r * 4
	case !was:
		g.why = "somebody uses the server"
		return 0 // whoever comes finds the copy slow
	}
	factor := math.Inf(1)
	for s := range g.felt {
		with, without := &g.felt[s].with, &g.felt[s].without
		if min(with.count(), without.count()) < feltEnough {
			if g.bad[s] > 0 {
				factor = min(factor, 1) // it is under suspicion
			}
			continue
		}
		f, why := judge(with, without)
		// Trouble that has nothing to do with copies comes in bursts: hence the memory of about
		// six seconds of each kind, over many cycles, and once may be anything. What was felt at
		// another rate, or was too slow, is not counted again.
		without.fade(7, 8)
		if f < 1 {
			with.fade(0, 1)
			if g.bad[s]++; g.bad[s] == 1 {
				f = 1
			}
		} else {
			with.fade(1, 2)
			g.bad[s] = 0
		}
		if f < factor {
			factor, g.why = f, senseNames[s]+" "+why
		}
	}
	if math.IsInf(factor, 1) {
		return r
	}
	return r * factor
}

// judge compares what something takes at worst, and says by how much to go faster. Aimed at is
// half as much again as without a copy; half a millisecond nobody minds.
func judge(with, without *histogram) (factor float64, why string) {
	q := min(0.99, 1-5/float64(min(with.count(), without.count())))
	a, b := with.quantile(q), without.quantile(q)
	limit := b + max(b/2, 500*time.Microsecond)
	why = fmt.Sprintf("%v with a copy, %v without", a, b)
	switch {
	case a > limit:
		return max(0.25, min(0.75, float64(limit)/float64(a))), why
	case a > b+max(b/4, 250*time.Microsecond):
		return 1, why
	}
	return 1.3, why
}

// histogram counts durations in steps of an eighth, from a microsecond to an hour.
type histogram struct{ n [8 * 30]atomic.Uint32 }

func (h *histogram) add(d time.Duration) {
	x := uint64(max(0, d/time.Microsecond)) + 8
	e := bits.Len64(x) - 4
	i := min(e<<3+int(x>>e&7), len(h.n)-1)
	h.n[i].Add(1)
}

func (h *histogram) count() (n int) {
	for i := range h.n {
		n += int(h.n[i].Load())
	}
	return n
}

// quantile returns a value that a share q of all don't exceed.
func (h *histogram) quantile(q float64) time.Duration {
	left := int(math.Ceil(q * float64(h.count())))
	for i := range h.n {
		if left -= int(h.n[i].Load()); left <= 0 {
			return time.Duration((8+i&7+1)<<(i>>3)-8) * time.Microsecond
		}
	}
	return time.Hour
}

// fade multiplies the counts by a/b.
func (h *histogram) fade(a, b uint32) {
	for i := range h.n {
		h.n[i].Store(h.n[i].Load() * a / b)
	}
}

func forget(felt *[senses]feeling) {
	for s := range felt {
		felt[s].with.fade(0, 1)
		felt[s].without.fade(0, 1)
	}
}
