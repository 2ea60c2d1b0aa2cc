package meta

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/auth"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/blob"
	"pegasus/meta/cure"
	"pegasus/meta/events"
	"pegasus/meta/raftrpc"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// Options configure a Server.
type Options struct {
	Config config.Config
	// Listener is served instead of one made from Config.Meta.Listen.
	Listener net.Listener
	Log      *logrus.Entry
	// Begin is the version that a new cluster begins with, 0: version.Newest.
	Begin version.Version
	// Dial connects to other servers; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Clock is the wall clock; nil: time.Now.
	Clock func() time.Time
	// Pages are served by path ("dashboard": that and everything below it) beside the server's own.
	Pages map[string]http.Handler
	// LoadPace is how often members are asked about bulk loads; 0: the usual pace.
	LoadPace time.Duration
}

// Server is one meta server. Make it with New, then Start, then Stop.
type Server struct {
	opts    Options
	cfg     config.Config
	log     *logrus.Entry
	started time.Time

	addr   atomic.Uint64 // packed, see self
	secret uint64        // tells a question that this server asks itself from those of others
	name   string        // "host:port" as in cluster.meta_servers
	local  string        // where it reaches itself; set before it serves
	metas  []string      // cluster.meta_servers: where the quorum began, see quorum.servers
	window time.Duration // how long a majority's confirmation counts

	wires
	blobs     *blob.Set // the places of backups; each is opened when it is used first
	rpc       *rpc.Server
	transport *raftrpc.Transport
	fsm       *fsm
	quorum    *quorum
	cureOpts  cure.Options
	overrides *overrides
	defaults  []state.CreateTable // meta.default_tables

	members   *membership
	waiting   waitingRoom
	changing  mutex // a change of the quorum is under way
	reloading mutex // raft's settings are being changed

	events atomic.Pointer[events.Log] // nil: nobody keeps them

	leader atomic.Pointer[leader] // nil: this server doesn't lead, or not yet

	stop    context.CancelFunc
	ctx     context.Context
	wg      sync.WaitGroup
	leading sync.WaitGroup // followLeadership
	failed  chan error     // what ends the server
}

// wires are what a server reaches others by.
type wires struct {
	pool  *rpc.Pool
	guard *auth.Guard // nil: everybody is trusted
}

// fail ends the server because of err.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// self is the packed address of this server: what its name led to when it was looked up last.
func (s *Server) self() base.RPCAddress { return base.RPCAddress(s.addr.Load()) }

// Addr is the address that the server is known by.
func (s *Server) Addr() string { return s.name }

// Leading tells whether this server is the leader and ready to serve.
func (s *Server) Leading() bool { return s.leader.Load() != nil }

// Failed delivers the error that the server can't go on after.
func (s *Server) Failed() <-chan error { return s.failed }

// isServing tells whether the server wasn't stopped.
func (s *Server) isServing() bool { return s.ctx.Err() == nil }

// minMembers is how many members a partition needs to accept writes.
func (s *Server) minMembers(replicas int32) int {
	return base.MinMembers(replicas, s.cfg.Replica.MinReplicas)
}
