package replica

import (
	"fmt"
	"runtime/debug"
	"time"

	"pegasus/base"
	"pegasus/rpc"
)

// run carries out the rounds of what was touched, and what follows from them. Messages leave
// before the log is written, so that the others write theirs at the same time.
func (w *worker) run() {
	for len(w.dirty) > 0 {
		for i, r := range w.dirty {
			w.dirty[i] = nil
			r.drive(w)
		}
		w.dirty = w.dirty[:0]
		w.settle()
	}
}

// settle sends what was gathered, and writes the logs.
func (w *worker) settle() {
	w.burst.Flush()
	if len(w.leaving) > 0 {
		w.left()
	}
	for i, d := range w.logs {
		w.logs[i] = nil
		d.Log().Kick()
		w.dirty = d.takeWritten(w.dirty)
	}
	w.logs = w.logs[:0]
}

// fewRounds is how many rounds of one replica a worker carries out before the replica's own
// goroutine takes over.
const fewRounds = 3

// drive carries out rounds of r here, or leaves them to who is in one, or to r's goroutine.
func (r *replica) drive(w *worker) {
	r.inbox.mu.Lock()
	switch {
	case r.inbox.running || !r.inbox.closed && r.inbox.empty():
		r.inbox.mu.Unlock()
	case r.inbox.closed || r.inbox.patient || len(r.inbox.calls) > 0 || r.taking.pending() || r.store.Load().WouldStall():
		r.inbox.running = true
		r.inbox.mu.Unlock()
		r.wake <- struct{}{}
	default:
		r.inbox.running = true
		r.inbox.mu.Unlock()
		r.driver.rounds(w, fewRounds)
	}
}

// rounds carries out rounds until nothing is left; after most, unless that is negative, it
// leaves the rest to r's goroutine. running is set, and is given up or handed on.
func (r *driver) rounds(w *worker, most int) {
	for ; ; most-- {
		r.inbox.mu.Lock()
		switch {
		case r.inbox.closed && most < 0:
			// The goroutine itself: see run.
			r.inbox.mu.Unlock()
			return
		case !r.inbox.closed && r.inbox.empty():
			r.inbox.running = false
			r.inbox.mu.Unlock()
			return
		case most == 0, most > 0 && (r.inbox.closed || r.inbox.patient || len(r.inbox.calls) > 0 || r.taking.pending()):
			r.inbox.mu.Unlock()
			r.wake <- struct{}{}
			return
		}
		r.inbox.work, r.taken = r.taken, r.inbox.work
		r.inbox.mu.Unlock()
		r.worker = w
		r.guarded()
		r.worker = nil
		r.taken.recycle()
		if most < 0 {
			// The goroutine may be at it for long: let nobody else wait for that.
			w.settle()
			w.run()
		}
	}
}

// guarded is round, but that a bug in it costs this replica and not the process, nor the
// connection on whose goroutine it runs.
func (r *driver) guarded() {
	defer func() {
		if p := recover(); p != nil {
			// Clients get no answer, as if the server had died: which of them were answered
			// isn't certain.
			for i := range r.flights.list {
				r.flights.list[i].end(false)
			}
			r.queue = nil
			r.flights.forget()
			r.fail(fmt.Errorf("a bug: %v\n%s", p, debug.Stack()))
			r.conclude()
		}
	}()
	r.round(&r.taken)
}

// run is the replica's goroutine.
func (r *driver) run() {
	defer close(r.done)
	w := &worker{burst: new(rpc.Burst)}
	for range r.wake {
		r.rounds(w, -1)
		r.inbox.mu.Lock()
		closed := r.inbox.closed && r.inbox.running
		r.inbox.mu.Unlock()
		if closed {
			r.shut(&r.inbox.work)
			return
		}
	}
}

// shut is the loop's last round.
func (r *driver) shut(w *work) {
	r.core.Retire()
	r.learner.Stop()
	refuseAll(w.writes, base.ErrInvalidState)
	r.abandon()
}

// afterBatch is called by rpc on a connection's goroutine when what was read at once is
// with its replicas.
func (s *Server) afterBatch(b *rpc.Batch) {
	w, _ := b.Work.(*worker)
	if w == nil || len(w.dirty) == 0 {
		return
	}
	w.burst = &b.Burst
	w.run()
	// A connection that does nothing keeps nothing.
	b.Work = nil
	w.burst = nil
	workers.Put(w)
}

// tickLoop passes time to all replicas.
func (s *Server) tickLoop() {
	t := time.NewTicker(tick)
	defer t.Stop()
	w := &worker{burst: new(rpc.Burst)}
	for {
		select {
		case <-s.halt:
			return
		case <-t.C:
		}
		w.dirty = s.appendTo(w.dirty)
		for _, r := range w.dirty {
			r.inbox.mu.Lock()
			r.inbox.ticked = true
			r.inbox.mu.Unlock()
		}
		w.run()
	}
}

// follow sees to replicas whose entries the log's goroutine has written.
func (s *Server) follow(d *dataDir) {
	w := &worker{burst: new(rpc.Burst)}
	for {
		select {
		case <-s.halt:
			return
		case <-d.batches:
		}
		w.dirty = d.takeWritten(w.dirty)
		w.run()
	}
}
