package wal

import "time"

// The operating system makes who writes wait when its disk is behind. Then callers have
// better things to do: after a Kick that took slowKick or longer, the writer goroutine writes
// for slowTimes as long, up to maxSlow. Less than slowKick may be the processor's doing.
const (
	slowKick  = 4 * time.Millisecond
	slowTimes = 20
	maxSlow   = 2 * time.Second
)

// Handing a batch to the writer goroutine costs two switches between goroutines. Where
// nothing waits for a disk (sync "os") a write is only a copy, so a caller may do it itself:
// it queues by AppendHeld, and then writes by Kick what has gathered.

// AppendHeld is Append, but that the writer goroutine isn't woken: the caller must call
// Kick soon, without locks that a callback takes.
func (l *Log) AppendHeld(entries []Entry, done func(error)) {
	l.enqueue(item{kind: kindMutation, entries: entries, done: done}, false)
}

// Kick writes what is queued on the caller's goroutine, callbacks included, if that is
// only a copy to the operating system; else it leaves it to the writer goroutine.
func (l *Log) Kick() {
	l.in.mu.Lock()
	if l.in.busy || len(l.in.items) == 0 {
		// Who is busy looks at the queue afterwards.
		l.in.mu.Unlock()
		return
	}
	start := time.Now()
	if start.Before(l.in.slowUntil) || l.always || l.in.job != nil || l.in.closing || l.failed != nil || l.w.active.end >= l.opts.SegmentBytes {
		l.in.mu.Unlock()
		l.in.work.Signal()
		return
	}
	l.in.busy = true
	var items []item
	items, l.in.items = l.in.items, l.in.kicked[:0]
	l.in.kicked = nil
	l.in.mu.Unlock()

	l.w.writeItems(items, false)
	clear(items)

	l.in.mu.Lock()
	l.in.busy = false
	l.in.kicked = items
	if now := time.Now(); now.Sub(start) >= slowKick {
		l.in.slowUntil = now.Add(min(slowTimes*now.Sub(start), maxSlow))
	}
	more := len(l.in.items) > 0 || l.in.job != nil || l.in.idle || l.in.closing
	l.in.mu.Unlock()
	if more {
		l.in.work.Signal()
	}
}

// Wait calls f, which hands its argument to one of the log's methods, and waits until that is done.
func Wait(f func(done func(error))) error {
	c := make(chan error, 1)
	f(func(err error) { c <- err })
	return <-c
}
