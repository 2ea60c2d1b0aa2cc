package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"pegasus/base"
	"pegasus/client"
)

// Latencies are kept in microseconds, to three digits, up to ten minutes.
const (
	histMax    = 600_000_000
	histDigits = 3
)

func newHist() *hdrhistogram.Histogram { return hdrhistogram.New(1, histMax, histDigits) }

// tally is what one client's slots count. They rarely meet on its lock.
type tally struct {
	mu     sync.Mutex
	hist   [kindCount]*hdrhistogram.Histogram // since the last take
	errs   map[string]int64
	bytes  int64 // of values read and written
	misses int64 // rows that weren't there
	ops    int64
}

func newTally() *tally { return &tally{errs: map[string]int64{}} }

func (t *tally) ok(k kind, latency time.Duration, bytes int, missed bool) {
	us := min(max(latency.Microseconds(), 1), histMax)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hist[k] == nil {
		t.hist[k] = newHist()
	}
	t.hist[k].RecordValue(us)
	t.bytes += int64(bytes)
	t.ops++
	if missed {
		t.misses++
	}
}

func (t *tally) failed(err error) {
	name := string(base.CodeOf(err))
	if se, ok := err.(*client.StoreError); ok {
		name = se.Error()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs[name]++
}

// sum is tallies added up.
type sum struct {
	hist               [kindCount]*hdrhistogram.Histogram
	errs               map[string]int64
	bytes, misses, ops int64
	nErrs              int64
}

func newSum() *sum { return &sum{errs: map[string]int64{}} }

// take moves what t has counted into both.
func (s *sum) take(t *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, h := range t.hist {
		if h == nil || h.TotalCount() == 0 {
			continue
		}
		if s.hist[k] == nil {
			s.hist[k] = newHist()
		}
		s.hist[k].Merge(h)
		h.Reset()
	}
	for e, n := range t.errs {
		s.errs[e] += n
		s.nErrs += n
	}
	clear(t.errs)
	s.bytes, s.misses, s.ops = s.bytes+t.bytes, s.misses+t.misses, s.ops+t.ops
	t.bytes, t.misses, t.ops = 0, 0, 0
}

// add adds another sum.
func (s *sum) add(o *sum) {
	for k, h := range o.hist {
		if h == nil {
			continue
		}
		if s.hist[k] == nil {
			s.hist[k] = newHist()
		}
		s.hist[k].Merge(h)
	}
	for e, n := range o.errs {
		s.errs[e] += n
	}
	s.bytes, s.misses, s.ops, s.nErrs = s.bytes+o.bytes, s.misses+o.misses, s.ops+o.ops, s.nErrs+o.nErrs
}

// all merges the kinds.
func (s *sum) all() *hdrhistogram.Histogram {
	h := newHist()
	for _, k := range s.hist {
		if k != nil {
			h.Merge(k)
		}
	}
	return h
}
