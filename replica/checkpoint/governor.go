package checkpoint

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Signal is one of the things that are compared.
type Signal int

const (
	Reads      Signal = iota // what the store takes for a client's read
	Writes                   // from a write's proposal to its answer
	LogAppends               // from an append to the log until it is durable
	signals
)

var signalNames = [signals]string{"reads", "writes", "log"}

// latency is what one signal observed with and without a copy.
type latency struct{ with, without histogram }

// governor decides how fast to copy.
type governor struct {
	observed *[signals]latency
	used     bool   // somebody uses the server
	why      string // of the last decision
}

const (
	// minUse: fewer requests and appends in a cycle than this are nobody's.
	minUse = 20
	// minCompared of something with and without a copy are compared.
	minCompared = 50
)

// decide returns the rate that follows on r, in bytes a second, after a cycle with so many
// requests.
func (g *governor) decide(r float64, requests int64) float64 {
	was := g.used
	g.used = requests >= minUse
	switch {
	case !g.used:
		forget(g.observed)
		g.why = "nobody uses the server"
		return r * 4
	case !was:
		g.why = "somebody uses the server"
		return 0 // whoever comes finds the copy slow
	}
	factor := math.Inf(1)
	for s := range g.observed {
		with, without := &g.observed[s].with, &g.observed[s].without
		if min(with.count(), without.count()) < minCompared {
			continue
		}
		f := compare(with, without)
		// Trouble that has nothing to do with copies comes in bursts: hence the memory of about
		// six seconds of each kind, over many cycles. What was too slow isn't counted again.
		without.decay(7, 8)
		if f < 1 {
			with.decay(0, 1)
		} else {
			with.decay(1, 2)
		}
		if f < factor {
			factor, g.why = f, signalNames[s]
		}
	}
	if math.IsInf(factor, 1) {
		return r
	}
	return r * factor
}

// compare returns by how much to go faster. Aimed at is that something takes at worst half as long
// again as without a copy; half a millisecond nobody minds.
func compare(with, without *histogram) (factor float64) {
	q := min(0.99, 1-5/float64(min(with.count(), without.count())))
	switch a, b := with.quantile(q), without.quantile(q); {
	case a > b+max(b/2, 500*time.Microsecond):
		return 0.5
	case a > b+max(b/4, 250*time.Microsecond):
		return 1
	}
	return 1.3
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

// decay multiplies the counts by a/b.
func (h *histogram) decay(a, b uint32) {
	for i := range h.n {
		h.n[i].Store(h.n[i].Load() * a / b)
	}
}

func forget(observed *[signals]latency) {
	for s := range observed {
		observed[s].with.decay(0, 1)
		observed[s].without.decay(0, 1)
	}
}
