package meta

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/placement"
	"pegasus/meta/detector"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	"pegasus/rpc"
)

// probeTimeout bounds the look whether a silent node refuses connections.
const probeTimeout = 500 * time.Millisecond

// servers takes what replica servers say: that they live, that they end, and what they store.
type servers struct {
	*term
	nodes *nodes
	parts *partitions
	bal   *balancer
	// reports hands a configuration sync to the services.
	reports func(*service.Report)
	moves   moves
}

// Register adds what replica servers ask the leader.
func (*servers) Register(r *service.Routes) {
	service.Handle(r, base.RPCConfigSync, service.Slow, (*servers).configSync)
	service.Handle(r, base.RPCNodeStop, service.Fast, (*servers).nodeStop)
}

// Lead looks who died.
func (sv *servers) Lead(context.Context) {
	sv.every(min(250*time.Millisecond, max(sv.s.cfg.FD.BeaconInterval.D()/4, 5*time.Millisecond)), func() {
		if sv.checkNodes() {
			sv.kick()
		}
	})
}

// Report has nothing to add.
func (*servers) Report(*service.Report) {}

// onBeacon takes a replica server's sign of life. Only a leader that a majority has just
// confirmed acknowledges it as master, which renews the node's lease.
func (s *Server) onBeacon(req *rpc.Request) {
	var b fd.BeaconMsg
	if err := req.DecodeArg(&b); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	from := wire.Resolve(b.FromNode, b.HpFromNode)
	if !wire.IsServer(from) {
		req.Refuse(base.ErrInvalidParameters, errors.New("the beacon names no address"))
		return
	}
	names := s.names(req)
	ack := &fd.BeaconAck{Time: b.Time, ThisNode: s.self(), HpThisNode: names.Opt(s.self()), Allowed: true}
	l := s.leader.Load()
	if l != nil && !l.confirmed() {
		l = nil
	}
	why, wait := "", false
	if l != nil {
		if why = l.nodes.whyRefused(from, &b); why == "" {
			var ok bool
			ok, why = l.servers.place(from, &b)
			wait = !ok && why == ""
		}
	}
	if l != nil {
		v, id := s.fsm.cluster()
		ack.ClusterVersion, ack.ClusterId = base.Some(int32(v)), base.NonZero(id)
	}
	switch {
	case l == nil:
	case wait:
		req.ReplyError(base.ErrBusy) // its name was last somewhere else, where a lease may hold
		return
	case why != "":
		ack.IsMaster, ack.Allowed = true, false
		l.nodes.refuse(from, why, b.Version.Set && !b.ClusterId.Set)
	default:
		l.nodes.welcome(from, version.Version(b.Version.V).OrFirst())
		if !l.servers.beacon(detector.Beacon{From: from, Host: b.HpFromNode.V, StartTime: b.StartTime.Or(0)}, b.Time, b.Serves) {
			req.ReplyError(base.ErrBusy) // its roles are just being given to others
			return
		}
		ack.IsMaster = true
		req.Vouch()
		ack.MetaServers = base.Some(s.members.memberNames())
		ack.ClockMs, ack.ClockDoubted = l.nodes.tellClock()
	}
	ack.PrimaryNode = s.leaderAddr()
	ack.HpPrimaryNode = names.Opt(ack.PrimaryNode)
	req.Reply(ack)
}

// beacon reports false if the beacon must not be acknowledged. clock is the sender's, in
// milliseconds since 1970, and serves what it says of its lease.
func (sv *servers) beacon(b detector.Beacon, clock int64, serves base.Opt[bool]) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	ev, ok := sv.nodes.det.Beacon(sv.now(), b)
	if !ok {
		return false
	}
	sv.nodes.observeClock(b.From, clock)
	defer func() { // after what a restart makes forgotten
		switch n := sv.nodes.at(b.From); {
		case serves.Set && serves.V:
			n.serves = judge.Yes
		case serves.Set:
			n.serves = judge.No
		}
	}()
	if ev == 0 {
		return true
	}
	sv.nodes.publish()
	if ev&(detector.Joined|detector.Revived) != 0 {
		sv.bal.replan()
	}
	switch {
	case ev&detector.Joined != 0:
		sv.log.Infof("node %v joins", b.From)
	case ev&detector.Revived != 0:
		sv.log.Infof("node %v is alive again", b.From)
	}
	if ev&detector.Restarted != 0 {
		sv.log.Infof("node %v was restarted", b.From)
		sv.onRestart(b.From)
	}
	sv.kick()
	return true
}

// onRestart gives the primaries of a process that was replaced time to confirm their role.
// The caller holds mu.
func (sv *servers) onRestart(a base.RPCAddress) {
	sv.nodes.at(a).forget()
	now := sv.now()
	sv.s.fsm.read(func(st *state.State) {
		for _, g := range st.PartitionsOf(a) {
			if _, cfg, ok := st.Config(g); ok && cfg.Primary == a {
				sv.parts.plan.Restarted(now, g, cfg.Ballot)
				sv.parts.toCheck[g] = struct{}{}
			}
		}
	})
}

// checkNodes finds nodes that died. It reports whether there were any.
func (sv *servers) checkNodes() bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	died, suspects := sv.nodes.det.Tick(sv.now())
	sv.nodes.checkClocks()
	sv.forgetGone()
	for _, a := range died {
		sv.log.Warnf("node %v is dead: no beacon for %v", a, sv.s.cfg.FD.Grace.D())
		sv.onDeath(a)
	}
	if sv.s.cfg.FD.TrustRefusal {
		for _, a := range suspects {
			if n := sv.nodes.at(a); !n.probing {
				n.probing = true
				sv.wg.Go(func() { sv.probe(a) })
			}
		}
	}
	return len(died) > 0
}

// probe connects to a silent node. If its host refuses, nobody listens there: the process
// is dead, and its lease with it.
func (sv *servers) probe(a base.RPCAddress) {
	asked := sv.now()
	d := net.Dialer{Timeout: probeTimeout}
	c, err := d.DialContext(sv.ctx, "tcp4", a.String())
	if err == nil {
		c.Close()
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.nodes.at(a).probing = false
	if errors.Is(err, syscall.ECONNREFUSED) && sv.nodes.det.Died(asked, a) {
		sv.log.Warnf("node %v is dead: it was silent and now refuses connections", a)
		sv.onDeath(a)
		sv.kick()
	}
}

// onDeath has all partitions of a looked at. The caller holds mu.
func (sv *servers) onDeath(a base.RPCAddress) {
	sv.nodes.deaths.Add(1)
	sv.bal.replan()
	sv.nodes.at(a).forget()
	sv.s.fsm.read(func(st *state.State) {
		for _, g := range st.PartitionsOf(a) {
			sv.parts.toCheck[g] = struct{}{}
		}
	})
	sv.nodes.publish()
}

// nodeStop takes the word of a replica server that it ends. From the first on what it leads is
// given to others; with the last, when it has stopped serving, it is dead, and nobody waits for
// a grace. It asks again until nothing is left that others take over, so that a new leader
// hears of it too.
func (sv *servers) nodeStop(_ *service.Call, q *placement.NodeStopRequest, r *placement.NodeStopResponse) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if !sv.confirmed() {
		r.Err = base.ErrBusy
		return
	}
	r.Err = base.ErrOK
	n, _ := sv.nodes.det.Node(q.Node)
	switch {
	case n.StartTime == q.StartTime && n.Stopping && (!q.Gone || !n.Alive):
		// It asked before.
	case q.Gone && sv.nodes.det.Left(q.Node, q.StartTime):
		sv.log.Infof("node %v ends, and says so", q.Node)
		sv.onDeath(q.Node)
	case !q.Gone && sv.nodes.det.Stop(q.Node, q.StartTime):
		sv.log.Infof("node %v says that it ends soon: what it leads is given to others", q.Node)
		sv.bal.replan()
	default:
		r.Err, r.HintMessage = base.ErrInvalidState, fmt.Sprintf("no process of %v that began at %d lives", q.Node, q.StartTime)
		return
	}
	sv.s.fsm.read(func(st *state.State) {
		yields := sv.parts.plan.Yields(sv.parts.planView(st))
		for _, g := range st.PartitionsOf(q.Node) {
			t, cfg, ok := st.Config(g)
			if !ok {
				continue
			}
			if cfg.Primary == q.Node {
				r.Left++
			}
			if st.Level() >= state.LevelSteady && yields(g, t, &cfg, q.Node) {
				r.Moving++
				sv.parts.toCheck[g] = struct{}{}
			}
		}
	})
	if r.Moving > 0 {
		sv.kick()
	}
}
