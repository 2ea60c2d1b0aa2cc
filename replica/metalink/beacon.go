package metalink

import (
	"context"
	"net/netip"
	"time"

	"pegasus/base"
	"pegasus/base/boottime"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/rpc"
)

// Beat sends beacons until ctx ends.
func (l *Link) Beat(ctx context.Context) {
	t := time.NewTicker(l.o.BeaconInterval)
	defer t.Stop()
	was := false
	for {
		if l.Lease.Ended() {
			return // and said so: a beacon would tell the contrary
		}
		// Two tries a beat: the second goes to the leader that the first was told of.
		for range 2 {
			if l.beacon(ctx) {
				break
			}
		}
		if now := l.Lease.Valid(); now != was {
			was = now
			if now {
				l.log.Info("the meta leader acknowledges this node: serving")
			} else {
				l.log.Warn("no meta leader acknowledged a beacon for the length of the lease: not serving until one does")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// beacon sends one, and takes the answer. It is false if another try may do better.
func (l *Link) beacon(ctx context.Context) bool {
	addr := l.metas.addr()
	var to base.RPCAddress
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		to = base.MakeRPCAddress(ap) // what stands behind a name is looked up when it is connected to
	}
	own := l.Identity.ID()
	boottime.Refresh()
	sent := l.Lease.now()
	asked := time.Now()
	msg := fd.BeaconMsg{Time: l.Clock.local().UnixMilli(), FromNode: l.o.Self, ToNode: to, StartTime: base.Some(l.o.Started.UnixMilli()),
		HpFromNode: base.Some(l.o.HostPort), Version: base.Some(int32(version.Newest)), ClusterId: base.NonZero(own), Serves: base.Some(l.Lease.Valid()), ServerId: base.NonZero(l.o.ServerID)}
	var ack fd.BeaconAck
	c, cancel := context.WithTimeout(ctx, l.o.BeaconInterval)
	defer cancel()
	if err := l.call(c, rpc.Outgoing{Code: base.RPCFailureDetectorPing, Arg: &msg}, &ack, nil); err != nil {
		l.lostBeacons.Add(1)
		l.log.Debugf("beacon to %s: %v", addr, err)
		return false
	}
	if !ack.IsMaster {
		next := ack.PrimaryNode
		if next == to {
			next = 0
		}
		l.metas.turn(addr, next)
		return false
	}
	if !l.obeys(ctx, addr, version.Version(ack.ClusterVersion.V).OrFirst(), ack.ClusterId.V) {
		// Another cluster's meta can have the address of one of ours: the others are asked.
		l.metas.turn(addr, 0)
		return l.metas.addr() == addr
	}
	if ack.MetaServers.Set {
		l.metas.learn(ack.MetaServers.V)
	}
	if own != l.Identity.ID() {
		return false // the next one says what the server has taken on
	}
	if !ack.Allowed {
		l.Identity.obeyed.Store(false)
		l.log.Warnf("the meta at %s does not allow this node to serve, and its log says why", addr)
		return true
	}
	l.Identity.obeyed.Store(true)
	l.Clock.Heard(asked, ack.ClockMs.Or(0), ack.ClockDoubted.Or(false))
	if l.Lease.Renew(sent) {
		return true
	}
	// Not under the beacon's deadline, but within the lease that it may grant.
	s, done := context.WithTimeout(ctx, l.o.Lease/2)
	defer done()
	if err := l.Sync(s, true); err != nil {
		l.log.Debugf("config sync before serving again: %v", err)
		return false
	}
	l.Lease.Resume(sent)
	return true
}
