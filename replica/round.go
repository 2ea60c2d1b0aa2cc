package replica

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/replica/checkpoint"
	"pegasus/replica/disk"
	"pegasus/replica/trace"
	"pegasus/replica/wal"
	"pegasus/rrdb"
)

// round handles everything that gathered since the last one.
func (r *driver) round(w *work) {
	r.at(stepTaken)
	for _, f := range w.calls {
		f(r)
	}
	r.at(stepCalled)
	if r.failed != nil {
		refuseAll(w.writes, base.ErrInvalidState)
		r.conclude()
		return
	}
	if len(w.traced) > 0 || len(w.heard) > 0 {
		r.takeTraces(w)
	}
	for i := range w.messages {
		r.step(&w.messages[i])
		keepEntries(w.messages[i].Entries)
	}
	for _, p := range w.persisted {
		if p.core == r.cores { // what an earlier core logged is void
			r.core.Persisted(p.ballot, p.decree)
		}
	}
	if w.ticked {
		r.core.Tick()
	}
	r.at(stepStepped)
	r.queue = append(r.queue, w.writes...)
	for {
		r.propose()
		r.at(stepProposed)
		rd := r.core.Ready()
		if rd.Empty() {
			r.core.Recycle(&rd)
			break
		}
		r.handle(&rd)
		r.core.Recycle(&rd)
		if r.failed != nil {
			break
		}
	}
	r.conclude()
}

// step gives a message to the core. A replica that may have forgotten what it acknowledged
// is nobody's secondary; as a learner it begins from what its store holds.
func (r *driver) step(m *pacifica.Message) {
	if r.suspect {
		if m.Role != pacifica.Learner {
			return
		}
		if err := r.relearn(); err != nil {
			r.fail(err)
			return
		}
	}
	r.core.Step(*m)
}

// handle carries out a Ready. The order is what the group relies on:
//
//   - the ballot is durable before anything is said under it;
//   - that this replica lost its role, or took part in another ballot, is published before a
//     message leaves: an acknowledgement may be what lets the next primary commit, and from
//     then on nothing may be read here;
//   - that it serves is published after what it inherited is in the store, see publish;
//   - a change is asked of the meta by a replica that shows what it is.
func (r *driver) handle(rd *pacifica.Ready) {
	st := r.core.Status()
	joins := (st == pacifica.Primary || st == pacifica.Secondary) && r.info.Member != r.core.Ballot()
	if rd.Ballot != 0 || joins {
		r.info.Ballot = max(r.info.Ballot, rd.Ballot)
		if joins {
			r.info.Member = r.core.Ballot()
		}
		if err := disk.WriteJSON(r.infoName(), &r.info); err != nil {
			r.fail(fmt.Errorf("store ballot %d: %w", rd.Ballot, err))
			return
		}
		r.at(stepBallot)
	}
	// What is reported of this replica is never less than what it acknowledges.
	r.last.Store(r.core.Last())
	if v := r.view.Load(); v.Ballot != r.core.Ballot() || v.Status != r.core.Status() || v.Serving && !r.core.Serving() {
		r.publish()
		r.at(stepWithdrawn)
	}
	r.taking.note(rd.Append)
	if n := len(rd.Append); n > 0 {
		a := newAppending(r.replica)
		for i := range rd.Append {
			e := &rd.Append[i]
			r.pacer.Wrote(int64(len(e.Payload)))
			a.entries = append(a.entries, wal.Entry{Gpid: r.gpid, Ballot: e.Ballot, Decree: e.Decree, Committed: rd.Committed, Timestamp: e.Timestamp, Payload: e.Payload})
		}
		a.last = placed{rd.Append[n-1].Ballot, rd.Append[n-1].Decree, r.cores}
		if r.isTracing() {
			a.traces = r.traceAppend(rd.Append)
		}
		if r.srv.copies.Pace.Observing() && r.core.Status() != pacifica.Learner {
			a.began = time.Now()
		}
		if r.srv.syncs {
			r.dir.Log().Append(a.entries, a.done)
		} else {
			r.dir.Log().AppendHeld(a.entries, a.done)
			r.worker.held(r.dir)
		}
		r.at(stepAppended)
	}
	r.send(rd.Messages)
	r.at(stepSent)
	if err := r.applyAll(rd.Commit, rd.Acknowledge); err != nil {
		if errors.Is(err, rrdb.ErrNoSet) {
			r.lack(err)
		} else {
			r.fail(err)
		}
		return
	}
	r.at(stepApplied)
	if len(rd.Changes) > 0 {
		// Who learns from the meta of a change must find this replica aware of it.
		r.publish()
	}
	for i := range rd.Changes {
		r.change(rd.Changes[i])
	}
	r.at(stepAsked)
	if rd.Fetch != nil {
		r.fetch(*rd.Fetch)
	}
}

// appending is one append on its way to the log.
type appending struct {
	r       *replica
	entries []wal.Entry
	last    placed
	began   time.Time // zero: nobody wants to know
	traces  []*trace.Trace
	done    func(error) // the method logged
}

var appendings sync.Pool

func newAppending(r *replica) *appending {
	a, _ := appendings.Get().(*appending)
	if a == nil {
		a = new(appending)
		a.done = a.logged
	}
	a.r = r
	return a
}

// logged is called by the log once an append is durable. What follows from it is done by
// who takes the directory's written replicas.
func (a *appending) logged(err error) {
	r, p := a.r, a.last
	if !a.began.IsZero() {
		r.srv.copies.Pace.Observe(checkpoint.LogAppends, time.Since(a.began))
		a.began = time.Time{}
	}
	if a.traces != nil && err == nil {
		for _, t := range a.traces {
			t.Reach(trace.Logged, 0)
		}
	}
	a.traces = nil
	clear(a.entries)
	a.r, a.entries = nil, a.entries[:0]
	appendings.Put(a)
	if err != nil {
		r.post(func(r *driver) { r.fail(fmt.Errorf("log: %w", err)) })
		return
	}
	r.inbox.mu.Lock()
	if !r.inbox.closed {
		r.inbox.persisted = append(r.inbox.persisted, p)
	}
	r.inbox.mu.Unlock()
	r.dir.wrote(r)
}

// maxApply is how many bytes of mutations make one batch of the store.
const maxApply = 1 << 20

// applyAll gives committed mutations to the store and answers who waits for them: that they are
// done, if that may be said.
func (r *driver) applyAll(es []pacifica.Entry, acknowledge bool) error {
	for len(es) > 0 {
		n, size := 0, 0
		r.ms = r.ms[:0]
		for n < len(es) && (n == 0 || size+len(es[n].Payload) <= maxApply) {
			e := &es[n]
			r.ms = append(r.ms, rrdb.Mutation{Decree: e.Decree, TimestampUS: e.Timestamp, Payload: e.Payload})
			size += len(e.Payload)
			n++
		}
		if r.flights.traced > 0 {
			r.traceCommitted(es[:n])
		}
		err := r.store.Load().ApplyAll(r.ms)
		clear(r.ms)
		if err != nil {
			r.applied = r.store.Load().LastApplied()
			return err
		}
		last := es[n-1].Decree
		r.applied = last
		r.taking.applied(last)
		r.overlay.Remove(last)
		for i := range es[:n] {
			if r.flights.traced > 0 {
				r.traceApplied(&es[i], acknowledge)
			}
			r.flights.commit(&es[i], acknowledge, r.worker.burst)
		}
		es = es[n:]
	}
	return nil
}
