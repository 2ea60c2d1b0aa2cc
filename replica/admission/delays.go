package admission

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/rpc"
)

// kind is what a delayed request is.
type kind uint8

const (
	write kind = iota
	read
	refusal // it is refused as busy when its time has come
)

// delays holds requests that a throttle keeps waiting: a heap by the time that they are due,
// which one goroutine of the server waits for. A request costs the memory of its bytes; how
// much that may be for all of them is limited, and what is too much is refused at once.
type delays struct {
	limit int64
	wake  chan struct{}

	mu     sync.Mutex
	heap   delayHeap
	bytes  int64
	closed bool
}

// Delayed is a request that was delayed.
type Delayed struct {
	Req  *rpc.Request
	kind kind
	due  time.Time
}

// IsWrite tells a write from a read.
func (d Delayed) IsWrite() bool { return d.kind == write }

// delayedOverhead is about what a waiting request takes besides its bytes.
const delayedOverhead = 512

func (d *Delayed) cost() int64 { return int64(len(d.Req.Body)) + delayedOverhead }

type delayHeap []Delayed

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delayHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayHeap) Push(x any)        { *h = append(*h, x.(Delayed)) }
func (h *delayHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = Delayed{}
	*h = old[:len(old)-1]
	return x
}

func newDelays(limit int64) delays { return delays{limit: limit, wake: make(chan struct{}, 1)} }

// put takes over a request. One that is to be delayed by nothing is still delayed: whoever
// calls is at a place where it can't be carried out.
func (d *delays) put(now time.Time, wait time.Duration, req *rpc.Request, what kind) {
	if what == refusal && wait <= 0 {
		req.ReplyError(base.ErrBusy)
		return
	}
	x := Delayed{req, what, now.Add(wait)}
	d.mu.Lock()
	if d.closed || d.bytes+x.cost() > d.limit {
		d.mu.Unlock()
		req.ReplyError(base.ErrBusy)
		return
	}
	req.Withdraw()
	req.Detach()
	d.bytes += x.cost()
	heap.Push(&d.heap, x)
	first := d.heap[0].Req == req
	d.mu.Unlock()
	if first {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// take removes what is due, and tells how long to wait for the next; 0 is until a wake.
func (d *delays) take(now time.Time, due []Delayed) ([]Delayed, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.heap) > 0 && !d.heap[0].due.After(now) {
		x := heap.Pop(&d.heap).(Delayed)
		d.bytes -= x.cost()
		due = append(due, x)
	}
	if len(d.heap) == 0 {
		d.heap = nil // what it grew to is not kept
		return due, 0
	}
	return due, d.heap[0].due.Sub(now)
}

// Run gives back what is due, until ctx ends; what still waits then is refused. carryOut
// gets requests that are to go on as if no throttle had held them. It must not wait, and not keep
// the list.
func (g *Gate) Run(ctx context.Context, carryOut func([]Delayed)) {
	d := &g.delays
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	var due []Delayed
	for {
		var wait time.Duration
		due, wait = d.take(time.Now(), due[:0])
		admitted := due[:0]
		for _, x := range due {
			if x.kind == refusal {
				x.Req.ReplyError(base.ErrBusy)
			} else {
				admitted = append(admitted, x)
			}
		}
		carryOut(admitted)
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
		if rest[i].kind == refusal {
			rest[i].Req.ReplyError(base.ErrBusy)
		} else {
			rest[i].Req.ReplyError(base.ErrInvalidState) // somebody else may answer
		}
	}
}
