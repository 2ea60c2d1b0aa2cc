package replica

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"pegasus/rpc"
)

// A round of a replica is carried out by whoever brings it work, if nobody is in one: the
// reader of a connection after it has handed over what it read, the ticker, the goroutine
// that follows the log. To hand a round to the replica's own goroutine costs more than the
// round does when there is little to do. That goroutine, which may wait, takes over when
//
//   - there is work left after a few rounds, so that nobody is kept from his own work;
//   - the store may have to wait for its disk, or the work is such that it may: a change of
//     the ballot, installing a checkpoint, requests of the meta.
//
// A worker is a goroutine's place for that: replicas to see to, what leaves at the end.
type worker struct {
	burst *rpc.Burst
	dirty []*replica
	logs  []*dataDir
}

// fewRounds is how many rounds of one replica a worker carries out before the replica's own
// goroutine takes over.
const fewRounds = 3

// touch notes that r has work.
func (w *worker) touch(r *replica) {
	// A replica that stands there twice costs a look into an empty inbox.
	last := w.dirty[max(0, len(w.dirty)-16):]
	for _, d := range last {
		if d == r {
			return
		}
	}
	w.dirty = append(w.dirty, r)
}

// held notes that appends wait in d's log for a Kick.
func (w *worker) held(d *dataDir) {
	for _, l := range w.logs {
		if l == d {
			return
		}
	}
	w.logs = append(w.logs, d)
}

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
	for i, d := range w.logs {
		w.logs[i] = nil
		d.log().Kick()
		w.dirty = d.takeWritten(w.dirty)
	}
	w.logs = w.logs[:0]
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

var workers = sync.Pool{New: func() any { return new(worker) }}

// workerOf returns the worker of the connection that req came by. Only for use on its
// reader goroutine.
func workerOf(req *rpc.Request) *worker {
	b := req.Batch()
	w, _ := b.Work.(*worker)
	if w == nil {
		w = workers.Get().(*worker)
		b.Work = w
	}
	return w
}

// drive carries out rounds of r here, or leaves them to who is in one, or to r's goroutine.
func (r *replica) drive(w *worker) {
	r.inbox.mu.Lock()
	switch {
	case r.inbox.running || !r.inbox.closed && r.inbox.empty():
		r.inbox.mu.Unlock()
	case r.inbox.closed || r.inbox.patient || len(r.inbox.calls) > 0 || !r.store.Load().Calm():
		r.inbox.running = true
		r.inbox.mu.Unlock()
		r.wake <- struct{}{}
	default:
		r.inbox.running = true
		r.inbox.mu.Unlock()
		r.rounds(w, fewRounds)
	}
}

// ring has r's goroutine see to the inbox, unless somebody does who will look again.
func (r *replica) ring() {
	r.inbox.mu.Lock()
	if r.inbox.running {
		r.inbox.mu.Unlock()
		return
	}
	r.inbox.running = true
	r.inbox.mu.Unlock()
	r.wake <- struct{}{} // never full: a token is only sent by who set running
}

// rounds carries out rounds until nothing is left; after most, unless that is negative, it
// leaves the rest to r's goroutine. running is set, and is given up or handed on.
func (r *replica) rounds(w *worker, most int) {
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
		case most == 0, most > 0 && (r.inbox.closed || r.inbox.patient || len(r.inbox.calls) > 0):
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
func (r *replica) guarded() {
	defer func() {
		if p := recover(); p != nil {
			// Clients get no answer, as if the server had died: which of them were answered
			// isn't certain.
			for i := range r.flights.list {
				r.flights.list[i].end(false)
			}
			r.queue, r.flights.list = nil, nil
			r.fail(fmt.Errorf("a bug: %v\n%s", p, debug.Stack()))
			r.publish()
		}
	}()
	r.round(&r.taken)
}

// run is the replica's goroutine.
func (r *replica) run() {
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
		s.mu.RLock()
		for _, r := range s.replicas {
			w.dirty = append(w.dirty, r)
		}
		s.mu.RUnlock()
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

// written is what a data directory's log has written and its replicas don't know yet.
type written struct {
	mu   sync.Mutex
	list []*replica
}

func (d *dataDir) wrote(r *replica) {
	d.written.mu.Lock()
	d.written.list = append(d.written.list, r)
	d.written.mu.Unlock()
}

// takeWritten appends to rs those replicas whose entries were written.
func (d *dataDir) takeWritten(rs []*replica) []*replica {
	d.written.mu.Lock()
	defer d.written.mu.Unlock()
	for i, r := range d.written.list {
		d.written.list[i] = nil
		if n := len(rs); n == 0 || rs[n-1] != r {
			rs = append(rs, r)
		}
	}
	d.written.list = d.written.list[:0]
	return rs
}
