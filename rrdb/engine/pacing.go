package engine

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// pacing spreads the I/O of flushes and compactions over time. Pebble writes as fast as it can. Stores
// with the same write rate flush and compact at the same time, take all processors for a second, and
// requests wait. Paced, the same work lasts for a good part of the time until the next. What is
// paced is the writing of table files. Urgent work is never held up, see urgent.
//
//   - A flush takes a part of the time that the memtable took to fill, see flushPacer.
//   - The compactions of a server write twice as fast as they did on average, see compactionPacer.
type pacing struct {
	compactions                 compactionPacer
	flushWaits, compactionWaits atomic.Int64 // nanoseconds that they were held up
}

func newPacing(now func() time.Time) *pacing { return &pacing{compactions: newCompactionPacer(now)} }

// spacer spaces writes out to a rate.
type spacer struct{ free time.Time }

// wait returns how long to wait before n bytes are written at so many bytes a second. After a
// pause the first write waits for nothing.
func (s *spacer) wait(now time.Time, n int, rate float64) time.Duration {
	if s.free.Before(now) {
		s.free = now
	}
	wait := s.free.Sub(now)
	s.free = s.free.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	return wait
}

const (
	// Bytes a second that the compactions of a server may write after its start, and at least.
	initialRate, minRate = 64 << 20, 16 << 20
	// rateFactor times the average is the rate.
	rateFactor = 2
	// averageTime is the time constant of the average.
	averageTime = 10 * time.Second
)

// compactionPacer holds up the compactions of a server. Compactions that don't end raise the average,
// and with it the rate.
type compactionPacer struct {
	now func() time.Time

	mu      sync.Mutex
	average float64   // bytes a second
	at      time.Time // of which time average is
	spacer  spacer
}

func newCompactionPacer(now func() time.Time) compactionPacer {
	return compactionPacer{now: now, average: initialRate / rateFactor, at: now()}
}

// wait counts n bytes that are about to be written, and returns how long to wait first. Urgent work
// counts for the average, but neither waits nor makes others wait.
func (p *compactionPacer) wait(n int, urgent bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.average *= math.Exp(-float64(now.Sub(p.at)) / float64(averageTime))
	p.average += float64(n) / averageTime.Seconds()
	p.at = now
	if urgent {
		return 0
	}
	return p.spacer.wait(now, n, max(p.average*rateFactor, minRate))
}

const (
	// flushShare is the part of the time in which a memtable was filled that its flush may take.
	flushShare = 0.4
	// maxFillTime is the longest such time that counts.
	maxFillTime = 30 * time.Second
)

// flushPacer holds up the flushes of one store.
type flushPacer struct {
	mu     sync.Mutex
	began  time.Time // the last flush
	rate   float64   // bytes a second; 0: no limit
	spacer spacer
}

// begin sets the rate for a flush of so many bytes.
func (p *flushPacer) begin(now time.Time, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = 0
	if took := flushShare * min(now.Sub(p.began), maxFillTime).Seconds(); !p.began.IsZero() && took > 0 {
		p.rate = float64(max(bytes, smallestArena)) / took
	}
	p.began, p.spacer = now, spacer{}
}

// wait returns how long to wait before n bytes are written.
func (p *flushPacer) wait(now time.Time, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate == 0 {
		return 0
	}
	return p.spacer.wait(now, n, p.rate)
}

// urgencyCheck is how often work that is held up checks whether it has become urgent.
const urgencyCheck = 20 * time.Millisecond

// pace is called before n bytes of a table file are written, and holds the writer up.
func (m *Member) pace(n int, flush bool) {
	p := m.engine.pacing
	var wait time.Duration
	waits := &p.compactionWaits
	if urgent := m.urgent(flush); !flush {
		wait = p.compactions.wait(n, urgent)
	} else if waits = &p.flushWaits; !urgent {
		wait = m.flushes.wait(time.Now(), n)
	}
	if wait <= 0 {
		return
	}
	began := time.Now()
	defer func() { waits.Add(int64(time.Since(began))) }()
	end := began.Add(wait)
	timer := time.NewTimer(min(wait, urgencyCheck))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-m.store.Closing():
			return
		case <-m.Failed():
			return
		}
		left := time.Until(end)
		if left <= 0 || m.urgent(flush) {
			return
		}
		timer.Reset(min(left, urgencyCheck))
	}
}

// urgent tells whether somebody waits for the flushes, or compactions, of the store, or will soon.
func (m *Member) urgent(flush bool) bool {
	mem := m.engine.memory
	switch {
	case m.mem.behind.Load(), m.mem.awaited.Load() > 0:
		return true
	case !flush:
		return false
	}
	return mem.active.Load() > mem.limit/4*3 || mem.reserved.Load() > mem.limit || m.mem.active.Load() > m.mem.max/5*3
}
