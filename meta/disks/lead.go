package disks

import (
	"context"
	"time"

	"pegasus/base"
)

// Lead looks what is to be done, until the leadership ends.
func (s *Service) Lead(ctx context.Context) {
	if s.o.AtOnce == 0 {
		return
	}
	t := time.NewTicker(s.o.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.look(ctx)
		}
	}
}

// look follows the moves that are under way, and begins others.
func (s *Service) look(ctx context.Context) {
	alive := map[base.RPCAddress]bool{}
	for _, n := range s.Nodes() {
		alive[n.Addr] = n.Alive
	}
	for _, a := range s.sorted(func(a base.RPCAddress, n *server) bool { return !n.asked && alive[a] && time.Now().After(n.until) }) {
		if ctx.Err() != nil {
			return
		}
		s.ask(ctx, a)
	}
	running := 0
	free := s.sorted(func(a base.RPCAddress, n *server) bool { return n.move == nil && alive[a] && time.Now().After(n.until) })
	for _, a := range s.sorted(func(_ base.RPCAddress, n *server) bool { return n.move != nil }) {
		if !s.follow(ctx, a, alive[a]) {
			running++
		}
	}
	for _, a := range free {
		if running >= s.o.AtOnce || ctx.Err() != nil || s.o.May() != "" {
			return
		}
		if s.begin(ctx, a) {
			running++
		}
	}
}
