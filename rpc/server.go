package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/metrics"
)

// Limits that no configuration key sets.
const (
	partTimeout  = 30 * time.Second // for a frame to arrive once it has begun, plus its length at minRate
	minRate      = 1 << 20          // bytes a second
	writeTimeout = 30 * time.Second // for writeChunk bytes to be taken by the peer
	maxUnsent    = 4 << 20          // bytes of answers of a connection above which it isn't read
	maxOpen      = 4096             // unanswered requests of a connection above which it isn't read
	defMaxFrame  = 64 << 20
	defInFlight  = 256 << 20
	maxSweep     = time.Second
)

// Server serves connections of all framings. Make it with NewServer.
type Server struct {
	hooks hooks

	h    Handler
	http *httpFront // nil: HTTP is refused
	sec  Security   // nil: everybody is trusted
	log  limitedLog
	// complaints are lines about requests; a flood of them must not hide those in log.
	complaints limitedLog
	addr       atomic.Uint64 // a base.RPCAddress
	budgets    [classes]*budget
	clock      atomic.Int64 // milliseconds since start plus 1, moved by the sweeper
	start      time.Time

	maxPerIP     int
	maxFrame     int64
	idleTimeout  time.Duration
	partTimeout  time.Duration
	writeTimeout time.Duration
	maxUnsent    int
	maxOpen      int64

	counts

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	conns     map[*serverConn]struct{} // those with a reader of ours
	places    places
	origins   map[netip.Addr]*origin
	stopped   bool          // Shutdown was called
	sweeping  bool          // the sweeper was started
	quit      chan struct{} // ends the sweeper
	readers   sync.WaitGroup
}

// counts are what happened since the start.
type counts struct{ accepted, refused, badFrames, requests, panics, denied atomic.Int64 }

// hooks are called by a Server; each may be nil.
type hooks struct {
	afterBatch func(*Batch)
	onError    func(*Request, base.ErrorCode)
}

// ServerOptions are the limits of a Server. Without a number of connections or an idle time there is
// no such limit.
type ServerOptions struct {
	MaxFrameBytes       int64 // of a request or an answer; 0: 64 MiB
	MaxConnections      int   // of clients
	MaxConnectionsPerIP int
	MaxInFlightBytes    int64 // memory of requests, and of answers that aren't sent; 0: 256 MiB
	IdleTimeout         time.Duration
	Security            Security // nil: everybody is trusted
}

// EnsureDefaults replaces what has a default and isn't set.
func (o *ServerOptions) EnsureDefaults() {
	if o.MaxFrameBytes <= 0 {
		o.MaxFrameBytes = defMaxFrame
	}
	if o.MaxInFlightBytes <= 0 {
		o.MaxInFlightBytes = defInFlight
	}
}

// NewServer returns a server that gives RPCs to h and HTTP requests to httpH (nil: HTTP is
// refused).
func NewServer(o ServerOptions, h Handler, httpH http.Handler, log *logrus.Entry) *Server {
	o.EnsureDefaults()
	s := &Server{
		h: h, sec: o.Security, log: newLimitedLog(log), complaints: newLimitedLog(log), start: time.Now(),
		places: places{max: o.MaxConnections}, maxPerIP: o.MaxConnectionsPerIP,
		maxFrame: o.MaxFrameBytes, idleTimeout: o.IdleTimeout,
		partTimeout: partTimeout, writeTimeout: writeTimeout,
		maxUnsent: maxUnsent, maxOpen: maxOpen,
		listeners: map[net.Listener]struct{}{},
		conns:     map[*serverConn]struct{}{},
		origins:   map[netip.Addr]*origin{},
		quit:      make(chan struct{}),
	}
	for k, part := range parts {
		s.budgets[k] = newBudget(o.MaxInFlightBytes / 16 * part)
	}
	s.clock.Store(1)
	if httpH != nil {
		s.http = newHTTPFront(guarded(o.Security, httpH), s.idleTimeout, s.log)
	}
	return s
}

// Advertise sets the address that RDSN answers carry as from_address; without it that is
// the local address of each connection. Connections that were accepted before it is called keep what they have.
func (s *Server) Advertise(addr base.RPCAddress) { s.addr.Store(uint64(addr)) }

// Serve accepts connections on l until Shutdown, then returns nil; any other end is an
// error. It may run for several listeners at once, and closes l.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.begin(l) {
		return nil
	}
	var spare spareFile
	spare.take()
	defer spare.give()
	var delay time.Duration
	for {
		nc, err := l.Accept()
		if err == nil {
			delay = 0
			s.accept(nc)
			continue
		}
		if s.isStopped() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accepting connections on %v: %w", l.Addr(), err)
		}
		if base.Shortage(err) && spare.give() {
			// No descriptor is left. Who connects is better told so than left waiting.
			nc, again := l.Accept()
			if again == nil {
				nc.Close()
			}
			spare.take()
			if again == nil {
				s.accepted.Add(1)
				s.refused.Add(1)
				s.log.warnf("refusing connection from %v: %v", nc.RemoteAddr(), err)
				continue
			}
		}
		spare.take()
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.log.warnf("accepting a connection on %v: %v; next try in %v", l.Addr(), err, delay)
		select {
		case <-time.After(delay):
		case <-s.quit:
			return nil
		}
	}
}

// begin registers a listener and starts what runs once a server.
func (s *Server) begin(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.listeners[l] = struct{}{}
	if !s.sweeping {
		s.sweeping = true
		go s.sweep()
		if s.http != nil {
			go s.http.serve()
		}
	}
	return true
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// accept starts the reader of a new connection, unless a limit is reached.
func (s *Server) accept(nc net.Conn) {
	s.accepted.Add(1)
	var remote netip.AddrPort
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		remote = a.AddrPort()
		remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	}
	c := &serverConn{began: s.clock.Load()}
	if why := s.enter(c, nc, remote); why != "" {
		s.refused.Add(1)
		s.log.warnf("refusing connection from %v: %s", remote, why)
		nc.Close()
		return
	}
	go func() {
		defer s.readers.Done()
		if c.serve() {
			s.leave(c)
			return
		}
		s.mu.Lock() // HTTP's now, but still counted
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// sweep moves the clock and enforces time limits until Shutdown.
func (s *Server) sweep() {
	every := maxSweep
	for _, d := range []time.Duration{s.idleTimeout, s.partTimeout, s.writeTimeout} {
		if d > 0 {
			every = max(min(every, d/4), time.Millisecond)
		}
	}
	t := time.NewTicker(every)
	defer t.Stop()
	var conns []*serverConn
	for {
		select {
		case <-t.C:
		case <-s.quit:
			return
		}
		now := time.Since(s.start).Milliseconds() + 1
		s.clock.Store(now)
		conns = s.snapshot(conns[:0])
		var crowded [classes]bool
		for k, b := range s.budgets {
			if crowded[k] = b.crowded(); crowded[k] {
				b.kick() // for those whose patience is at its end
			}
		}
		for i, c := range conns {
			c.sweep(now, &crowded)
			conns[i] = nil
		}
		s.makeRoom(now)
		s.forget()
	}
}

func (s *Server) snapshot(to []*serverConn) []*serverConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		to = append(to, c)
	}
	return to
}

// Shutdown stops accepting and reading, lets requests in flight be answered until ctx
// ends, and closes all connections. It returns ctx's error if something was cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopped
	s.stopped = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	for _, c := range s.snapshot(nil) {
		c.beginDrain()
	}
	var err error
	if s.http != nil && s.sweepStarted() {
		err = s.http.shutdown(ctx)
	}
	done := make(chan struct{})
	go func() {
		s.readers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range s.snapshot(nil) {
			c.close(errDraining)
		}
	}
	if first {
		close(s.quit)
	}
	if err != nil {
		return fmt.Errorf("shut down with unanswered requests: %w", err)
	}
	return nil
}

func (s *Server) sweepStarted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sweeping
}

// ServerStats are counters for metrics.
type ServerStats struct {
	Connections   int   // open now, HTTP included
	InFlightBytes int64 // memory held by requests and unsent answers
	Accepted      int64 // connections accepted since the start
	Refused       int64 // connections closed for a limit
	BadFrames     int64 // connections closed for what they sent
	Requests      int64 // RPCs read
	Panics        int64 // handlers that panicked
	Denied        int64 // requests that who sent them may not
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	total := s.places.total
	s.mu.Unlock()
	return ServerStats{
		Connections:   total,
		InFlightBytes: s.inFlight(),
		Accepted:      s.accepted.Load(),
		Refused:       s.refused.Load(),
		BadFrames:     s.badFrames.Load(),
		Requests:      s.requests.Load(),
		Panics:        s.panics.Load(),
		Denied:        s.denied.Load(),
	}
}

// Collect adds the counters to what a server shows of itself.
func (s *Server) Collect(e *metrics.Entity) {
	st := s.Stats()
	e.Set(metrics.Sessions, int64(st.Connections))
	e.Set(metrics.RPCAccepted, st.Accepted)
	e.Set(metrics.RPCRefused, st.Refused)
	e.Set(metrics.RPCBadFrames, st.BadFrames)
	e.Set(metrics.RPCRequests, st.Requests)
	e.Set(metrics.RPCPanics, st.Panics)
	e.Set(metrics.RPCDenied, st.Denied)
	e.Set(metrics.RPCInFlight, st.InFlightBytes)
}
