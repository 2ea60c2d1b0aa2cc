package metrics

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// stripes keeps goroutines on different processors from writing the same cache line.
const stripes = 8

// Count is a counter that many goroutines add to. The zero value is ready.
type Count struct {
	cell [stripes]struct {
		n atomic.Int64
		_ [56]byte
	}
}

// Inc adds one and returns how many this stripe has, for sampling.
func (c *Count) Inc() int64 { return c.cell[rand.Uint32()%stripes].n.Add(1) }

// Load returns the sum.
func (c *Count) Load() (n int64) {
	for i := range c.cell {
		n += c.cell[i].n.Load()
	}
	return n
}

const (
	window      = 512 // samples that percentiles are of
	sampleFirst = 64  // of each stripe: all, and of those behind
	sampleEvery = 16  // one in so many
)

// Samples are the latest of a series, for a Percentile. The zero value is ready; it takes 4 KiB.
type Samples struct {
	next atomic.Uint32
	v    [window]atomic.Int64 // 0: none
}

// Add adds a sample. One below 1 counts as 1.
func (s *Samples) Add(v int64) { s.v[s.next.Add(1)%window].Store(max(1, v)) }

// Append appends the samples.
func (s *Samples) Append(b []int64) []int64 {
	for i := range s.v {
		if v := s.v[i].Load(); v != 0 {
			b = append(b, v)
		}
	}
	return b
}

// Ops counts client operations and samples their latency. The zero value is ready; what
// isn't used takes next to no memory.
type Ops struct {
	count [NumOps]atomic.Pointer[opCount]
}

type opCount struct {
	n   Count
	lat Samples
}

func (o *Ops) op(op Op) *opCount {
	c := o.count[op].Load()
	if c == nil {
		c = new(opCount)
		if !o.count[op].CompareAndSwap(nil, c) {
			c = o.count[op].Load()
		}
	}
	return c
}

// Begin counts one op. It returns when it began if its latency is to be given to End, else
// the zero time, which End ignores.
func (o *Ops) Begin(op Op) time.Time {
	if n := o.op(op).n.Inc(); n <= sampleFirst || n%sampleEvery == 0 {
		return time.Now()
	}
	return time.Time{}
}

// End takes the latency of an op that Begin counted.
func (o *Ops) End(op Op, began time.Time) {
	if !began.IsZero() {
		o.op(op).sample(time.Since(began))
	}
}

// Took counts one op that took d.
func (o *Ops) Took(op Op, d time.Duration) {
	c := o.op(op)
	if n := c.n.Inc(); n <= sampleFirst || n%sampleEvery == 0 {
		c.sample(d)
	}
}

func (c *opCount) sample(d time.Duration) { c.lat.Add(int64(d)) }

// Requests returns how many of op there were.
func (o *Ops) Requests(op Op) int64 {
	if c := o.count[op].Load(); c != nil {
		return c.n.Load()
	}
	return 0
}

// AppendSamples appends the latest latencies of op in nanoseconds.
func (o *Ops) AppendSamples(b []int64, op Op) []int64 {
	c := o.count[op].Load()
	if c == nil {
		return b
	}
	return c.lat.Append(b)
}

// Quantiles are the values of a Percentile metric.
type Quantiles struct{ P50, P90, P95, P99, P999 int64 }

// QuantilesOf sorts s and returns its quantiles; of nothing they are 0.
func QuantilesOf(s []int64) Quantiles {
	if len(s) == 0 {
		return Quantiles{}
	}
	slices.Sort(s)
	at := func(q float64) int64 { return s[min(len(s)-1, int(q*float64(len(s))))] }
	return Quantiles{at(0.5), at(0.9), at(0.95), at(0.99), at(0.999)}
}
