package replica

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/replica/admission"
	"pegasus/replica/checkpoint"
	"pegasus/replica/duplication/receive"
	"pegasus/replica/observe"
	"pegasus/replica/retention"
	"pegasus/replica/stored"
	"pegasus/replica/trace"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// tick is the unit of time of the cores.
const tick = 100 * time.Millisecond

// replica hosts one replica: its core, its store and its place in the log.
type replica struct {
	srv  *Server
	gpid base.Gpid
	dir  *dataDir
	path string
	log  *logrus.Entry

	// view is what a round publishes for readers and the gate, when it changed; the decrees,
	// which change with every round, have a place of their own.
	view                       atomic.Pointer[view]
	committed, last, appliedAt atomic.Int64
	// flushedAt is the decree up to which the store is durable, as of the last second: to ask the
	// store may take as long as its disk does.
	flushedAt atomic.Int64
	// fence is by how many partitions a primary that proposed the cut of its partition looks at rows; 0: it has not.
	fence atomic.Int32

	// taking is the mutation that takes a set of rows and isn't applied yet.
	taking taking

	// flushes counts who asked for a flush since none was under way, see flushSoon.
	flushes   atomic.Int64
	admission admission.Replica

	compactions compactions
	passes      passes

	observed observe.Replica
	received receive.Counts
	sized    sized

	learner *checkpoint.Learner
	kept    *retention.Owner
	// ticks counts ticks of the logs since the replica was opened, see retain.
	ticks atomic.Int64

	// store is replaced when a checkpoint is installed. A closed one answers that it is.
	store atomic.Pointer[rrdb.Store]

	inbox inbox
	wake  chan struct{} // a token makes the goroutine carry out rounds
	done  chan struct{}

	// driver is what is of whoever is in a round alone.
	driver *driver
}

// view is a snapshot of a replica for other goroutines.
type view struct {
	pacifica.State
	info    replicaInfo
	infoGen int
	applied int64 // in a copy that look returns
	failed  error
	// members is how many replicas will hold a write that comes now, if the meta makes members
	// of those it was asked for; minMembers is how many must.
	members, minMembers int
	suspect             bool
	intact              intact
}

// inbox gathers what the next round has to do.
type inbox struct {
	mu     sync.Mutex
	closed bool
	// running: somebody is in a round, or a token for the goroutine is on its way. Who put
	// work in and found it set is done.
	running bool
	// untraced is how many writes come until the next one that is traced, see traceWrite.
	untraced int32
	work
}

type work struct {
	writes    []*rpc.Request
	messages  []pacifica.Message
	persisted []placed
	calls     []func(*driver)
	traced    []tracedWrite
	heard     []heardTraces
	ticked    bool
	// patient: something of it may have to wait for a disk, so it is for the goroutine.
	patient bool
}

// placed is an entry of a core that is durable.
type placed struct {
	ballot, decree int64
	core           int
}

func (w *work) empty() bool {
	return len(w.writes) == 0 && len(w.messages) == 0 && len(w.persisted) == 0 && len(w.calls) == 0 && !w.ticked
}

// replicaInfo is what a replica knows of itself besides its data.
type replicaInfo = stored.Info

func (r *replica) infoName() string { return stored.Name(r.path) }

func (r *replica) storePath(n int64) string { return stored.StorePath(r.path, n) }

// post has f called by the loop. After close it does nothing.
func (r *replica) post(f func(*driver)) {
	r.inbox.mu.Lock()
	if !r.inbox.closed {
		r.inbox.calls = append(r.inbox.calls, f)
	}
	r.inbox.mu.Unlock()
	r.ring()
}

// deliver queues a message; the caller sees to it that a round follows.
func (r *replica) deliver(m pacifica.Message) { r.deliverWith(m, nil) }

// deliverWith is deliver of a message that tells of traces.
func (r *replica) deliverWith(m pacifica.Message, traces []trace.Item) {
	v := r.view.Load()
	r.inbox.mu.Lock()
	if !r.inbox.closed {
		if len(traces) > 0 {
			r.inbox.heard = append(r.inbox.heard, heardTraces{m.From, time.Now(), m.Type == pacifica.MsgPrepare, traces})
		}
		r.inbox.messages = append(r.inbox.messages, m)
		// A new ballot or role has to be written down.
		r.inbox.patient = r.inbox.patient || m.Ballot != v.Ballot || m.Type == pacifica.MsgSnapshot || v.suspect ||
			m.Type == pacifica.MsgPrepare && m.Role != v.Status
	}
	r.inbox.mu.Unlock()
}

// recycle empties w for its next use.
func (w *work) recycle() {
	clear(w.writes)
	clear(w.messages)
	clear(w.calls)
	*w = work{writes: w.writes[:0], messages: w.messages[:0], persisted: w.persisted[:0], calls: w.calls[:0]}
}

// whose returns by how many partitions rows are looked at, whether they are this one's: 0 if all are.
func (r *replica) whose() int32 { return max(r.fence.Load(), r.store.Load().Cut().Count) }

// remembers tells whether writes of other clusters may come, which are compared with what was removed here.
func (r *replica) remembers() bool { return r.srv.gate.received.Remembers(&r.received, r.gpid) }

// look returns the view with the decrees as they are now.
func (r *replica) look() *view {
	v := *r.view.Load()
	v.applied = r.appliedAt.Load()
	v.Committed, v.Last = r.committed.Load(), r.last.Load()
	return &v
}

func (r *replica) flush(ctx context.Context) error { return r.store.Load().Flush(ctx) }

// end ends the loop.
func (r *replica) end() {
	r.inbox.mu.Lock()
	r.inbox.closed = true
	r.inbox.mu.Unlock()
	r.ring() // who is in a round will see it, and leave the rest to the goroutine
	<-r.done
}

// close ends the loop and closes the store.
func (r *replica) close() error {
	r.end()
	if err := r.store.Load().Close(); err != nil {
		return fmt.Errorf("replica %v: %w", r.gpid, err)
	}
	return nil
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
