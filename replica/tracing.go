package replica

import (
	"slices"
	"time"

	"pegasus/base"
	"pegasus/pacifica"
	"pegasus/remotecmd/answer"
	"pegasus/replica/trace"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// What traces a request is apart from the way of all requests, which only ask whether there is anything
// to trace.

// tracedWrite is a write that waits to be proposed.
type tracedWrite struct {
	req *rpc.Request
	t   *trace.Trace
}

// heardTraces is what a message of another member says of traces.
type heardTraces struct {
	from    base.RPCAddress
	at      time.Time
	prepare bool
	items   []trace.Item
}

// tracing is what a replica traces at present, but for its flights.
type tracing struct {
	waiting []tracedWrite
	// following are those of a primary, of which this replica is a secondary.
	following []followed
}

type followed struct {
	decree int64
	t      *trace.Trace
}

// maxFollowed bounds the traces of mutations that are never acknowledged.
const maxFollowed = 64

// flightTraces are the traces of a mutation.
type flightTraces struct{ list []*trace.Trace }

// leaving is a stage that is reached when what a worker has gathered is sent.
type leaving struct {
	t    *trace.Trace
	what string
	node base.RPCAddress
	keep *trace.Tracer // nil: the trace goes on
}

// left notes what has left.
func (w *worker) left() {
	now := time.Now()
	for i, l := range w.leaving {
		l.t.ReachAt(l.what, l.node, now)
		if l.keep != nil {
			l.keep.Keep(l.t)
		}
		w.leaving[i] = leaving{}
	}
	w.leaving = w.leaving[:0]
}

// traceWrite begins the trace of a write that was just put into the inbox, if it is to have one: its
// client wants it, or it is its turn. inbox.mu is held.
func (r *replica) traceWrite(req *rpc.Request) {
	id, sample := req.Trace, false
	if r.inbox.untraced < 0 {
		sample, r.inbox.untraced = r.srv.tracer.Next()
	}
	if id == 0 {
		if !sample {
			return
		}
		id = trace.NewID()
	}
	r.inbox.traced = append(r.inbox.traced, tracedWrite{req, trace.Begin(id, time.Now(), r.aboutTrace(req, "primary"))})
}

// aboutTrace says what a trace is of.
func (r *replica) aboutTrace(req *rpc.Request, role string) answer.Trace {
	a := answer.Trace{Server: r.srv.name, Role: role, Table: r.view.Load().info.AppName, Partition: r.gpid.String()}
	if req != nil {
		a.Op, a.From = base.ShortRPC(req.Code), req.Remote.String()
	}
	return a
}

// traceNext has the next write traced.
func (r *replica) traceNext() {
	r.inbox.mu.Lock()
	r.inbox.untraced = 0
	r.inbox.mu.Unlock()
}

// replyTraced answers a read that took so long, and keeps its trace.
func (g *gate) replyTraced(r *replica, req *rpc.Request, res *rrdb.Result, took time.Duration) {
	read := time.Now()
	t := trace.Begin(req.Trace, read.Add(-took), r.aboutTrace(req, r.view.Load().Status.String()))
	t.ReachAt(trace.Read, 0, read)
	req.Reply(res)
	t.Reach(trace.Answered, 0)
	g.srv.tracer.Keep(t)
}

// endTraces keeps the traces of a flight that doesn't get to its end.
func (r *driver) endTraces(f *flight, why string) {
	for _, t := range f.traces() {
		t.Describe(func(a *answer.Trace) { a.Error = why })
		r.srv.tracer.Keep(t)
	}
}

// takeTraces takes over what came with a round's work.
func (r *driver) takeTraces(w *work) {
	for _, x := range w.traced {
		x.t.Reach(trace.Taken, 0)
		r.tracing.waiting = append(r.tracing.waiting, x)
	}
	for _, h := range w.heard {
		for _, item := range h.items {
			if h.prepare {
				r.tracing.follow(item, trace.Begin(item.ID, h.at, r.aboutTrace(nil, "secondary")))
				continue
			}
			for i := range r.flights.list {
				for _, t := range r.flights.list[i].traces() {
					if t.ID == item.ID {
						t.Hear(h.from, h.at, item.Spans)
					}
				}
			}
		}
	}
}

func (x *tracing) follow(item trace.Item, t *trace.Trace) {
	t.Describe(func(a *answer.Trace) { a.Decree = item.Decree })
	if len(x.following) >= maxFollowed {
		x.following = slices.Delete(x.following, 0, 1)
	}
	x.following = append(x.following, followed{item.Decree, t})
}

// joins notes that a write is in the mutation of a flight.
func (x *tracing) joins(fl *flight, req *rpc.Request) {
	i := slices.IndexFunc(x.waiting, func(w tracedWrite) bool { return w.req == req })
	if i < 0 {
		return
	}
	t := x.waiting[i].t
	x.waiting = slices.Delete(x.waiting, i, i+1)
	t.Reach(trace.Proposed, 0)
	if fl.traced == nil {
		fl.traced = new(flightTraces)
	}
	fl.traced.list = append(fl.traced.list, t)
}

// dropTraces forgets those of writes that don't wait any more and are in no mutation: they were
// refused.
func (r *driver) dropTraces() {
	r.tracing.waiting = slices.DeleteFunc(r.tracing.waiting, func(w tracedWrite) bool {
		if slices.Contains(r.queue, w.req) {
			return false
		}
		w.t.Describe(func(a *answer.Trace) { a.Error = "the write was refused" })
		r.srv.tracer.Keep(w.t)
		return true
	})
}

// traces are those of a flight.
func (f *flight) traces() []*trace.Trace {
	if f.traced == nil {
		return nil
	}
	return f.traced.list
}

// isTracing tells whether any mutation under way is traced.
func (r *driver) isTracing() bool { return r.flights.traced > 0 || len(r.tracing.following) > 0 }

// tracesOf appends the traces of mutations with a decree in a range, both included, and their items.
func (r *driver) tracesOf(list []*trace.Trace, items []trace.Item, from, to int64) ([]*trace.Trace, []trace.Item) {
	for i := range r.flights.list {
		if f := &r.flights.list[i]; from <= f.decree && f.decree <= to {
			for _, t := range f.traces() {
				list, items = append(list, t), append(items, trace.Item{ID: t.ID, Decree: f.decree})
			}
		}
	}
	return list, items
}

// traceAppend returns the traces of what is about to be logged.
func (r *driver) traceAppend(es []pacifica.Entry) []*trace.Trace {
	from, to := es[0].Decree, es[len(es)-1].Decree
	list, _ := r.tracesOf(nil, nil, from, to)
	for _, f := range r.tracing.following {
		if from <= f.decree && f.decree <= to {
			list = append(list, f.t)
		}
	}
	return list
}

// traceMessage has a message tell of the traces that it is about.
func (r *driver) traceMessage(m *pacifica.Message, out *rpc.Outgoing) {
	var items []trace.Item
	switch {
	case m.Type == pacifica.MsgPrepare && len(m.Entries) > 0:
		var list []*trace.Trace
		list, items = r.tracesOf(nil, nil, m.Entries[0].Decree, m.Entries[len(m.Entries)-1].Decree)
		for _, t := range list {
			r.worker.leaving = append(r.worker.leaving, leaving{t: t, what: trace.Sent, node: m.To})
		}
	case m.Type == pacifica.MsgAck:
		now := time.Now()
		r.tracing.following = slices.DeleteFunc(r.tracing.following, func(f followed) bool {
			if f.decree > m.Prepared {
				return false
			}
			items = append(items, trace.Item{ID: f.t.ID, Spans: f.t.Since(now)})
			r.worker.leaving = append(r.worker.leaving, leaving{t: f.t, what: trace.Answered, keep: r.srv.tracer})
			return true
		})
	}
	if len(items) > 0 {
		_, short := out.Arg.(shortMessage)
		out.Arg = tracedMessage{m, short, items}
	}
}

// traceCommitted notes that mutations are committed.
func (r *driver) traceCommitted(es []pacifica.Entry) {
	list, _ := r.tracesOf(nil, nil, es[0].Decree, es[len(es)-1].Decree)
	for _, t := range list {
		t.Reach(trace.Committed, 0)
	}
}

// traceApplied notes that a mutation is applied, and that its clients are about to be answered.
func (r *driver) traceApplied(e *pacifica.Entry, acknowledge bool) {
	if r.flights.empty() || r.flights.list[0].decree != e.Decree {
		return
	}
	told := acknowledge && r.flights.list[0].ballot == e.Ballot
	if !told {
		r.endTraces(&r.flights.list[0], "its outcome isn't known")
		return
	}
	for _, t := range r.flights.list[0].traces() {
		t.Reach(trace.Applied, 0)
		r.worker.leaving = append(r.worker.leaving, leaving{t: t, what: trace.Answered, keep: r.srv.tracer})
	}
}

// tellSlow logs a flight of clients that took long. The next write is traced, so that the trouble, if it goes on, is
// told with its stages.
func (r *driver) tellSlow(f *flight, took time.Duration) {
	var t *trace.Trace
	if l := f.traces(); len(l) > 0 {
		t = l[0]
	}
	r.srv.observer.LogSlowWrite(&r.observed, r.view.Load().info.AppName, f.waiting[0].req, len(f.waiting)-1, f.decree, took, t)
	r.traceNext()
}
