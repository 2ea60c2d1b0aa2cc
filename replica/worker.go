package replica

import (
	"sync"

	"pegasus/replica/disk"
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
	// leaving are stages of traces, reached when burst is flushed.
	leaving []leaving
}

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

// dataDir is a data directory with what its log has written and its replicas don't know yet.
type dataDir struct {
	*disk.Dir
	// batches: the log's goroutine has written some of written.
	batches chan struct{}
	mu      sync.Mutex
	written []*replica
}

// batch is called by the log's goroutine after the callbacks of a batch.
func (d *dataDir) batch() {
	select {
	case d.batches <- struct{}{}:
	default:
	}
}

func (d *dataDir) wrote(r *replica) {
	d.mu.Lock()
	d.written = append(d.written, r)
	d.mu.Unlock()
}

// takeWritten appends to rs those replicas whose entries were written.
func (d *dataDir) takeWritten(rs []*replica) []*replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, r := range d.written {
		d.written[i] = nil
		if n := len(rs); n == 0 || rs[n-1] != r {
			rs = append(rs, r)
		}
	}
	d.written = d.written[:0]
	return rs
}
