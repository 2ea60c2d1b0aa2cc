package replica

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/rpc"
)

// throttled counts what a table's throttles did to requests of a replica.
type throttled struct {
	delayedWrites, rejectedWrites, delayedReads, rejectedReads, delayedBackups, rejectedBackups atomic.Int64
}

// What is done with a delayed request when its time has come.
type late uint8

const (
	lateWrite   late = iota // it is admitted
	lateRead                // it is answered
	lateRefusal             // it is refused as busy
)

// delays holds requests that a throttle keeps waiting: a heap by the time that they are due,
// which one goroutine of the server waits for. A request costs the memory of its bytes; how
// much that may be for all of them is limited, and what is too much is refused at once.
type delays struct {
	srv   *Server
	limit int64
	wake  chan struct{}

	mu     sync.Mutex
	heap   delayHeap
	bytes  int64
	closed bool
}

type delayed struct {
	due  time.Time
	req  *rpc.Request
	what late
}

// delayedOverhead is about what a waiting request takes besides its bytes.
const delayedOverhead = 512

func (d *delayed) cost() int64 { return int64(len(d.req.Body)) + delayedOverhead }

type delayHeap []delayed

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(delayed)) }
func (h *delayHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = delayed{}
	*h = old[:len(old)-1]
	return x
}

func newDelays(s *Server) *delays {
	return &delays{srv: s, limit: s.cfg.RPC.MaxInFlightBytes / 4, wake: make(chan struct{}, 1)}
}

// put takes over a request. One that is to be delayed by nothing is still delayed: whoever
// calls is at a place where it can't be carried out.
func (d *delays) put(now time.Time, wait time.Duration, req *rpc.Request, what late) {
	if what == lateRefusal && wait <= 0 {
		req.ReplyError(base.ErrBusy)
		return
	}
	x := delayed{now.Add(wait), req, what}
	d.mu.Lock()
	if d.closed || d.bytes+x.cost() > d.limit {
		d.mu.Unlock()
		req.ReplyError(base.ErrBusy)
		return
	}
	req.Detach()
	d.bytes += x.cost()
	heap.Push(&d.heap, x)
	first := d.heap[0].req == req
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// take removes what is due, and tells how long to wait for the next; 0 is until a wake.
func (d *delays) take(now time.Time, due []delayed) ([]delayed, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.heap) > 0 && !d.heap[0].due.After(now) {
		x := heap.Pop(&d.heap).(delayed)
		d.bytes -= x.cost()
		due = append(due, x)
	}
	if len(d.heap) == 0 {
		d.heap = nil // what it grew to is not kept
		return due, 0
	}
	return due, d.heap[0].due.Sub(now)
}

// run carries out what is due until ctx ends; what still waits then is refused.
func (d *delays) run(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	w := &worker{burst: new(rpc.Burst)}
	var due []delayed
	for {
		var wait time.Duration
		due, wait = d.take(time.Now(), due[:0])
		d.srv.carryOut(w, due)
		clear(due)
		if wait <= 0 {
			wait = time.Hour
		}
		t.Reset(wait)
		select {
		case <-ctx.Done():
			d.close()
			return
		case <-d.wake:
		case <-t.C:
		}
	}
}

// waiting returns how many requests wait.
func (d *delays) waiting() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.heap))
}

func (d *delays) close() {
	d.mu.Lock()
	rest := d.heap
	d.heap, d.bytes, d.closed = nil, 0, true
	d.mu.Unlock()
	for i := range rest {
		rest[i].req.ReplyError(base.ErrBusy)
	}
}

// carryOut does what was put off. Reads may have to wait for a disk, which the others should
// not wait for.
func (s *Server) carryOut(w *worker, due []delayed) {
	var reads []*rpc.Request
	for _, x := range due {
		switch x.what {
		case lateRefusal:
			x.req.ReplyError(base.ErrBusy)
		case lateRead:
			reads = append(reads, x.req)
		default:
			s.write(x.req, w)
		}
	}
	if len(reads) > 0 {
		go func() {
			for _, req := range reads {
				s.read(req, true)
			}
		}()
	}
	w.run()
}
