package admission

import (
	"container/heap"
	"testing"
	"time"

	"pegasus/rpc"
)

// What is due comes in the order of its time, whatever order it was put in; the rest is waited for.
func TestDelaysInOrder(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	d := newDelays(1 << 20)
	for _, ms := range []int{50, 10, 40, 20, 30} {
		x := Delayed{Req: &rpc.Request{TimeoutMS: int32(ms)}, kind: read, due: now.Add(time.Duration(ms) * time.Millisecond)}
		d.bytes += x.cost()
		heap.Push(&d.heap, x)
	}
	if due, wait := d.take(now, nil); len(due) != 0 || wait != 10*time.Millisecond {
		t.Errorf("%d are due at once, the next in %v", len(due), wait)
	}
	due, wait := d.take(now.Add(30*time.Millisecond), nil)
	if len(due) != 3 || due[0].Req.TimeoutMS != 10 || due[1].Req.TimeoutMS != 20 || due[2].Req.TimeoutMS != 30 || wait != 10*time.Millisecond {
		t.Errorf("%d are due, the next in %v", len(due), wait)
	}
	if n := d.waiting(); n != 2 {
		t.Errorf("%d wait", n)
	}
	if due, wait = d.take(now.Add(time.Second), due[:0]); len(due) != 2 || wait != 0 || d.bytes != 0 || due[0].IsWrite() {
		t.Errorf("%d are due, %v to wait, %d bytes left", len(due), wait, d.bytes)
	}
}
