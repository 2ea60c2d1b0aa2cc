package replica

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// maxQueued bounds the writes of one partition that wait to be proposed.
const maxQueued = 20000

// onRead answers a client's read on the goroutine that read it; the long ones get a
// goroutine of their own, so that they hold up nobody behind them.
func (s *Server) onRead(req *rpc.Request) { s.read(req, false) }

func (s *Server) onLongRead(req *rpc.Request) { go s.read(req, false) }

// read answers a read; one that is late has been delayed by a throttle already.
func (s *Server) read(req *rpc.Request, late bool) {
	r := s.replica(req.Gpid)
	switch {
	case r == nil:
		req.Refuse(base.ErrObjectNotFound, errNotHere)
		return
	case s.denied.Load():
		req.Drop()
		return
	}
	rules := r.rules.Load()
	if rules.denied(req, false) {
		return
	}
	if code := r.mayRead(req, rules); code != base.ErrOK {
		req.ReplyError(code)
		return
	}
	if !late && s.holdRead(r, rules, req) || r.readTooMuch(rules, req) {
		return
	}
	op := opOf(req.Code)
	defer r.ops.End(op, r.ops.Begin(op))
	began := s.uptime()
	res, err := r.store.Load().Read(&rrdb.ReadRequest{Code: req.Code, Arg: req.ArgReader(), Memory: req})
	switch {
	case err != nil:
		refuse(req, err)
	case res == nil:
		req.Drop()
	case !req.IsBackup && !s.mayAnswer(r):
		// The lease ran out, or the role was lost, while the data was read: somebody else
		// may have written meanwhile.
		res.Release()
		req.ReplyError(base.ErrInvalidState)
	default:
		s.note(r, rules, req, began, res)
		if n := r.usage.read(s.units, op, req, res); rules != nil && rules.readBytes != nil {
			rules.readBytes.consume(int(n))
		}
		req.Reply(res)
		res.Release()
	}
}

var (
	errNotHere  = errors.New("there is no such replica here")
	errArgument = errors.New("an argument that can't be")
)

// refuse answers with an error of the storage application. What a client did wrong is told
// in the log; an error of ours is where it happened.
func refuse(req *rpc.Request, err error) {
	switch code := base.CodeOf(err); code {
	case base.ErrInvalidData, base.ErrInvalidParameters:
		req.Refuse(code, err)
	default:
		req.ReplyError(code)
	}
}

// mayRead is the gate of reads.
func (r *replica) mayRead(req *rpc.Request, u *rules) base.ErrorCode {
	v := r.view.Load()
	if code := u.checkHash(req.PartitionHash); code != base.ErrOK {
		return code
	}
	switch {
	case v.failed != nil || v.Status == pacifica.Inactive || v.Status == pacifica.Learner:
		return base.ErrInvalidState
	case req.IsBackup:
		return base.ErrOK
	case !v.Serving || !r.srv.lease.valid():
		return base.ErrInvalidState
	}
	return base.ErrOK
}

// mayAnswer is the second half of the gate, after the data was read.
func (s *Server) mayAnswer(r *replica) bool { return r.view.Load().Serving && s.lease.valid() }

// onWrite passes a client's write through the gate and into the partition's queue.
func (s *Server) onWrite(req *rpc.Request) { s.write(req, nil) }

// write is onWrite; w is nil, or the worker of whoever brings a write that a throttle has
// delayed.
func (s *Server) write(req *rpc.Request, w *worker) {
	r := s.replica(req.Gpid)
	switch {
	case r == nil:
		req.Refuse(base.ErrObjectNotFound, errNotHere)
		return
	case s.denied.Load():
		req.Drop()
		return
	}
	rules := r.rules.Load()
	if rules.denied(req, true) {
		return
	}
	switch code := r.mayWrite(req, rules); code {
	case base.ErrOK:
	case base.ErrInvalidData:
		r.usage.tooLarge.Add(1)
		req.Refuse(code, fmt.Errorf("%d bytes, replica.max_allowed_write_size is %d", len(req.Body), s.live().MaxWriteBytes))
		return
	default:
		req.ReplyError(code)
		return
	}
	if w == nil && s.holdWrite(r, rules, req) {
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
	r.inbox.mu.Unlock()
	w.touch(r)
}

// mayWrite is the gate of writes, in upstream's order.
func (r *replica) mayWrite(req *rpc.Request, u *rules) base.ErrorCode {
	v := r.view.Load()
	if most := r.srv.live().MaxWriteBytes; most > 0 && int64(len(req.Body)) > most {
		return base.ErrInvalidData
	}
	if code := u.checkHash(req.PartitionHash); code != base.ErrOK {
		return code
	}
	switch {
	case v.failed != nil || v.Status != pacifica.Primary || !r.srv.lease.valid():
		return base.ErrInvalidState
	case (r.dir.room.short.Load() || r.shortPeer()) && r.srv.live().DiskReject:
		return base.ErrDiskInsufficient
	case v.members < v.least:
		return base.ErrNotEnoughMember
	}
	return base.ErrOK
}

// propose turns waiting writes into mutations, as many as may be in flight. What waits
// together travels together, up to the size of a batch.
func (r *replica) propose() {
	if len(r.queue) == 0 || !r.core.Serving() {
		return
	}
	if r.flights.empty() && r.applied < r.core.Committed() {
		// What was inherited is committed just now, and not yet in the store. The overlay
		// has only this primary's own: a write evaluated now would not see it.
		return
	}
	most := int(r.srv.cfg.Replica.MaxBatchBytes)
	store := r.store.Load()
	w := &r.write
	next := 0
	for next < len(r.queue) && r.core.Room() > 0 && (r.core.Last()-r.core.Committed() < ahead || r.queued(next) >= most) {
		now := time.Now()
		payload := make([]byte, 0, r.guess(r.queue[next:], most))
		fl := r.flights.begin()
		effect := false
		for next < len(r.queue) && (len(payload) == 0 || len(payload) < most) {
			req := r.queue[next]
			r.queue[next] = nil
			next++
			w.Code, w.Arg, w.PartitionHash, w.Now = req.Code, req.ArgReader(), req.PartitionHash, rrdb.ExpiryTime(now)
			p, reply, err := store.Evaluate(w, r.overlay, payload)
			if err != nil {
				refuse(req, err)
				continue
			}
			if reply.BadArgument() {
				req.Complain(errArgument)
			}
			r.usage.write(r.srv.units, opOf(req.Code), req, &reply, p[len(payload):])
			payload = p
			fl.waiting = append(fl.waiting, waiter{req, reply})
			effect = effect || !reply.Refused()
		}
		if !effect {
			r.refused(fl.waiting)
			r.flights.keep(fl.waiting)
			continue
		}
		e, err := r.core.Propose(now.UnixMicro(), payload)
		if err != nil {
			for _, w := range fl.waiting {
				w.req.ReplyError(base.ErrInvalidState)
			}
			break
		}
		r.overlay.Add(e.Decree, payload)
		fl.decree, fl.at = e.Decree, now
		r.flights.add(fl)
	}
	r.queue = append(r.queue[:0], r.queue[next:]...)
}

// ahead is how many mutations of a partition are under way before writes that come begin
// to wait for each other, up to a whole batch. What a mutation costs in messages, log
// records and batches of the store is then shared by as many as wait: the busier the
// partition, the cheaper a write. One that comes alone never waits.
const ahead = 4

// queued estimates the bytes of the writes that wait, from number next on, up to a batch.
func (r *replica) queued(next int) int {
	return r.guess(r.queue[next:], int(r.srv.cfg.Replica.MaxBatchBytes))
}

// refused answers writes that have no effect. What they found may be a write that is still
// in flight and could be lost with this primary; the answer waits for that one.
func (r *replica) refused(ws []waiter) {
	if n := len(r.flights.list); n > 0 {
		last := &r.flights.list[n-1]
		last.waiting = append(last.waiting, ws...)
		return
	}
	for i := range ws {
		if r.srv.lease.valid() {
			ws[i].req.ReplyIn(r.worker.burst, &ws[i].reply)
		} else {
			ws[i].req.ReplyError(base.ErrInvalidState)
		}
	}
}

// guess estimates the payload of the next mutation, so that its buffer rarely grows.
func (r *replica) guess(reqs []*rpc.Request, most int) int {
	n := 0
	for _, q := range reqs {
		n += len(q.Body) + 32
		if n >= most {
			break
		}
	}
	return n
}

// waiter is a client's request that waits for its mutation.
type waiter struct {
	req   *rpc.Request
	reply rrdb.Reply
}

type flight struct {
	decree  int64
	at      time.Time // of the proposal
	waiting []waiter
	then    func(applied bool) // nil, or what a write of the server's own waits for
}

// end tells who waits for a write of the server's own.
func (f *flight) end(applied bool) {
	if f.then != nil {
		f.then(applied)
	}
}

// flights are the mutations of this primary whose clients wait, in decree order.
type flights struct {
	list  []flight
	spare [][]waiter // empty, for use
	ops   *metrics.Ops
	pace  *pace
}

// begin returns a flight that nobody waits for yet.
func (f *flights) begin() flight {
	n := len(f.spare)
	if n == 0 {
		return flight{}
	}
	ws := f.spare[n-1]
	f.spare = f.spare[:n-1]
	return flight{waiting: ws}
}

// keep keeps the memory of a flight that has ended.
func (f *flights) keep(ws []waiter) {
	if cap(ws) > 0 && cap(ws) <= 1024 && len(f.spare) < 2*ahead {
		clear(ws)
		f.spare = append(f.spare, ws[:0])
	}
}

func (f *flights) empty() bool { return len(f.list) == 0 }

func (f *flights) add(fl flight) { f.list = append(f.list, fl) }

// commit answers the clients of decree.
func (f *flights) commit(decree int64, b *rpc.Burst) {
	if len(f.list) == 0 || f.list[0].decree != decree {
		return
	}
	ws, took := f.list[0].waiting, time.Since(f.list[0].at)
	if len(ws) > 0 {
		f.pace.feel(senseWrite, took)
	}
	for i := range ws {
		if !ws[i].reply.Refused() {
			ws[i].reply.SetDecree(decree)
		}
		f.ops.Took(opOf(ws[i].req.Code), took)
		ws[i].req.ReplyIn(b, &ws[i].reply)
	}
	f.keep(ws)
	f.list[0].end(true)
	f.list = slices.Delete(f.list, 0, 1)
}

func (f *flights) abandon() {
	for _, fl := range f.list {
		fl.end(false)
		for i := range fl.waiting {
			switch w := &fl.waiting[i]; {
			case w.reply.Refused():
				w.req.ReplyError(base.ErrInvalidState)
			case repeatable(w.req.Code):
				w.req.ReplyError(base.ErrTimeout)
			default:
				w.req.Drop()
			}
		}
	}
	f.list = nil
}

func repeatable(code string) bool {
	switch code {
	case "RPC_RRDB_RRDB_PUT", "RPC_RRDB_RRDB_REMOVE", "RPC_RRDB_RRDB_MULTI_PUT", "RPC_RRDB_RRDB_MULTI_REMOVE":
		return true
	}
	return false
}

const noPin = math.MaxInt64
