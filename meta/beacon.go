package meta

import (
	"errors"

	"pegasus/base"
	"pegasus/gen/fd"
	"pegasus/meta/detector"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// onBeacon takes a replica server's sign of life. Only a leader that a majority has just
// confirmed acknowledges it as master, which renews the node's lease.
func (s *Server) onBeacon(req *rpc.Request) {
	var b fd.BeaconMsg
	if err := req.DecodeArg(&b); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	from := resolve(b.FromNode, b.HpFromNode)
	if !isServer(from) {
		req.Refuse(base.ErrInvalidParameters, errors.New("the beacon names no address"))
		return
	}
	names := s.names(req.Framing)
	ack := &fd.BeaconAck{Time: b.Time, ThisNode: s.self, HpThisNode: names.opt(s.self), Allowed: true}
	l := s.leader.Load()
	switch {
	case l == nil || !l.confirmed():
	case !s.allowed(from, b.HpFromNode.V):
		ack.IsMaster, ack.Allowed = true, false
	default:
		if !l.beacon(detector.Beacon{From: from, Host: b.HpFromNode.V, StartTime: b.StartTime.Or(0)}) {
			req.ReplyError(base.ErrBusy) // its roles are just being given to others
			return
		}
		ack.IsMaster = true
		ack.MetaServers = base.Some(s.memberNames())
	}
	ack.PrimaryNode = s.leaderAddr()
	ack.HpPrimaryNode = names.opt(ack.PrimaryNode)
	req.Reply(ack)
}

// beacon reports false if the beacon must not be acknowledged.
func (l *leader) beacon(b detector.Beacon) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ev, ok := l.det.Beacon(l.now(), b)
	if !ok || ev == 0 {
		return ok
	}
	l.publish()
	if ev&(detector.Joined|detector.Revived) != 0 {
		l.replan()
	}
	switch {
	case ev&detector.Joined != 0:
		l.log.Infof("node %v joins", b.From)
	case ev&detector.Revived != 0:
		l.log.Infof("node %v is alive again", b.From)
	}
	if ev&detector.Restarted != 0 {
		l.log.Infof("node %v was restarted", b.From)
		l.onRestart(b.From)
	}
	l.kick()
	return true
}

// onRestart gives the primaries of a process that was replaced time to confirm their role.
// The caller holds mu.
func (l *leader) onRestart(a base.RPCAddress) {
	delete(l.reported, a)
	delete(l.stored, a)
	delete(l.unfit, a)
	now := l.now()
	l.s.fsm.read(func(st *state.State) {
		for _, g := range st.PartitionsOf(a) {
			if _, cfg, ok := st.Config(g); ok && cfg.Primary == a {
				l.plan.Restarted(now, g, cfg.Ballot)
				l.unsure[g] = struct{}{}
			}
		}
	})
}
