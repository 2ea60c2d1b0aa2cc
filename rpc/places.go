package rpc

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Connections of clients and of servers of the cluster are counted apart. When clients have all
// that they may, a few more are taken on trial: they are closed unless their first request is one
// of a server's, or, as servers copy from each other by HTTP, one of HTTP from an address where a
// server of the cluster is connected from.

const (
	trialTime = 3 * time.Second // for the first request of a connection on trial
	idleFirst = time.Minute     // connections idle for that long make room for new ones
	idleClaim = trialTime       // as long for those that only say that they are a server's
)

var (
	errFull   = errors.New("the limit of client connections is reached")
	errClaims = errors.New("too many connections claim to be from a server")
)

// places counts connections; under Server.mu.
type places struct {
	total   int // HTTP's included
	servers int // of these, claimed and peers
	claims  int // of these, claimed
	trials  int // taken on trial, and nothing known yet
	max     int // of clients; 0: no limit
	turned  int // clients turned away since the sweeper looked last
	denied  int // of those who say that they are servers, as many
}

// reserve is how many connections are taken on trial, and may claim to be a server's, at a time.
func (p *places) reserve() int { return 64 + p.max/16 }

// enter counts a connection and makes it ready. It returns why it can't be had, if so.
func (s *Server) enter(c *serverConn, nc net.Conn, remote netip.AddrPort) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.places
	o := s.originOf(remote.Addr())
	switch {
	case s.stopped:
		return errDraining.Error()
	case s.maxPerIP > 0 && o.conns >= s.maxPerIP:
		return fmt.Sprintf("the limit of %d connections from this address is reached", o.conns)
	case p.max > 0 && p.total-p.servers-p.trials >= p.max:
		if p.trials >= p.reserve() {
			p.turned++
			return fmt.Sprintf("the limit of %d connections is reached", p.total)
		}
		c.trial = true
		p.trials++
	}
	c.origin = o
	c.init(s, nc, remote) // before the sweeper can see it
	s.conns[c] = struct{}{}
	p.total++
	o.conns++
	s.readers.Add(1)
	return ""
}

// leave is the end of a connection that entered.
func (s *Server) leave(c *serverConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	p := &s.places
	p.total--
	switch class(c.class.Load()) {
	case claimed:
		p.claims--
		p.servers--
	case peers:
		p.servers--
		c.origin.peers--
	}
	if c.trial {
		p.trials--
	}
	if c.origin.conns--; c.origin.unused() {
		delete(s.origins, c.remote.Addr())
	}
}

// move notes that a connection gets another class. It reports false if it can't.
func (s *Server) move(c *serverConn, to class) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.places
	from := class(c.class.Load())
	switch {
	case from >= to:
		return true
	case to == claimed && p.claims >= p.reserve():
		p.denied++
		return false
	case from == clients:
		p.servers++
	case from == claimed:
		p.claims--
	}
	switch to {
	case claimed:
		p.claims++
	case peers:
		c.origin.peers++
	}
	if c.trial {
		c.trial = false
		p.trials--
	}
	c.class.Store(int32(to))
	return true
}

// tried tells whether a connection that has begun to say what it wants may stay.
func (s *Server) tried(c *serverConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.places
	switch {
	case !c.trial:
		return true
	case p.total-p.servers-p.trials >= p.max:
		p.turned++
		return false
	}
	c.trial = false // a place became free meanwhile
	p.trials--
	return true
}

// triedHTTP is tried for a connection that speaks HTTP.
func (s *Server) triedHTTP(c *serverConn) bool {
	if s.tried(c) {
		return true
	}
	s.mu.Lock()
	known := c.origin.peers > 0
	s.mu.Unlock()
	return known && s.move(c, claimed)
}

// spareFile is a descriptor that is kept to accept a connection with, and close it, when there is
// no other.
type spareFile struct{ f *os.File }

func (s *spareFile) take() {
	if s.f == nil {
		s.f, _ = os.Open(os.DevNull)
	}
}

// give reports whether there was one.
func (s *spareFile) give() bool {
	if s.f == nil {
		return false
	}
	s.f.Close()
	s.f = nil
	return true
}

// spared tells whether a connection does nothing that it would be missed for: it has asked for
// nothing yet, or for nothing for long.
func (c *serverConn) spared(now int64) bool {
	if !c.heard.Load() {
		return now-c.began > trialTime.Milliseconds()
	}
	return now-c.lastRead.Load() > idleFirst.Milliseconds()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// makeRoom closes connections that have been idle for longest, as many as were turned away since
// it was called last. Those of clients that never asked for anything go first.
func (s *Server) makeRoom(now int64) {
	s.mu.Lock()
	n, claims := s.places.turned, s.places.denied
	s.places.turned, s.places.denied = 0, 0
	var idle, idleClaims []*serverConn
	for c := range s.conns {
		if c.trial && now-c.began > trialTime.Milliseconds() {
			defer c.close(errFull)
		}
		switch k := class(c.class.Load()); {
		case n > 0 && !c.trial && k == clients && c.spared(now):
			idle = append(idle, c)
		case claims > 0 && k == claimed && now-c.lastRead.Load() > idleClaim.Milliseconds():
			idleClaims = append(idleClaims, c)
		}
	}
	s.mu.Unlock()
	closeIdle(idle, n)
	closeIdle(idleClaims, claims)
}

// closeIdle closes up to n of the connections.
func closeIdle(idle []*serverConn, n int) {
	slices.SortFunc(idle, func(a, b *serverConn) int {
		return cmp.Or(cmp.Compare(b2i(a.heard.Load()), b2i(b.heard.Load())), cmp.Compare(a.lastRead.Load(), b.lastRead.Load()))
	})
	for _, c := range idle {
		if n == 0 {
			return
		}
		if c.quiet() {
			c.close(errIdle)
			n--
		}
	}
}
