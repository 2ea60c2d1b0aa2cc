package metalink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/backup"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/placement"
	"pegasus/metrics"
	"pegasus/replica/part"
	"pegasus/rpc"
)

const (
	// CallTime bounds one request to a meta.
	CallTime = 3 * time.Second
	// RetryAfter is the pause before a meta is asked again.
	RetryAfter = 100 * time.Millisecond
)

// Options are what a Link is made of.
type Options struct {
	Pool     *rpc.Pool
	Metas    []string        // their addresses, at least one
	Self     base.RPCAddress // the server that is tied
	HostPort base.HostPort   // what it calls itself
	ServerID string          // of its data
	Started  time.Time

	BeaconInterval time.Duration
	Lease          time.Duration
	Grace          time.Duration // how long the metas wait for a server, longer than Lease
	ClockTolerance time.Duration // by how much clocks may differ
	SyncInterval   time.Duration // between two config syncs that nobody asked for

	Wall func() time.Time // the machine's clock; default time.Now
	Log  *logrus.Entry
}

// EnsureDefaults fills what isn't set.
func (o *Options) EnsureDefaults() {
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Log == nil {
		o.Log = logrus.NewEntry(logrus.StandardLogger())
	}
}

// Validate says what is wrong with the options.
func (o *Options) Validate() error {
	if len(o.Metas) == 0 {
		return errors.New("cluster.meta_servers is empty: name at least one meta server")
	}
	if o.BeaconInterval <= 0 || o.Lease <= 0 || o.SyncInterval <= 0 {
		return fmt.Errorf("failure_detector.beacon_interval (%v), failure_detector.lease (%v) and replica.config_sync_interval (%v) must be above 0", o.BeaconInterval, o.Lease, o.SyncInterval)
	}
	if o.Lease >= o.Grace {
		return fmt.Errorf("failure_detector.lease (%v) must be shorter than failure_detector.grace (%v)", o.Lease, o.Grace)
	}
	return nil
}

// Link is a server's tie to the meta leader, as a Part of the server.
type Link struct {
	part.Quiet
	Lease    *Lease
	Clock    *Clock
	Identity *Identity

	o     Options
	host  Host
	metas *metas
	log   *logrus.Entry

	soon        chan struct{} // a config sync is wanted
	syncing     sync.Mutex    // one config sync at a time
	lostBeacons atomic.Int64
}

// New returns a link that says nothing before Beat and SyncLoop run.
func New(o Options, host Host, keeper Keeper) (*Link, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Link{Lease: NewLease(o.Lease), Clock: NewClock(o.ClockTolerance, o.Wall, o.Log), Identity: NewIdentity(keeper),
		o: o, host: host, metas: newMetas(o.Metas, o.Log), log: o.Log, soon: make(chan struct{}, 1)}, nil
}

// Leader is the address of the meta that is believed to lead.
func (l *Link) Leader() string { return l.metas.addr() }

// Metas are the addresses of the metas that are asked.
func (l *Link) Metas() []string { return l.metas.all() }

// call sends one request to the meta that is believed to lead. An error in the answer's
// header or a dead meta turns to another one; the caller repeats.
func (l *Link) call(ctx context.Context, out rpc.Outgoing, res tbin.Decoder, code *base.ErrorCode) error {
	addr := l.metas.addr()
	out.From = l.o.Self
	err := l.o.Pool.Call(ctx, addr, out, res)
	if err == nil && code != nil && *code != base.ErrOK {
		switch *code {
		case base.ErrForwardToOthers, base.ErrServiceNotActive:
			l.metas.turn(addr, 0)
			return *code
		}
		return nil
	}
	if err != nil {
		var h *rpc.HeaderError
		to := base.RPCAddress(0)
		if errors.As(err, &h) {
			to = h.Leader
		}
		l.metas.turn(addr, to)
	}
	return err
}

// ask asks for what a leader of an older version may not know. It answers ERR_SERVICE_NOT_ACTIVE then, which is no reason to turn to
// another one. code is that of the answer.
func (l *Link) ask(ctx context.Context, what string, out rpc.Outgoing, res tbin.Decoder, code *base.ErrorCode) error {
	ctx, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	addr := l.metas.addr()
	err := l.call(ctx, out, res, nil)
	if err == nil && *code == base.ErrForwardToOthers {
		l.metas.turn(addr, 0)
	}
	if err == nil && *code != base.ErrOK {
		err = *code
	}
	if err != nil {
		return fmt.Errorf("ask meta server %s %s: %w", addr, what, err)
	}
	return nil
}

// Update sends one configuration update. settled tells that the meta decided: the
// configuration is then the one that holds now, if it said so.
func (l *Link) Update(ctx context.Context, req *metaadmin.ConfigurationUpdateRequest) (now *layer2.PartitionConfiguration, settled bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	req.ClusterId = l.Identity.Wire()
	var res metaadmin.ConfigurationUpdateResponse
	if err := l.call(ctx, rpc.Outgoing{Code: base.RPCUpdatePartitionConfiguration, Arg: req}, &res, &res.Err); err != nil {
		return nil, false, err
	}
	switch res.Err {
	case base.ErrOK:
		return &res.Config, true, nil
	case base.ErrInvalidVersion:
		return &res.Config, true, res.Err
	case base.ErrBusy, base.ErrServiceNotActive, base.ErrStateFreezed, base.ErrTimeout, base.ErrTryAgain:
		return nil, false, res.Err
	}
	return nil, true, res.Err
}

// Configuration asks for the configuration of a partition: by a change that can't be made,
// which is answered with it.
func (l *Link) Configuration(ctx context.Context, g base.Gpid) (*layer2.PartitionConfiguration, error) {
	req := metaadmin.ConfigurationUpdateRequest{Config: layer2.PartitionConfiguration{Pid: g, Ballot: -1}}
	now, _, err := l.Update(ctx, &req)
	if now == nil {
		return nil, err
	}
	return now, nil
}

// ReportRestore tells how far the restore of a partition is, once. The code is the leader's answer.
func (l *Link) ReportRestore(ctx context.Context, q *backup.ConfigurationReportRestoreStatusRequest) (base.ErrorCode, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTime)
	defer cancel()
	var res backup.ConfigurationReportRestoreStatusResponse
	if err := l.call(ctx, rpc.Outgoing{Code: base.RPCReportRestoreStatus, Gpid: q.Pid, Arg: q}, &res, &res.Err); err != nil {
		return "", fmt.Errorf("report the restore of %v: %w", q.Pid, err)
	}
	return res.Err, nil
}

// askStop bounds one question of a server that ends.
const askStop = 300 * time.Millisecond

// Stop tells the meta leader that this process ends, or, with gone, that it serves no more.
// An error means that no meta takes that in.
func (l *Link) Stop(ctx context.Context, gone bool) (*placement.NodeStopResponse, error) {
	req := placement.NodeStopRequest{Node: l.o.Self, StartTime: l.o.Started.UnixMilli(), Gone: gone}
	var last error
	for range 1 + len(l.metas.all()) {
		c, cancel := context.WithTimeout(ctx, askStop)
		var res placement.NodeStopResponse
		err := l.call(c, rpc.Outgoing{Code: base.RPCNodeStop, Arg: &req}, &res, &res.Err)
		cancel()
		switch {
		case err == nil && res.Err == base.ErrOK:
			return &res, nil
		case err == nil:
			return nil, fmt.Errorf("%w: %s", res.Err, res.HintMessage)
		case errors.Is(err, base.ErrHandlerNotFound):
			return nil, err // an older meta: it notices by itself
		}
		last = err
	}
	return nil, last
}

// Collect implements part.Part.
func (l *Link) Collect(sn *metrics.Snapshot) {
	e := sn.Entity(metrics.Server, "")
	e.SetBool(metrics.LeaseValid, l.Lease.Valid())
	e.Set(metrics.BeaconFailures, l.lostBeacons.Load())
	e.Set(metrics.Strangers, l.Identity.strange.Load())
	e.Set(metrics.ClockOffset, l.Clock.Off().Milliseconds())
}
