package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/replica/admission"
	"pegasus/replica/checkpoint"
	"pegasus/replica/duplication/receive"
	"pegasus/replica/observe"
	"pegasus/replica/part"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// gate lets the requests of clients in: reads to the store, writes to the queue of a replica.
type gate struct {
	*admission.Gate
	srv      *Server
	received *receive.Receiver // of other clusters
	refusals refusals
	mayList  mayList
}

func newGate(s *Server) (*gate, error) {
	g, err := admission.New(admission.Options{Server: s.name, MaxWriteBytes: s.cfg.Replica.MaxWriteBytes, DelayedBytes: s.cfg.RPC.MaxInFlightBytes / 4})
	return &gate{Gate: g, srv: s}, err
}

// Register implements part.Part.
func (g *gate) Register(r *part.Routes) {
	for _, c := range []string{base.RPCGet, base.RPCTTL, base.RPCClearScanner} {
		r.Request(c, g.onRead)
	}
	for _, c := range []string{base.RPCMultiGet, base.RPCBatchGet, base.RPCSortkeyCount, base.RPCGetScanner, base.RPCScan} {
		r.Request(c, g.onLongRead)
	}
	for _, c := range []string{base.RPCPut, base.RPCRemove, base.RPCMultiPut, base.RPCMultiRemove, base.RPCIncr, base.RPCCheckAndSet, base.RPCCheckAndMutate} {
		r.Request(c, g.onWrite)
	}
	g.Gate.Register(r)
}

// maxQueued bounds the writes of one partition that wait to be proposed.
const maxQueued = 20000

// onRead answers a client's read on the goroutine that read it; the long ones get a
// goroutine of their own, so that they hold up nobody behind them.
func (g *gate) onRead(req *rpc.Request) { g.read(req, stageFresh) }

func (g *gate) onLongRead(req *rpc.Request) {
	req.Announce(announced)
	req.Go(func() { g.read(req, stageFresh) })
}

// announced is the memory that a long read may take before it asks for more.
const announced = 2 * rrdb.FreeResult

// readStage is what a read has behind it.
type readStage uint8

const (
	stageFresh   readStage = iota
	stageDelayed           // a throttle let it wait
	stageGranted           // it also has the memory for its answer
)

// readGranted reads again when there is memory for a value of n bytes. Meanwhile nothing is held
// but the request.
func (g *gate) readGranted(req *rpc.Request, n int) {
	if !req.Reserve(int64(n)) {
		req.ReplyError(base.ErrBusy)
		return
	}
	g.read(req, stageGranted)
}

// admit returns the replica that a client's request is for, and its rules; nil if the request is
// answered or dropped: the replica isn't here, the gate is closed, or the rules deny it.
func (g *gate) admit(req *rpc.Request, write bool) (*replica, *admission.Rules) {
	r := g.srv.replica(req.Gpid)
	switch {
	case r == nil:
		req.Refuse(base.ErrObjectNotFound, errNotHere)
		return nil, nil
	case g.Closed():
		req.Drop()
		return nil, nil
	}
	rules := r.admission.Rules.Load()
	if rules.Deny(req, write) {
		return nil, nil
	}
	return r, rules
}

// read answers a read.
func (g *gate) read(req *rpc.Request, stage readStage) {
	g.place(req)
	if g.srv.isBetween(req.Gpid) {
		g.srv.waits(req, func(*worker) { g.read(req, stage) })
		return
	}
	r, rules := g.admit(req, false)
	if r == nil {
		return
	}
	if n := r.cutOff(req); n > 0 {
		g.srv.moved(req, r, n, func(*worker) { g.read(req, stage) })
		return
	}
	if code := g.mayRead(r, req, rules); code != base.ErrOK {
		req.ReplyError(code)
		return
	}
	if stage == stageFresh && g.HoldRead(&r.admission, rules, req) || stage != stageGranted && g.ReadTooMuch(&r.admission, rules, req) {
		return
	}
	op := observe.OpOf(req.Code)
	began := g.uptime()
	q := &rrdb.ReadRequest{Code: req.Code, Arg: req.ArgReader(), PartitionHash: req.PartitionHash, Memory: req}
	if req.Code == base.RPCGetScanner || req.Code == base.RPCScan {
		if q.Listing = req.Listing; req.Framing.Thrift() && (q.Listing > 0 || r.listed()) {
			q.Listed = true
		} else {
			q.Watch = scanWatch{req, r}
		}
	}
	res, err := r.store.Load().Read(q)
	switch {
	case err != nil:
		refuse(req, err)
	case res == nil:
		req.Drop()
	case !req.IsBackup && !g.mayAnswer(r):
		// The lease ran out, or the role was lost, while the data was read: somebody else
		// may have written meanwhile.
		res.Release()
		req.ReplyError(base.ErrInvalidState)
	case r.cutOff(req) > 0:
		res.Release() // the partition was cut while the data was read
		g.srv.moved(req, r, r.cutOff(req), func(*worker) { g.read(req, stage) })
	case stage != stageGranted && res.Single() > rrdb.FreeResult && !req.TryReserve(int64(res.Single())):
		n := res.Single()
		res.Release()
		req.Go(func() { g.readGranted(req, n) })
	default:
		t := res.Touched()
		took := g.uptime() - began
		r.observed.Ops.Took(op, took)
		g.srv.copies.Pace.Observe(checkpoint.Reads, took)
		if g.srv.observer.Abnormal(took, rules.SlowRead(), &t) {
			g.srv.observer.LogAbnormal(&r.observed, r.view.Load().info.AppName, req, took, &t)
		}
		rules.HasRead(g.srv.observer.Read(&r.observed, op, &t, req.IsBackup))
		if req.Trace != 0 {
			g.replyTraced(r, req, res, took)
		} else {
			req.Reply(res)
		}
		res.Release()
	}
}

var errNotHere = errors.New("there is no such replica here")

// uptime is a monotonic clock that is cheaper to read than time.Now.
func (g *gate) uptime() time.Duration { return time.Since(g.srv.started) }

// mayRead is the gate of reads. The lease is looked at once the data was read: see mayAnswer.
func (g *gate) mayRead(r *replica, req *rpc.Request, u *admission.Rules) base.ErrorCode {
	v := r.view.Load()
	if code := u.CheckHash(req.PartitionHash); code != base.ErrOK {
		return code
	}
	switch {
	case v.failed != nil || v.Status == pacifica.Inactive || v.Status == pacifica.Learner:
		return base.ErrInvalidState
	case req.IsBackup:
		return base.ErrOK
	case !v.Serving || g.srv.meta.Lease.Lost():
		return base.ErrInvalidState
	}
	return base.ErrOK
}

// mayAnswer is the second half of the gate, after the data was read.
func (g *gate) mayAnswer(r *replica) bool { return r.view.Load().Serving && g.srv.meta.Lease.Valid() }

// cutOff returns by how many partitions the row of a request isn't this one's since the table was split, see Server.moved;
// 0: it is.
//
// The pages of a scan come from where it began, whatever was cut since.
func (r *replica) cutOff(req *rpc.Request) int32 {
	n := r.whose()
	if n == 0 || req.Code == base.RPCScan || req.Code == base.RPCClearScanner || base.InPartition(req.PartitionHash, r.gpid.PartitionIndex, n) {
		return 0
	}
	return n
}

// onWrite passes a client's write through the gate and into the partition's queue.
func (g *gate) onWrite(req *rpc.Request) { g.write(req, nil) }

// write is onWrite; w is nil, or the worker of whoever brings a write that a throttle has
// delayed.
func (g *gate) write(req *rpc.Request, w *worker) {
	g.place(req)
	if g.srv.isBetween(req.Gpid) {
		g.srv.waits(req, func(w *worker) { g.write(req, w) })
		return
	}
	r, rules := g.admit(req, true)
	if r == nil {
		return
	}
	if n := r.cutOff(req); n > 0 {
		g.srv.moved(req, r, n, func(w *worker) { g.write(req, w) })
		return
	}
	switch code := g.mayWrite(r, req, rules); code {
	case base.ErrOK:
	case base.ErrInvalidData:
		r.observed.TooLarge()
		req.Refuse(code, fmt.Errorf("%d bytes, replica.max_allowed_write_size is %d", len(req.Body), g.MaxWrite()))
		return
	default:
		req.ReplyError(code)
		return
	}
	if w == nil && g.HoldWrite(&r.admission, rules, req) {
		return
	}
	r.inbox.mu.Lock()
	switch {
	case r.inbox.closed:
		r.inbox.mu.Unlock()
		req.ReplyError(base.ErrInvalidState)
		return
	case len(r.inbox.writes) >= maxQueued:
		r.inbox.mu.Unlock()
		req.ReplyError(base.ErrCapacityExceeded)
		return
	}
	if w == nil {
		w = workerOf(req)
	}
	r.inbox.writes = append(r.inbox.writes, req)
	if r.inbox.untraced--; r.inbox.untraced < 0 || req.Trace != 0 {
		r.traceWrite(req)
	}
	r.inbox.mu.Unlock()
	w.touch(r)
}

// mayWrite is the gate of writes, in upstream's order.
func (g *gate) mayWrite(r *replica, req *rpc.Request, u *admission.Rules) base.ErrorCode {
	// What another cluster has let in is let in here: its sender would repeat it for ever.
	if limit := g.MaxWrite(); limit > 0 && int64(len(req.Body)) > limit && req.Code != base.RPCDuplicate {
		return base.ErrInvalidData
	}
	if code := u.CheckHash(req.PartitionHash); code != base.ErrOK {
		return code
	}
	return g.mayCommit(r)
}

// mayCommit is the part of the gate of writes that is the same for all of them.
func (g *gate) mayCommit(r *replica) base.ErrorCode {
	v := r.view.Load()
	switch {
	case v.failed != nil || v.Status != pacifica.Primary || !g.srv.meta.Lease.Valid():
		return base.ErrInvalidState
	case (r.dir.Short() || r.admission.Peers.Short()) && g.srv.disks.Rejects():
		return base.ErrDiskInsufficient
	case v.members < v.minMembers:
		return base.ErrNotEnoughMember
	}
	return base.ErrOK
}

// run admits what throttles have delayed, until ctx ends.
func (g *gate) run(ctx context.Context) {
	w := &worker{burst: new(rpc.Burst)}
	g.Run(ctx, func(due []admission.Delayed) { g.carryOut(w, due) })
}

// carryOut does what was put off. Reads may have to wait for a disk, which the others should
// not wait for.
func (g *gate) carryOut(w *worker, due []admission.Delayed) {
	var reads []*rpc.Request
	for _, x := range due {
		if x.IsWrite() {
			x.Req.Guard(func() { g.write(x.Req, w) })
		} else {
			reads = append(reads, x.Req)
		}
	}
	if len(reads) > 0 {
		go func() {
			for _, req := range reads {
				req.Announce(announced)
				req.Guard(func() { g.read(req, stageDelayed) })
			}
		}()
	}
	w.run()
}
