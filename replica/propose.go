package replica

import (
	"errors"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/replica/observe"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// propose turns waiting writes into mutations, as many as may be in flight. What waits
// together travels together, up to the size of a batch.
func (r *driver) propose() {
	if len(r.queue) == 0 || !r.core.Serving() || r.handingOver() || r.taking.pending() {
		return
	}
	if r.srv.meta.Lease.Ended() {
		r.refuseQueue(base.ErrInvalidState)
		return
	}
	if r.flights.empty() && r.applied < r.core.Committed() {
		// What was inherited is committed just now, and not yet in the store. The overlay
		// has only this primary's own: a write evaluated now would not see it.
		return
	}
	switch members, asked := r.core.Members(); {
	case members >= r.minMembers():
	case members+asked >= r.minMembers():
		return // the meta is about to answer
	default:
		// They came when there were more, and could not be acknowledged any more.
		r.refuseQueue(base.ErrNotEnoughMember)
		return
	}
	most := int(r.srv.cfg.Replica.MaxBatchBytes)
	store := r.store.Load()
	w := &r.write
	w.Cluster, w.Count = r.srv.gate.received.Origin(), r.whose()
	w.Tombstones = r.remembers()
	next := 0
	for next < len(r.queue) && r.core.Room() > 0 && r.flights.bytes < r.srv.sizes.Flight && (r.core.Last()-r.core.Committed() < ahead || r.queued(next) >= most) {
		now, clock := time.Now(), r.srv.meta.Clock.Now()
		payload := make([]byte, 0, guess(r.queue[next:], most))
		fl := r.flights.begin()
		effect, timestamp := false, clock.UnixMicro()
		for next < len(r.queue) && (len(payload) == 0 || len(payload) < most) {
			req := r.queue[next]
			w.MaxBytes, w.Room = int(r.srv.sizes.Write), r.srv.sizes.Room(len(payload), len(req.Body), req.Crowded())
			w.Code, w.Arg, w.PartitionHash, w.Now = req.Code, req.ArgReader(), req.PartitionHash, rrdb.ExpiryTime(clock)
			p, reply, touched, err := store.Evaluate(w, r.overlay, payload)
			if errors.Is(err, rrdb.ErrNoRoom) && len(payload) > 0 {
				break // it begins the next one
			}
			r.queue[next] = nil
			next++
			if errors.Is(err, rrdb.ErrNoRoom) {
				req.ReplyError(base.ErrCapacityExceeded)
				continue
			}
			if errors.Is(err, rrdb.ErrDivide) {
				// A partition that is being split has one half of its rows alone already, while the table has not more partitions yet: the parts
				// wait for the other half, as other writes do.
				info := &r.view.Load().info
				r.srv.gate.received.Divide(req, &r.received, info.AppName, r.gpid, max(info.Partitions, w.Count))
				continue
			}
			if errors.Is(err, base.ErrParentPartitionMisused) {
				r.srv.moved(req, r.replica, w.Count, nil)
				continue
			}
			if err != nil {
				refuse(req, err)
				continue
			}
			switch {
			case reply.TooLarge():
				r.observed.TooLarge()
				req.Complain(fmt.Errorf("its rows, each with its hash key, take more than %d bytes, the most that one write may", w.MaxBytes))
			case reply.BadArgument():
				req.Complain(errArgument)
			}
			if n := len(p) - len(payload) - len(req.Body); n >= grown {
				req.Announce(int64(n)) // held until it is answered, as the request itself is
			}
			if touched.Dup != nil {
				r.srv.gate.received.Took(&r.received, r.gpid, touched.Dup, clock)
			}
			timestamp = max(timestamp, touched.AfterUS+1)
			r.srv.observer.Write(&r.observed, observe.OpOf(req.Code), &touched)
			payload = p
			fl.waiting = append(fl.waiting, waiter{req, reply})
			if len(r.tracing.waiting) > 0 {
				r.tracing.joins(&fl, req)
			}
			effect = effect || !reply.Refused()
		}
		if !effect {
			r.endTraces(&fl, "it changes nothing")
			r.refused(fl.waiting)
			r.flights.keep(fl.waiting)
			continue
		}
		e, err := r.core.Propose(timestamp, payload)
		if err != nil {
			r.overlay.Discard()
			r.endTraces(&fl, "it can't be proposed")
			for _, w := range fl.waiting {
				w.req.ReplyError(base.ErrInvalidState)
			}
			break
		}
		r.overlay.Add(e.Decree, e.Timestamp, payload)
		fl.ballot, fl.decree, fl.at, fl.bytes = e.Ballot, e.Decree, now, int64(len(payload))
		r.flights.add(fl)
	}
	r.queue = append(r.queue[:0], r.queue[next:]...)
}

// grown is from how many bytes on what a write takes beyond its request is counted as memory.
const grown = 64 << 10

// ahead is how many mutations of a partition are under way before writes that come begin
// to wait for each other, up to a whole batch. What a mutation costs in messages, log
// records and batches of the store is then shared by as many as wait: the busier the
// partition, the cheaper a write. One that comes alone never waits.
const ahead = 4

// queued estimates the bytes of the writes that wait, from number next on, up to a batch.
func (r *driver) queued(next int) int {
	return guess(r.queue[next:], int(r.srv.cfg.Replica.MaxBatchBytes))
}

// refused answers writes that have no effect. What they found may be a write that is still
// in flight and could be lost with this primary; the answer waits for that one.
func (r *driver) refused(ws []waiter) {
	if n := len(r.flights.list); n > 0 {
		last := &r.flights.list[n-1]
		last.waiting = append(last.waiting, ws...)
		return
	}
	for i := range ws {
		if r.srv.meta.Lease.Valid() {
			ws[i].req.ReplyIn(r.worker.burst, &ws[i].reply)
		} else {
			ws[i].req.ReplyError(base.ErrInvalidState)
		}
	}
}

// guess estimates the payload of the next mutation, so that its buffer rarely grows.
func guess(reqs []*rpc.Request, most int) int {
	n := 0
	for _, q := range reqs {
		n += len(q.Body) + 32
		if n >= most {
			break
		}
	}
	return n
}

var errArgument = errors.New("invalid argument")

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

// handingOver tells that a write has to wait for another primary.
func (r *replica) handingOver() bool {
	return r.srv.handing.Load() && !r.srv.meta.Lease.Ended() && len(r.view.Load().Config.Secondaries) > 0
}
