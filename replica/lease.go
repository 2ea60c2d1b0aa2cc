package replica

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/fd"
	"pegasus/rpc"
)

const codePing = "RPC_FD_FAILURE_DETECTOR_PING"

// lease is the node's permission to serve, granted by the meta leader's acknowledgement of
// a beacon and counted from when the beacon was sent, on the monotonic clock.
//
// A lease that has run out is not simply renewed. The meta may have declared the node dead
// meanwhile and given its roles to others; so the node first learns the configuration as it
// is after the beacon, and only then serves again (resume). While the lease is unbroken the
// meta can't have done that: it waits for longer than a lease.
type lease struct {
	origin time.Time
	until  atomic.Int64 // nanoseconds after origin
	length time.Duration
	lapsed atomic.Bool
	// epoch changes when the lease is found to have run out, and when it begins anew. What
	// the meta was asked in one epoch says nothing in another.
	epoch atomic.Int64
	// over: the server stops, and serves no more.
	over atomic.Bool
}

func newLease(length time.Duration) *lease {
	l := &lease{origin: time.Now(), length: length}
	l.lapsed.Store(true)
	return l
}

// valid tells whether the node may serve at this moment.
func (l *lease) valid() bool { return int64(time.Since(l.origin)) < l.until.Load() && !l.over.Load() }

// end gives the lease up for good: a port that refuses connections is taken for a dead
// process, so it must not be closed while the node could still answer.
func (l *lease) end() { l.over.Store(true) }

// renew extends the lease on account of a beacon that was sent at sent and is acknowledged
// by now. It reports false if the lease had run out before: see resume.
func (l *lease) renew(sent time.Time) bool {
	now := int64(time.Since(l.origin))
	for {
		old := l.until.Load()
		if l.lapsed.Load() || now >= old {
			if !l.lapsed.Swap(true) {
				l.epoch.Add(1)
			}
			return false
		}
		until := int64(sent.Sub(l.origin) + l.length)
		if until <= old || l.until.CompareAndSwap(old, until) {
			return true
		}
	}
}

// resume begins a lease anew, on account of a beacon that was sent at sent. The node has
// since taken over the configuration that held after the acknowledgement.
func (l *lease) resume(sent time.Time) {
	l.epoch.Add(1)
	l.until.Store(int64(sent.Sub(l.origin) + l.length))
	l.lapsed.Store(false)
}

// metaLink finds the meta leader and talks to it.
type metaLink struct {
	pool   *rpc.Pool
	seeds  []string                 // cluster.meta_servers
	told   atomic.Pointer[[]string] // what the leader said last
	metas  atomic.Pointer[[]string] // whom to ask
	from   base.RPCAddress
	leader atomic.Pointer[string]
	next   atomic.Int32
	log    *logrus.Entry
}

func newMetaLink(pool *rpc.Pool, metas []string, from base.RPCAddress, log *logrus.Entry) *metaLink {
	m := &metaLink{pool: pool, seeds: metas, from: from, log: log}
	m.metas.Store(&metas)
	m.told.Store(&metas)
	m.leader.Store(&metas[0])
	return m
}

func (m *metaLink) addr() string { return *m.leader.Load() }

// learn takes the list of metas that the leader sent. Those of the configuration file are
// still asked, after them.
func (m *metaLink) learn(list []string) {
	if len(list) == 0 || slices.Equal(*m.told.Load(), list) {
		return
	}
	m.told.Store(&list)
	var metas []string
	for _, a := range append(slices.Clone(list), m.seeds...) {
		if _, err := base.ParseAddr(a); err == nil && !slices.Contains(metas, a) {
			metas = append(metas, a)
		}
	}
	m.metas.Store(&metas)
	m.log.Infof("the meta servers are %v", list)
}

// turn makes to the one to ask, or if it is nobody the next in the list; only if the one
// that failed is still the one to ask.
func (m *metaLink) turn(failed string, to base.RPCAddress) {
	cur := m.leader.Load()
	if *cur != failed {
		return
	}
	metas := *m.metas.Load()
	next := metas[int(m.next.Add(1))%len(metas)]
	if !to.IsZero() {
		next = to.String()
	}
	if next != failed {
		m.leader.CompareAndSwap(cur, &next)
	}
}

// answer is what metaLink needs of a meta's response.
type metaAnswer interface {
	ReadThrift(*tbin.Reader)
}

// call sends one request to the meta that is believed to lead. An error in the answer's
// header or a dead meta turns to another one; the caller repeats.
func (m *metaLink) call(ctx context.Context, out rpc.Outgoing, res metaAnswer, code *base.ErrorCode) error {
	addr := m.addr()
	out.From = m.from
	err := m.pool.Call(ctx, addr, out, res)
	if err == nil && code != nil && *code != base.ErrOK {
		switch *code {
		case base.ErrForwardToOthers, base.ErrServiceNotActive:
			m.turn(addr, 0)
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
		m.turn(addr, to)
	}
	return err
}

// beat sends beacons until ctx ends.
func (s *Server) beat(ctx context.Context) {
	interval := s.cfg.FD.BeaconInterval.D()
	t := time.NewTicker(interval)
	defer t.Stop()
	was := false
	for {
		// Two tries a beat: the second goes to the leader that the first was told of.
		for range 2 {
			if s.beacon(ctx, interval) {
				break
			}
		}
		if now := s.lease.valid(); now != was {
			was = now
			if now {
				s.log.Info("the meta leader acknowledges this node: serving")
			} else {
				s.log.Warn("no meta leader acknowledged a beacon for the length of the lease: not serving until one does")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Server) beacon(ctx context.Context, timeout time.Duration) bool {
	addr := s.meta.addr()
	to, err := base.ParseAddr(addr)
	if err != nil {
		s.log.Warnf("meta server address: %v", err)
	}
	sent := time.Now()
	msg := fd.BeaconMsg{Time: sent.UnixMilli(), FromNode: s.addr, ToNode: to, StartTime: base.Some(s.started.UnixMilli()),
		HpFromNode: base.Some(s.hostPort)}
	var ack fd.BeaconAck
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.meta.call(ctx, rpc.Outgoing{Code: codePing, Arg: &msg}, &ack, nil); err != nil {
		s.counts.beaconFailed.Add(1)
		s.log.Debugf("beacon to %s: %v", addr, err)
		return false
	}
	switch {
	case !ack.IsMaster:
		next := ack.PrimaryNode
		if next == to {
			next = 0
		}
		s.meta.turn(addr, next)
		return false
	case ack.IsMaster && ack.MetaServers.Set:
		s.meta.learn(ack.MetaServers.V)
	}
	switch {
	case !ack.Allowed:
		s.log.Warnf("the meta at %s does not allow this node to serve (see its white list)", addr)
		return true
	}
	if s.lease.renew(sent) {
		return true
	}
	// Not under the beacon's deadline, but within the lease that it may grant.
	c, done := context.WithTimeout(s.ctx, s.cfg.FD.Lease.D()/2)
	defer done()
	if err := s.configSync(c, true); err != nil {
		s.log.Debugf("config sync before serving again: %v", err)
		return false
	}
	s.lease.resume(sent)
	return true
}
