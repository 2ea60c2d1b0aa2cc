package replica

import (
	"math"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// rules are what a table's settings demand of its requests here. A table that demands
// nothing has none: see replica.rules.
type rules struct {
	validate              bool // rows belong to this partition, or are refused
	partitions, partition int32
	slow                  time.Duration // 0: the server's

	deny                               appenv.Deny
	writes, writeBytes, reads, backups window
	readBytes                          *bucket // nil: no limit
}

// newRules returns the rules of a partition, nil if there are none.
func newRules(info *replicaInfo) (u *rules, bad []string) {
	s, bad := appenv.Parse(info.Envs)
	if s == (appenv.Settings{DefaultTTL: s.DefaultTTL, Iteration: s.Iteration, Compact: s.Compact, Operations: s.Operations, Scenario: s.Scenario, WriteBuffer: s.WriteBuffer}) {
		return nil, bad // the rest is the store's business
	}
	n := uint64(max(info.Partitions, 1))
	u = &rules{validate: s.ValidateHash, partitions: info.Partitions, partition: info.Partition, slow: s.SlowQuery, deny: s.Deny,
		writes: newWindow(s.Write, n), writeBytes: newWindow(s.WriteBytes, n), reads: newWindow(s.Read, n), backups: newWindow(s.BackupRequests, n)}
	if s.ReadBytes > 0 {
		u.readBytes = newBucket(max(s.ReadBytes/n, 1))
	}
	return u, bad
}

// setRules takes the table's settings as they are in info.
func (r *replica) setRules() {
	u, bad := newRules(&r.info)
	if len(bad) > 0 {
		r.log.Warnf("settings of the table that can't be: %v; they are taken for not set", bad)
	}
	r.rules.Store(u)
	r.setCompactions()
}

// checkHash refuses a row that belongs to another partition, where the table asks for it.
func (u *rules) checkHash(hash uint64) base.ErrorCode {
	if u != nil && u.validate && u.partitions > 0 && hash&uint64(u.partitions-1) != uint64(u.partition) {
		return base.ErrParentPartitionMisused
	}
	return base.ErrOK
}

// denied answers a request that the table's settings deny.
func (u *rules) denied(req *rpc.Request, write bool) bool {
	switch {
	case u == nil || write && !u.deny.Writes || !write && !u.deny.Reads:
		return false
	case u.deny.Reconfigure:
		req.ReplyError(base.ErrInvalidState)
	default:
		req.Drop()
	}
	return true
}

// holdWrite delays or refuses a write that is too much. If it returns true the request is
// taken care of.
func (s *Server) holdWrite(r *replica, u *rules, req *rpc.Request) bool {
	if u == nil {
		return false
	}
	now := time.Now()
	v, wait := u.writes.take(now, req.TimeoutMS, 1)
	if v == pass {
		v, wait = u.writeBytes.take(now, req.TimeoutMS, uint64(len(req.Body)))
	}
	switch v {
	case pass:
		return false
	case delay:
		r.throttled.delayedWrites.Add(1)
		s.delays.put(now, wait, req, lateWrite)
	default:
		r.throttled.rejectedWrites.Add(1)
		s.delays.put(now, wait, req, lateRefusal)
	}
	return true
}

// holdRead is holdWrite for reads.
func (s *Server) holdRead(r *replica, u *rules, req *rpc.Request) bool {
	if u == nil {
		return false
	}
	now := time.Now()
	if req.IsBackup {
		switch v, wait := u.backups.take(now, req.TimeoutMS, 1); v {
		case pass:
			return false
		case delay:
			r.throttled.delayedBackups.Add(1)
			s.delays.put(now, wait, req, lateRead)
		default:
			// The client asked the primary too.
			r.throttled.rejectedBackups.Add(1)
			req.Drop()
		}
		return true
	}
	switch v, wait := u.reads.take(now, req.TimeoutMS, 1); v {
	case pass:
		return false
	case delay:
		r.throttled.delayedReads.Add(1)
		s.delays.put(now, wait, req, lateRead)
	default:
		r.throttled.rejectedReads.Add(1)
		s.delays.put(now, wait, req, lateRefusal)
	}
	return true
}

// readTooMuch refuses a read of a table that has read more bytes than it may. The answer has
// a body, as upstream's.
func (r *replica) readTooMuch(u *rules, req *rpc.Request) bool {
	if u == nil || u.readBytes == nil || u.readBytes.available(time.Now()) {
		return false
	}
	r.throttled.rejectedReads.Add(1)
	app, part, name := r.gpid.AppID, r.gpid.PartitionIndex, r.srv.name
	var res tbin.Encoder
	switch req.Code {
	case rrdb.CodeGet:
		res = &idl.ReadResponse{AppId: app, PartitionIndex: part, Server: name}
	case rrdb.CodeTTL:
		res = &idl.TtlResponse{AppId: app, PartitionIndex: part, Server: name}
	case rrdb.CodeSortkeyCount:
		res = &idl.CountResponse{AppId: app, PartitionIndex: part, Server: name}
	case rrdb.CodeMultiGet:
		res = &idl.MultiGetResponse{AppId: app, PartitionIndex: part, Server: name}
	case rrdb.CodeBatchGet:
		res = &idl.BatchGetResponse{AppId: app, PartitionIndex: part, Server: name}
	case rrdb.CodeGetScanner, rrdb.CodeScan:
		res = &idl.ScanResponse{AppId: app, PartitionIndex: part, Server: name}
	default:
		return false // nothing is read
	}
	req.ReplyErrorWith(base.ErrBusy, res)
	return true
}

type verdict uint8

const (
	pass verdict = iota
	delay
	reject
)

// window counts units of the present second of the wall clock against a throttle, as
// upstream does. The zero value lets everything pass.
type window struct {
	on                   bool
	delayAbove, delayMS  uint64 // 0: that part is off
	rejectAbove, waitsMS uint64

	mu     sync.Mutex
	second int64
	units  uint64
}

// newWindow is a partition's part of a table's throttle.
func newWindow(t appenv.Throttle, partitions uint64) window {
	share := func(n uint64) uint64 {
		if n == 0 {
			return 0
		}
		return n/partitions + 1
	}
	return window{on: t.Delay.Units > 0 || t.Reject.Units > 0, delayAbove: share(t.Delay.Units), delayMS: t.Delay.MS,
		rejectAbove: share(t.Reject.Units), waitsMS: t.Reject.MS}
}

// take counts a request of n units whose client waits for timeoutMS (0 or less is not
// known). The wait is never longer than half of that.
func (w *window) take(now time.Time, timeoutMS int32, n uint64) (verdict, time.Duration) {
	if !w.on {
		return pass, 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := now.Unix(); s != w.second {
		w.second, w.units = s, 0
	}
	sum := w.units + n
	if w.rejectAbove > 0 && sum > w.rejectAbove {
		return reject, shortened(w.waitsMS, timeoutMS)
	}
	w.units = sum
	if w.delayAbove > 0 && sum > w.delayAbove {
		return delay, shortened(w.delayMS, timeoutMS)
	}
	return pass, 0
}

func shortened(ms uint64, timeoutMS int32) time.Duration {
	ms = min(ms, math.MaxInt32)
	if timeoutMS > 0 {
		ms = min(ms, uint64(timeoutMS/2))
	}
	return time.Duration(ms) * time.Millisecond
}

// bucket is a token bucket that may be overdrawn: what a read costs is known after it. Its
// rate a second is also what it holds.
type bucket struct {
	rate float64

	mu     sync.Mutex
	tokens float64
	at     time.Time
}

// deepest is how many seconds' tokens a bucket may lack: one huge read doesn't shut a table
// for hours.
const deepest = 10

func newBucket(rate uint64) *bucket { return &bucket{rate: float64(rate), tokens: float64(rate)} }

func (b *bucket) available(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() {
		b.tokens = min(b.tokens+b.rate*max(now.Sub(b.at).Seconds(), 0), b.rate)
	}
	b.at = now
	return b.tokens > 0
}

func (b *bucket) consume(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = max(b.tokens-float64(n), -deepest*b.rate)
}
