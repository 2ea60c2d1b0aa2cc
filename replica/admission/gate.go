package admission

import (
	"fmt"
	"sync/atomic"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
	"pegasus/metrics"
	"pegasus/remotecmd"
	"pegasus/replica/part"
	"pegasus/rpc"
)

// Options of a Gate.
type Options struct {
	// Server is host:port of the server, for answers.
	Server string
	// MaxWriteBytes is the size of a request from which on a write is refused; 0: none is. It
	// can be changed later, see Gate.Register.
	MaxWriteBytes int64
	// DelayedBytes bounds the memory of requests that wait.
	DelayedBytes int64
}

// EnsureDefaults replaces what isn't set and has to be.
func (o *Options) EnsureDefaults() {
	if o.DelayedBytes == 0 {
		o.DelayedBytes = 64 << 20
	}
}

// Validate returns an error if the options contradict themselves.
func (o *Options) Validate() error {
	if o.MaxWriteBytes < 0 || o.DelayedBytes < 0 {
		return fmt.Errorf("limits of requests must not be negative: %+v", *o)
	}
	return nil
}

// Gate admits requests to the replicas of one server.
type Gate struct {
	part.Quiet
	server   string
	maxWrite atomic.Int64
	closed   atomic.Bool // clients get no answers, an administrator says
	delays   delays
}

// New returns a Gate. Somebody has to call Run.
func New(o Options) (*Gate, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	g := &Gate{server: o.Server, delays: newDelays(o.DelayedBytes)}
	g.maxWrite.Store(o.MaxWriteBytes)
	return g, nil
}

// Register implements part.Part.
func (g *Gate) Register(r *part.Routes) {
	r.Command(remotecmd.Bool("replica.deny-client", "control if deny client read & write request", &g.closed))
	part.Live(r, "replica.max_allowed_write_size", g.maxWrite.Store)
}

// Closed tells whether an administrator wants no client answered.
func (g *Gate) Closed() bool { return g.closed.Load() }

// MaxWrite is the size from which on a write is refused; 0: none is.
func (g *Gate) MaxWrite() int64 { return g.maxWrite.Load() }

// Waiting returns how many requests wait for a throttle.
func (g *Gate) Waiting() int64 { return g.delays.waiting() }

// Replica is what is kept of one replica.
type Replica struct {
	// Rules are nil for a table whose settings demand nothing of requests.
	Rules atomic.Pointer[Rules]
	Peers PeerRoom

	delayedWrites, rejectedWrites, delayedReads, rejectedReads, delayedBackups, rejectedBackups atomic.Int64
}

// Counts are what the throttles of a table did to requests of a replica.
type Counts struct{ DelayedWrites, RejectedWrites, DelayedReads, RejectedReads, DelayedBackups, RejectedBackups int64 }

// Counts returns them, since the replica was opened.
func (r *Replica) Counts() Counts {
	return Counts{r.delayedWrites.Load(), r.rejectedWrites.Load(), r.delayedReads.Load(), r.rejectedReads.Load(), r.delayedBackups.Load(), r.rejectedBackups.Load()}
}

// Collect adds the metrics of the replica to its entity.
func (r *Replica) Collect(e *metrics.Entity) {
	c := r.Counts()
	e.Set(metrics.DelayedWrites, c.DelayedWrites)
	e.Set(metrics.RejectedWrites, c.RejectedWrites)
	e.Set(metrics.DelayedReads, c.DelayedReads)
	e.Set(metrics.RejectedReads, c.RejectedReads)
	e.Set(metrics.DelayedBackups, c.DelayedBackups)
	e.Set(metrics.RejectedBackups, c.RejectedBackups)
}

// HoldWrite delays or refuses a write that is too much for the rules u of its table. If it
// returns true the request is taken care of.
func (g *Gate) HoldWrite(r *Replica, u *Rules, req *rpc.Request) bool {
	if u == nil {
		return false
	}
	now := time.Now()
	v, wait := u.writes.take(now, req.TimeoutMS, 1)
	if v == pass {
		v, wait = u.writeBytes.take(now, req.TimeoutMS, uint64(len(req.Body)))
	}
	return g.hold(v, now, wait, req, write, &r.delayedWrites, &r.rejectedWrites)
}

// HoldRead is HoldWrite for reads.
func (g *Gate) HoldRead(r *Replica, u *Rules, req *rpc.Request) bool {
	if u == nil {
		return false
	}
	now := time.Now()
	if !req.IsBackup {
		v, wait := u.reads.take(now, req.TimeoutMS, 1)
		return g.hold(v, now, wait, req, read, &r.delayedReads, &r.rejectedReads)
	}
	v, wait := u.backups.take(now, req.TimeoutMS, 1)
	if v == reject { // the client asked the primary too
		r.rejectedBackups.Add(1)
		req.Drop()
		return true
	}
	return g.hold(v, now, wait, req, read, &r.delayedBackups, &r.rejectedBackups)
}

// hold does what a throttle says.
func (g *Gate) hold(v verdict, now time.Time, wait time.Duration, req *rpc.Request, what kind, delayed, rejected *atomic.Int64) bool {
	switch v {
	case pass:
		return false
	case delay:
		delayed.Add(1)
		g.delays.put(now, wait, req, what)
	default:
		rejected.Add(1)
		g.delays.put(now, wait, req, refusal)
	}
	return true
}

// ReadTooMuch refuses a read of a table that has read more bytes than it may, and reports
// that. The answer has a body, as upstream's.
func (g *Gate) ReadTooMuch(r *Replica, u *Rules, req *rpc.Request) bool {
	if u == nil || u.readBytes == nil || u.readBytes.available(time.Now()) {
		return false
	}
	r.rejectedReads.Add(1)
	app, part, name := req.Gpid.AppID, req.Gpid.PartitionIndex, g.server
	var res tbin.Encoder
	switch req.Code {
	case base.RPCGet:
		res = &idl.ReadResponse{AppId: app, PartitionIndex: part, Server: name}
	case base.RPCTTL:
		res = &idl.TtlResponse{AppId: app, PartitionIndex: part, Server: name}
	case base.RPCSortkeyCount:
		res = &idl.CountResponse{AppId: app, PartitionIndex: part, Server: name}
	case base.RPCMultiGet:
		res = &idl.MultiGetResponse{AppId: app, PartitionIndex: part, Server: name}
	case base.RPCBatchGet:
		res = &idl.BatchGetResponse{AppId: app, PartitionIndex: part, Server: name}
	case base.RPCGetScanner, base.RPCScan:
		res = &idl.ScanResponse{AppId: app, PartitionIndex: part, Server: name}
	default:
		return false // nothing is read
	}
	req.ReplyErrorWith(base.ErrBusy, res)
	return true
}
