package admission

import (
	"math"
	"sync"
	"time"

	"pegasus/base/appenv"
)

type verdict uint8

const (
	pass verdict = iota
	delay
	reject
)

// window counts units of the present second of the wall clock against a throttle, as
// upstream does. The zero value lets everything pass.
type window struct {
	on                   bool
	delayAbove, delayMS  uint64 // 0: that part is off
	rejectAbove, waitsMS uint64

	mu     sync.Mutex
	second int64
	units  uint64
}

// newWindow is a partition's part of a table's throttle.
func newWindow(t appenv.Throttle, partitions uint64) window {
	share := func(n uint64) uint64 {
		if n == 0 {
			return 0
		}
		return n/partitions + 1
	}
	return window{on: t.Delay.Units > 0 || t.Reject.Units > 0, delayAbove: share(t.Delay.Units), delayMS: t.Delay.MS,
		rejectAbove: share(t.Reject.Units), waitsMS: t.Reject.MS}
}

// take counts a request of n units whose client waits for timeoutMS (0 or less is not
// known). The wait is never longer than half of that.
func (w *window) take(now time.Time, timeoutMS int32, n uint64) (verdict, time.Duration) {
	if !w.on {
		return pass, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := now.Unix(); s != w.second {
		w.second, w.units = s, 0
	}
	sum := w.units + n
	if w.rejectAbove > 0 && sum > w.rejectAbove {
		return reject, shortened(w.waitsMS, timeoutMS)
	}
	w.units = sum
	if w.delayAbove > 0 && sum > w.delayAbove {
		return delay, shortened(w.delayMS, timeoutMS)
	}
	return pass, 0
}

func shortened(ms uint64, timeoutMS int32) time.Duration {
	ms = min(ms, math.MaxInt32)
	if timeoutMS > 0 {
		ms = min(ms, uint64(timeoutMS/2))
	}
	return time.Duration(ms) * time.Millisecond
}

// bucket is a token bucket that may be overdrawn: what a read costs is known after it. Its
// rate a second is also what it holds.
type bucket struct {
	rate float64

	mu     sync.Mutex
	tokens float64
	at     time.Time
}

// maxDeficit is how many seconds' tokens a bucket may lack: one huge read doesn't shut a table
// for hours.
const maxDeficit = 10

func newBucket(rate uint64) *bucket { return &bucket{rate: float64(rate), tokens: float64(rate)} }

func (b *bucket) available(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() {
		b.tokens = min(b.tokens+b.rate*max(now.Sub(b.at).Seconds(), 0), b.rate)
	}
	b.at = now
	return b.tokens > 0
}

func (b *bucket) consume(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = max(b.tokens-float64(n), -maxDeficit*b.rate)
}
