package replica

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// abnormal tells of reads that took long or read much: in the log, at a limited rate, and in
// the metrics.
type abnormal struct {
	cfg     atomic.Pointer[config.Replica] // changes while the server runs, see Server.live
	pace    *rate.Limiter
	skipped atomic.Int64 // not logged since the last that was
}

func newAbnormal(cfg config.Replica) *abnormal {
	a := &abnormal{pace: rate.NewLimiter(10, 20)}
	a.cfg.Store(&cfg)
	return a
}

// isAbnormal tells whether a read is worth a line: it took the store that long, or it is
// larger than its kind should be. A limit of 0 is none.
func (a *abnormal) isAbnormal(u *rules, code string, took time.Duration, res *rrdb.Result) bool {
	cfg := a.cfg.Load()
	slow := cfg.SlowQuery.D()
	if u != nil && u.slow > 0 {
		slow = u.slow
	}
	if slow > 0 && took >= slow {
		return true
	}
	var mostBytes, mostRows int64
	switch code {
	case rrdb.CodeGet:
		mostBytes = cfg.AbnormalGet
	case rrdb.CodeMultiGet:
		mostBytes, mostRows = cfg.AbnormalMultiGet, cfg.AbnormalMultiGetRows
	case rrdb.CodeBatchGet:
		mostBytes, mostRows = cfg.AbnormalBatchGet, cfg.AbnormalBatchGetRows
	default:
		return false
	}
	size, rows := res.Size()
	return mostBytes > 0 && int64(size) >= mostBytes || mostRows > 0 && int64(max(rows, res.Seen())) >= mostRows
}

// note looks at a read that is about to be answered; began is by the server's clock.
func (s *Server) note(r *replica, u *rules, req *rpc.Request, began time.Duration, res *rrdb.Result) {
	took := s.uptime() - began
	s.pace.feel(senseRead, took)
	a := s.abnormal
	if !a.isAbnormal(u, req.Code, took, res) {
		return
	}
	r.abnormalReads.Add(1)
	if !a.pace.Allow() {
		a.skipped.Add(1)
		return
	}
	size, rows := res.Size()
	line := fmt.Sprintf("abnormal read: %s from %v took %v, %d rows of %d bytes, %d looked at, storage code %d, of table %q: %s",
		strings.TrimPrefix(req.Code, "RPC_RRDB_RRDB_"), req.Remote, took.Round(time.Microsecond), rows, size, res.Seen(), res.Code(),
		r.view.Load().info.AppName, a.describe(req))
	if n := a.skipped.Swap(0); n > 0 {
		line += fmt.Sprintf(" (and %d others since the last that was logged)", n)
	}
	r.log.Warn(line)
}

// uptime is a monotonic clock that is cheaper to read than time.Now.
func (s *Server) uptime() time.Duration { return time.Since(s.started) }

// describe writes a request's arguments.
func (a *abnormal) describe(req *rpc.Request) string {
	rd := req.ArgReader()
	text := "arguments that can't be read"
	switch req.Code {
	case rrdb.CodeGet, rrdb.CodeTTL:
		if key := rd.Bytes(); rd.Err() == nil {
			text = a.row(key)
		}
	case rrdb.CodeSortkeyCount:
		if key := rd.Bytes(); rd.Err() == nil {
			text = "hash key " + a.key(key)
		}
	case rrdb.CodeMultiGet:
		var q idl.MultiGetRequest
		if q.ReadThrift(&rd); rd.Err() == nil {
			text = fmt.Sprintf("hash key %s, %d sort keys, from %s to %s, max_kv_count %d, max_kv_size %d, reverse %t, no_value %t, sort key filter %v %s",
				a.key(q.HashKey), len(q.SortKeys), a.key(q.StartSortkey), a.key(q.StopSortkey), q.MaxKvCount, q.MaxKvSize, q.Reverse, q.NoValue,
				q.SortKeyFilterType, a.key(q.SortKeyFilterPattern))
		}
	case rrdb.CodeBatchGet:
		var q idl.BatchGetRequest
		if q.ReadThrift(&rd); rd.Err() == nil {
			text = fmt.Sprintf("%d keys", len(q.Keys))
			if len(q.Keys) > 0 {
				text += ", the first " + a.key(q.Keys[0].HashKey) + " : " + a.key(q.Keys[0].SortKey)
			}
		}
	case rrdb.CodeGetScanner:
		var q idl.GetScannerRequest
		if q.ReadThrift(&rd); rd.Err() == nil {
			text = fmt.Sprintf("from %s to %s, batch_size %d, no_value %t, hash key filter %v %s, sort key filter %v %s", a.row(q.StartKey), a.row(q.StopKey),
				q.BatchSize, q.NoValue, q.HashKeyFilterType, a.key(q.HashKeyFilterPattern), q.SortKeyFilterType, a.key(q.SortKeyFilterPattern))
		}
	case rrdb.CodeScan:
		var q idl.ScanRequest
		if q.ReadThrift(&rd); rd.Err() == nil {
			text = fmt.Sprintf("context %d", q.ContextId)
		}
	}
	return text
}

const (
	redacted   = "<redacted>"
	longestKey = 64 // bytes of a key that are shown
)

// key quotes what may be a secret.
func (a *abnormal) key(k []byte) string {
	switch {
	case len(k) == 0:
		return `""`
	case a.cfg.Load().RedactKeys:
		return redacted
	case len(k) > longestKey:
		return fmt.Sprintf("%q and %d bytes more", k[:longestKey], len(k)-longestKey)
	}
	return fmt.Sprintf("%q", k)
}

// row is key for an encoded row key.
func (a *abnormal) row(k []byte) string {
	h, sk, ok := base.SplitKey(k)
	if !ok {
		return a.key(k)
	}
	return a.key(h) + " : " + a.key(sk)
}
