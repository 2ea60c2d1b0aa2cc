package replica

import (
	"slices"
	"time"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/remotecmd/answer"
	"pegasus/replica/checkpoint"
	"pegasus/replica/observe"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// waiter is a client's request that waits for its mutation.
type waiter struct {
	req   *rpc.Request
	reply rrdb.Reply
}

type flight struct {
	// ballot and decree name the mutation: another one may get the decree.
	ballot, decree int64

	bytes   int64
	at      time.Time // of the proposal
	waiting []waiter
	then    func(applied bool) // nil, or what a write of the server's own waits for
	traced  *flightTraces      // nil: none
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
	bytes int64      // of their mutations
	spare [][]waiter // empty, for use
	ops   *metrics.Ops
	pace  *checkpoint.Pace
	// traced counts those with traces.
	traced   int
	observer *observe.Observer
	slow     func(f *flight, took time.Duration) // tells of one that took long
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

func (f *flights) add(fl flight) {
	f.list = append(f.list, fl)
	f.bytes += fl.bytes
	if fl.traced != nil {
		f.traced++
		for _, t := range fl.traced.list {
			t.Describe(func(a *answer.Trace) { a.Decree = fl.decree })
		}
	}
}

// commit ends the flight of an entry that was committed and applied. Only if acknowledge says
// so are its clients told that their writes are done, see pacifica.Ready.
func (f *flights) commit(e *pacifica.Entry, acknowledge bool, b *rpc.Burst) {
	if len(f.list) == 0 || f.list[0].decree != e.Decree {
		return
	}
	ours := f.list[0].ballot == e.Ballot
	if !ours || !acknowledge {
		f.list[0].abandon(ours)
		f.drop()
		return
	}
	decree := e.Decree
	ws, took := f.list[0].waiting, time.Since(f.list[0].at)
	if len(ws) > 0 {
		f.pace.Observe(checkpoint.Writes, took)
		if f.observer.IsSlowWrite(took) {
			f.slow(&f.list[0], took)
		}
	}
	for i := range ws {
		if !ws[i].reply.Refused() {
			ws[i].reply.SetDecree(decree)
		}
		f.ops.Took(observe.OpOf(ws[i].req.Code), took)
		ws[i].req.ReplyIn(b, &ws[i].reply)
	}
	f.keep(ws)
	f.list[0].end(true)
	f.drop()
}

// drop forgets the first flight.
func (f *flights) drop() {
	f.bytes -= f.list[0].bytes
	if f.list[0].traced != nil {
		f.traced--
	}
	f.list = slices.Delete(f.list, 0, 1)
}

// forget forgets all flights.
func (f *flights) forget() { f.list, f.bytes, f.traced = nil, 0, 0 }

func (f *flights) abandon() {
	for i := range f.list {
		f.list[i].abandon(false)
	}
	f.forget()
}

// abandon ends what clients wait for without telling how it came out, as that isn't known: an
// operation that can be repeated is told to try again, one that can't be gets no answer, as if
// the server had died.
func (f *flight) abandon(applied bool) {
	f.end(applied)
	for i := range f.waiting {
		switch w := &f.waiting[i]; {
		case w.reply.Refused():
			w.req.ReplyError(base.ErrInvalidState)
		case repeatable(w.req.Code):
			w.req.ReplyError(base.ErrTimeout)
		default:
			w.req.Drop()
		}
	}
}

func repeatable(code string) bool {
	switch code {
	case base.RPCPut, base.RPCRemove, base.RPCMultiPut, base.RPCMultiRemove, base.RPCDuplicate:
		return true
	}
	return false
}
