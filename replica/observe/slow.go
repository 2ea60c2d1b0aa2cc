package observe

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/remotecmd"
	"pegasus/remotecmd/answer"
	"pegasus/replica/trace"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// reached tells whether a read is worth a line: it took the store that long, or it is
// larger than its kind should be.
func (l *ReadLimits) reached(took time.Duration, t *rrdb.Touched) bool {
	if l.Took > 0 && took >= l.Took {
		return true
	}
	var maxBytes, maxRows int64
	switch t.Code {
	case base.RPCGet:
		maxBytes = l.Get
	case base.RPCMultiGet:
		maxBytes, maxRows = l.MultiGet, l.MultiGetRows
	case base.RPCBatchGet:
		maxBytes, maxRows = l.BatchGet, l.BatchGetRows
	default:
		return false
	}
	return maxBytes > 0 && int64(t.Out) >= maxBytes || maxRows > 0 && int64(t.Seen) >= maxRows
}

// slowLog bounds how many lines tell of abnormal reads.
type slowLog struct {
	lines   *rate.Limiter
	skipped atomic.Int64 // not logged since the last that was

	mu   sync.Mutex
	last []slowRequest // a ring, from next on
	next int
}

// slowRequest is one with its trace, which may not be at its end.
type slowRequest struct {
	answer.SlowRequest
	trace *trace.Trace
}

// keptSlow is how many are kept for who asks.
const keptSlow = 200

func (l *slowLog) keep(s slowRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) < keptSlow {
		l.last = append(l.last, s)
		return
	}
	l.last[l.next] = s
	l.next = (l.next + 1) % keptSlow
}

// Slow returns the last n requests that took long or answered much, the newest first: no more than
// some a second are kept, as the log has no more.
func (o *Observer) Slow(n int) []answer.SlowRequest {
	l := &o.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	list := []answer.SlowRequest{}
	for i := range l.last {
		if len(list) == n {
			break
		}
		s := l.last[(l.next+len(l.last)-1-i)%len(l.last)]
		if s.trace != nil {
			a := s.trace.Show()
			s.Trace = &a
		}
		list = append(list, s.SlowRequest)
	}
	return list
}

func (o *Observer) slowCommand(args []string) string {
	n := keptSlow
	if len(args) > 0 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 || len(args) > 1 {
			return remotecmd.JSON(answer.SlowRequests{Error: "use: replica.slow [count]"})
		}
	}
	return remotecmd.JSON(answer.SlowRequests{Requests: o.Slow(n)})
}

// IsSlowWrite tells whether a write that took so long is to be logged.
func (o *Observer) IsSlowWrite(took time.Duration) bool {
	limit := o.options.Load().SlowWrite
	return limit > 0 && took >= limit
}

// LogSlowWrite logs a write that is about to be answered, and others of the same mutation, unless there were too many
// lines. t is nil, or its trace.
func (o *Observer) LogSlowWrite(r *Replica, table string, req *rpc.Request, others int, decree int64, took time.Duration, t *trace.Trace) {
	if !o.slow.lines.Allow() {
		o.slow.skipped.Add(1)
		return
	}
	line := fmt.Sprintf("slow write: %s from %v, and %d others with it, took %v from its proposal, decree %d, of table %q",
		base.ShortRPC(req.Code), req.Remote, others, took.Round(time.Microsecond), decree, table)
	if t != nil {
		line += ", trace " + trace.FormatID(t.ID)
	}
	r.Log.Warn(line + o.slow.cut())
	o.slow.keep(slowRequest{answer.SlowRequest{Time: time.Now(), Op: base.ShortRPC(req.Code), Table: table, Partition: r.Gpid.String(),
		From: req.Remote.String(), Took: took.Seconds(), Bytes: len(req.Body), Others: others}, t})
}

// cut tells of lines that were left out.
func (l *slowLog) cut() string {
	if n := l.skipped.Swap(0); n > 0 {
		return fmt.Sprintf(" (and %d others since the last that was logged)", n)
	}
	return ""
}

// Abnormal tells whether a read that is about to be answered reaches a limit. slow is what
// the table says instead of ReadLimits.Took; 0: it doesn't.
func (o *Observer) Abnormal(took, slow time.Duration, t *rrdb.Touched) bool {
	l := o.options.Load().Reads
	if slow > 0 {
		l.Took = slow
	}
	return l.reached(took, t)
}

// LogAbnormal counts an abnormal read of a table, and logs it unless there were too many.
func (o *Observer) LogAbnormal(r *Replica, table string, req *rpc.Request, took time.Duration, t *rrdb.Touched) {
	r.abnormal.Add(1)
	if !o.slow.lines.Allow() {
		o.slow.skipped.Add(1)
		return
	}
	what := rrdb.Describe(req.Code, req.ArgReader(), o.quote)
	line := fmt.Sprintf("abnormal read: %s from %v took %v, %d rows of %d bytes, %d looked at, storage code %d, of table %q: %s",
		base.ShortRPC(req.Code), req.Remote, took.Round(time.Microsecond), t.Rows, t.Out, t.Seen, t.Status,
		table, what)
	r.Log.Warn(line + o.slow.cut())
	o.slow.keep(slowRequest{answer.SlowRequest{Time: time.Now(), Op: base.ShortRPC(req.Code), Table: table, Partition: r.Gpid.String(),
		From: req.Remote.String(), Took: took.Seconds(), Rows: t.Rows, Bytes: t.Out, What: what}, nil})
}

// Redacted stands for a key that is left out.
const Redacted = "<redacted>"

// quoted is how many bytes of a key are shown.
const quoted = 64

// quote writes a key for the log, unless keys may be secrets.
func (o *Observer) quote(k []byte) string {
	switch {
	case len(k) == 0:
		return `""`
	case o.options.Load().RedactKeys:
		return Redacted
	case len(k) > quoted:
		return fmt.Sprintf("%q and %d bytes more", k[:quoted], len(k)-quoted)
	}
	return fmt.Sprintf("%q", k)
}
