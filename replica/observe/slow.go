package observe

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
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
	line := fmt.Sprintf("abnormal read: %s from %v took %v, %d rows of %d bytes, %d looked at, storage code %d, of table %q: %s",
		base.ShortRPC(req.Code), req.Remote, took.Round(time.Microsecond), t.Rows, t.Out, t.Seen, t.Status,
		table, rrdb.Describe(req.Code, req.ArgReader(), o.quote))
	if n := o.slow.skipped.Swap(0); n > 0 {
		line += fmt.Sprintf(" (and %d others since the last that was logged)", n)
	}
	r.Log.Warn(line)
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
