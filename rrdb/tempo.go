package rrdb

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/time/rate"
)

// tempo spreads what flushes and compactions do over time. Left to themselves they do it as
// fast as they can: stores that are written to at the same rate come due together, take all
// processors for a second, and requests wait. The work is the same, so it goes at a speed that
// makes it last for a good part of the time until there is work again. Who can't wait isn't
// held up, see hurried. The speed is that of writing table files.
//
//   - A flush takes a part of the time that the memtable took to fill: see flushTempo.
//   - The compactions of a server go twice as fast as they wrote on average. Work that
//     doesn't end raises the average, and so its speed.
type tempo struct {
	now func() time.Time

	mu      sync.Mutex
	average float64   // bytes a second, of compactions
	at      time.Time // of which time average is
	pace    *rate.Limiter

	flushWaits, waits atomic.Int64 // nanoseconds that flushes and compactions were held up
}

const (
	tempoFirst, tempoLeast = 64 << 20, 16 << 20 // bytes a second
	// tempoAhead is the speed by the average.
	tempoAhead = 2
	// tempoMemory is how long what was written counts, mostly.
	tempoMemory = 10 * time.Second
	// tempoLook is how often who waits looks whether he is hurried.
	tempoLook = 20 * time.Millisecond
)

func newTempo(now func() time.Time) *tempo {
	return &tempo{now: now, average: tempoFirst / tempoAhead, at: now(), pace: rate.NewLimiter(0, fileChunk)}
}

// reserve notes that n bytes are about to be written, and returns how long to wait before.
// Who is hurried is counted, but neither waits nor makes others wait.
func (t *tempo) reserve(n int, hurried bool) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.average *= math.Exp(-float64(now.Sub(t.at)) / float64(tempoMemory))
	t.at = now
	t.average += float64(n) / tempoMemory.Seconds()
	if hurried {
		return 0
	}
	t.pace.SetLimitAt(now, rate.Limit(max(t.average*tempoAhead, tempoLeast)))
	return delay(t.pace, now, n)
}

// delay returns how long to wait before n bytes are written. At once after a pause goes one chunk.
func delay(pace *rate.Limiter, now time.Time, n int) (wait time.Duration) {
	for ; n > 0; n -= fileChunk {
		wait = pace.ReserveN(now, min(n, fileChunk)).DelayFrom(now)
	}
	return wait
}

// flushTempo is the speed of one store's flushes.
type flushTempo struct {
	mu    sync.Mutex
	began time.Time     // the last flush
	pace  *rate.Limiter // nil: as fast as it can
}

const (
	// flushPart is how much of the time in which a memtable was filled its flush may take.
	flushPart = 0.4
	// flushMost is the longest time of filling that counts.
	flushMost = 30 * time.Second
)

// begin is told of a flush of so many bytes.
func (f *flushTempo) begin(now time.Time, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pace = nil
	if took := flushPart * min(now.Sub(f.began), flushMost).Seconds(); !f.began.IsZero() && took > 0 {
		f.pace = rate.NewLimiter(rate.Limit(float64(max(bytes, smallestArena))/took), fileChunk)
	}
	f.began = now
}

// reserve returns how long to wait before n bytes are written.
func (f *flushTempo) reserve(now time.Time, n int) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pace == nil {
		return 0
	}
	return delay(f.pace, now, n)
}

// isFlush tells what a table file is written for.
func isFlush(c vfs.DiskWriteCategory) bool { return strings.Contains(string(c), "flush") }

// keepTempo holds up who writes n bytes of a table file of s, as the tempo has it.
func (s *Store) keepTempo(n int, flush bool) {
	var wait time.Duration
	waits := &s.shared.tempo.waits
	if hurried := s.hurried(flush); !flush {
		wait = s.shared.tempo.reserve(n, hurried)
	} else if waits = &s.shared.tempo.flushWaits; !hurried {
		wait = s.mem.flushing.reserve(time.Now(), n)
	}
	if wait <= 0 {
		return
	}
	began := time.Now()
	defer func() { waits.Add(int64(time.Since(began))) }()
	end := began.Add(wait)
	timer := time.NewTimer(min(wait, tempoLook))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.closed:
			return
		case <-s.failure.happened:
			return
		}
		left := time.Until(end)
		if left <= 0 || s.hurried(flush) {
			return
		}
		timer.Reset(min(left, tempoLook))
	}
}

// hurried tells that flushes, or compactions, of s are to be as fast as they can: somebody
// waits for them, or will soon.
func (s *Store) hurried(flush bool) bool {
	m := s.shared.memory
	switch {
	case s.mem.crowded.Load(), s.mem.awaited.Load() > 0:
		return true
	case !flush:
		return false
	}
	return m.active.Load() > m.limit/4*3 || m.reserved.Load() > m.limit || s.mem.active.Load() > s.memtableBytes()/5*3
}
