package wal

import "time"

// The operating system makes who writes wait when its disk is behind. Then callers have
// better things to do: after a Kick that took slowKick or longer, the writer goroutine writes
// for slowTimes as long, up to slowMost. Less than slowKick may be the processor's doing.
const (
	slowKick  = 4 * time.Millisecond
	slowTimes = 20
	slowMost  = 2 * time.Second
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
	l.mu.Lock()
	if l.busy || len(l.queue) == 0 {
		// Who is busy looks at the queue afterwards.
		l.mu.Unlock()
		return
	}
	start := time.Now()
	if start.Before(l.slowUntil) || l.always || l.job != nil || l.closing || l.failed != nil || l.w.active.end >= l.opts.Config.SegmentBytes {
		l.mu.Unlock()
		l.work.Signal()
		return
	}
	l.busy = true
	var items []item
	items, l.queue = l.queue, l.kicked[:0]
	l.kicked = nil
	l.mu.Unlock()

	l.writeItems(items, false)
	clear(items)

	l.mu.Lock()
	l.busy = false
	l.kicked = items
	if now := time.Now(); now.Sub(start) >= slowKick {
		l.slowUntil = now.Add(min(slowTimes*now.Sub(start), slowMost))
	}
	more := len(l.queue) > 0 || l.job != nil || l.idle || l.closing
	l.mu.Unlock()
	if more {
		l.work.Signal()
	}
}
