package rpc

import (
	"context"
	"net"
	"net/http"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
)

// Server serves connections of all framings. Make it with NewServer.
type Server struct {
	cfg  config.RPC
	h    Handler
	http http.Handler
	log  limitedLog
	addr base.RPCAddress
}

// NewServer returns a server that gives RPCs to h and HTTP requests to httpH (nil: HTTP is
// refused). Limits come from cfg.
func NewServer(cfg config.RPC, h Handler, httpH http.Handler, log *logrus.Entry) *Server {
	return &Server{cfg: cfg, h: h, http: httpH, log: newLimitedLog(log)}
}

// Advertise sets the address that RDSN answers carry as from_address; without it that is
// the local address of each connection. Call it before Serve.
func (s *Server) Advertise(addr base.RPCAddress) { s.addr = addr }

// Serve accepts connections on l until Shutdown, then returns nil; any other end is an
// error. It may run for several listeners at once.
func (s *Server) Serve(l net.Listener) error { return nil }

// Shutdown stops accepting and reading, lets requests in flight be answered until ctx
// ends, and closes all connections. It returns ctx's error if something was cut off.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

// ServerStats are counters for metrics.
type ServerStats struct {
	Connections   int   // open now, HTTP included
	InFlightBytes int64 // memory held by requests and unsent answers
	Accepted      int64 // connections accepted since the start
	Refused       int64 // connections closed for a limit
	BadFrames     int64 // connections closed for what they sent
	Requests      int64 // RPCs read
	Panics        int64 // handlers that panicked
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats { return ServerStats{} }
