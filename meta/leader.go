package meta

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/meta/service"
	"pegasus/meta/stat"
	"pegasus/meta/state"
	"pegasus/meta/usage"
	"pegasus/rpc"
)

// roundGap is the least time between two rounds of the planner.
const roundGap = 5 * time.Millisecond

// leader is a server that leads. What it knows it forgets with the term.
type leader struct {
	*term
	nodes    *nodes
	parts    *partitions
	bal      *balancer
	servers  *servers
	services []service.Service
	stat     *stat.Service
	usage    *usage.Service
}

// newLeader makes a leader that does nothing yet.
func (s *Server) newLeader() *leader {
	l := &leader{term: s.newTerm()}
	l.nodes = newNodes(l.term)
	l.parts = newPartitions(l.nodes)
	l.bal = newBalancer(l.parts)
	l.servers = &servers{term: l.term, nodes: l.nodes, parts: l.parts, bal: l.bal, reports: l.report, moves: newMoves()}
	return l
}

// lead begins what a leader does.
func (l *leader) lead() {
	l.wg.Go(l.verify)
	l.wg.Go(l.watch)
	for _, s := range l.services {
		l.wg.Go(func() { s.Lead(l.ctx) })
	}
	l.wg.Go(l.parts.commitAll)
}

// report hands a configuration sync to all services.
func (l *leader) report(r *service.Report) {
	for _, s := range l.services {
		s.Report(r)
	}
}

func (l *leader) end() {
	l.cancel()
	l.parts.changes.close()
	l.wg.Wait()
}

// watch runs the planner.
func (l *leader) watch() {
	cureTick := time.NewTicker(l.s.cfg.Meta.CureInterval.D())
	defer cureTick.Stop()
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-cureTick.C:
		case <-l.wake:
		}
		began := time.Now()
		l.bal.advance()
		l.parts.round()
		// Events come in bursts; a large cluster's rounds must not fill the day.
		gap := max(roundGap, 2*time.Since(began))
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(gap):
		}
	}
}

var _ service.Leader = (*leader)(nil)

// Apply commits a command; see service.Leader.
func (l *leader) Apply(c state.Command) state.Result { return l.apply(c) }

// Read calls f with the State locked.
func (l *leader) Read(f func(*state.State)) { l.s.fsm.read(f) }

// Nodes returns the replica servers that are known.
func (l *leader) Nodes() (list []service.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.nodes.det.Nodes() {
		list = append(list, service.Node{Addr: n.Addr, Host: n.Host, Alive: n.Alive, Rack: l.nodes.of(n.Addr).rack})
	}
	return list
}

// Call asks a replica server.
func (l *leader) Call(ctx context.Context, node base.RPCAddress, code string, arg tbin.Encoder, answer tbin.Decoder) error {
	return l.s.pool.Call(ctx, node.String(), rpc.Outgoing{Code: code, Arg: arg, From: l.s.self()}, answer)
}

// Send tells a replica server something.
func (l *leader) Send(node base.RPCAddress, out rpc.Outgoing) {
	out.OneWay, out.From = true, l.s.self()
	l.s.pool.Go(node.String(), proposalTimeout, out, nil)
}

// Kick has the planner look soon.
func (l *leader) Kick() { l.kick() }

// Log is the leader's log.
func (l *leader) Log() *logrus.Entry { return l.log }
