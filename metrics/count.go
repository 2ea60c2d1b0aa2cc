package metrics

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

const (
	window      = 512 // samples that percentiles are of
	sampleEvery = 16  // once the window is full: one in so many, about
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

// The buckets of a histogram: their upper bounds are powers of 2^(1/4) seconds, from 2^firstOctave to 2^lastOctave. Such bounds are
// those of Prometheus' native histograms (schema 2), and every fourth is one of the classic histogram.
const (
	octaveBuckets = 4
	firstOctave   = -20 // about a microsecond
	lastOctave    = 4   // 16 s
	numBuckets    = (lastOctave-firstOctave)*octaveBuckets + 2
)

// Histogram is a distribution of durations. Bucket 0 has those up to 2^firstOctave seconds, the last one those above 2^lastOctave.
type Histogram struct {
	Buckets [numBuckets]int64
	Sum     time.Duration
	// Shift is how many octaves all bounds are moved up.
	Shift int
}

// Count returns of how many durations it is.
func (h *Histogram) Count() (n int64) {
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

// Octaves are how many durations were up to 2^firstOctave seconds, up to twice that and so on; the last has all that were longer
// than 2^lastOctave seconds.
type Octaves [lastOctave - firstOctave + 2]int64

// AddTo adds the durations to o. Those of a Histogram with a Shift aren't meant.
func (h *Histogram) AddTo(o *Octaves) {
	for i, n := range h.Buckets {
		o[(i+octaveBuckets-1)/octaveBuckets] += n
	}
}

// Count returns how many durations there are.
func (o *Octaves) Count() (n int64) {
	for _, c := range o {
		n += c
	}
	return n
}

// Quantile returns about how long the part q of the durations took at most, q from 0 to 1: within an octave durations count as
// spread evenly. 0: there are none.
func (o *Octaves) Quantile(q float64) time.Duration {
	rank, below := q*float64(o.Count()), 0.0
	for i, c := range o {
		if n := float64(c); n > 0 && below+n >= rank {
			upper := math.Ldexp(1, firstOctave+i)
			lower := upper / 2
			if i == 0 {
				lower = 0
			}
			if i == len(o)-1 {
				upper = lower // nobody knows how long
			}
			return time.Duration((lower + (upper-lower)*(rank-below)/n) * float64(time.Second))
		}
		below += float64(c)
	}
	return 0
}

// bucket returns the bucket of a duration. It takes the bounds from the exponent and the mantissa of the floating-point number.
func bucket(d time.Duration) int {
	bits := math.Float64bits(float64(max(d, 1)) * 1e-9)
	mantissa := bits & (1<<52 - 1)
	i := (int(bits>>52)-1023-firstOctave)*octaveBuckets + more(mantissa, 0) + more(mantissa, quarters[0]) + more(mantissa, quarters[1]) + more(mantissa, quarters[2])
	return min(max(i, 0), numBuckets-1)
}

// quarters are the mantissas of 2^(1/4), 2^(2/4) and 2^(3/4).
var quarters = func() (m [octaveBuckets - 1]uint64) {
	for i := range m {
		m[i] = math.Float64bits(math.Exp2(float64(i+1)/octaveBuckets)) & (1<<52 - 1)
	}
	return m
}()

func more(a, b uint64) int {
	if a > b {
		return 1
	}
	return 0
}

// stripes keep goroutines on different processors from writing the same cache line.
const stripes = 4

// Times counts durations: their distribution, and the latest for percentiles. The zero value is ready.
type Times struct {
	shift uint8 // octaves
	cell  [stripes]struct {
		n   [numBuckets]atomic.Int64
		sum atomic.Int64
		_   [5 * 8]byte
	}
	latest Samples
}

// Longer returns Times for durations of milliseconds to hours.
func Longer() *Times { return &Times{shift: 10} }

// Add counts a duration.
func (t *Times) Add(d time.Duration) {
	r := rand.Uint32()
	c := &t.cell[r%stripes]
	c.n[bucket(d>>t.shift)].Add(1)
	c.sum.Add(int64(d))
	if r>>8%sampleEvery == 0 || t.latest.next.Load() < window {
		t.latest.Add(int64(d))
	}
}

// Count returns how many there were.
func (t *Times) Count() (n int64) {
	for i := range t.cell {
		for b := range t.cell[i].n {
			n += t.cell[i].n[b].Load()
		}
	}
	return n
}

// Histogram returns the distribution.
func (t *Times) Histogram() *Histogram {
	h := &Histogram{Shift: int(t.shift)}
	for i := range t.cell {
		c := &t.cell[i]
		for b := range c.n {
			h.Buckets[b] += c.n[b].Load()
		}
		h.Sum += time.Duration(c.sum.Load())
	}
	return h
}

// AppendSamples appends the latest in nanoseconds.
func (t *Times) AppendSamples(b []int64) []int64 { return t.latest.Append(b) }

// Ops counts client operations and their latency. The zero value is ready; what isn't used takes next to no memory.
type Ops struct {
	times [NumOps]atomic.Pointer[Times]
}

// Took counts one op that took d.
func (o *Ops) Took(op Op, d time.Duration) {
	t := o.times[op].Load()
	if t == nil {
		t = new(Times)
		if !o.times[op].CompareAndSwap(nil, t) {
			t = o.times[op].Load()
		}
	}
	t.Add(d)
}

// Of returns what is counted of op; nil if there was none.
func (o *Ops) Of(op Op) *Times { return o.times[op].Load() }

// Collect adds the metrics of all operations to the entity of a replica.
func (o *Ops) Collect(e *Entity) {
	for op := range NumOps {
		t := o.Of(op)
		v := e.SetTimes(Latency[op], t)
		e.Set(Requests[op], v)
	}
}

// AppendSamples appends the latest latencies of op in nanoseconds.
func (o *Ops) AppendSamples(b []int64, op Op) []int64 {
	if t := o.Of(op); t != nil {
		return t.AppendSamples(b)
	}
	return b
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
