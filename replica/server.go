package replica

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/auth"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/replica/admission"
	"pegasus/replica/checkpoint"
	"pegasus/replica/disk"
	"pegasus/replica/metalink"
	"pegasus/replica/observe"
	"pegasus/replica/part"
	"pegasus/replica/restore"
	"pegasus/replica/trace"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// Server is a replica server.
type Server struct {
	cfg         config.Config
	maxReplicas int // replicas that there are descriptors for
	log         *logrus.Entry
	known
	started time.Time

	wires
	meta     *metalink.Link
	rpc      *rpc.Server
	parts    []part.Part
	shared   *rrdb.Shared
	disks    *disk.Set
	dirs     sync.Map // *disk.Dir -> *dataDir
	copies   *checkpoint.Copies
	observer *observe.Observer
	tracer   *trace.Tracer
	gate     *gate
	sizes    admission.Sizes

	hooks atomic.Pointer[roundHooks]

	table
	remote

	names sync.Map      // base.RPCAddress -> string, of the few servers there are
	syncs bool          // the log syncs each batch
	halt  chan struct{} // ends what replicas need until they are closed
	// handing: what this server leads is being given to others; writes wait.
	handing  atomic.Bool
	replayed atomic.Int64 // entries, when the server started

	ctx      context.Context
	wg       sync.WaitGroup
	cancel   context.CancelFunc
	stopping sync.Once
}

// known is what others know the server by.
type known struct {
	addr     base.RPCAddress
	hostPort base.HostPort
	name     string // host:port, in answers
}

// wires are what a server reaches others by.
type wires struct {
	pool  *rpc.Pool
	guard *auth.Guard // nil: everybody is trusted
}

// remote is what the server knows of places outside of it.
type remote struct {
	blobs    *blob.Set // their places; each is opened when it is used first
	restorer *restore.Restorer
	// moved answers a request for a row that went to another partition, or has again called once that one serves.
	moved func(req *rpc.Request, r *replica, whose int32, again func(*worker))
	// waits answers a request for a partition that isBetween by calling again once it isn't.
	waits func(req *rpc.Request, again func(*worker))
}

func (s *Server) spawn(f func()) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f()
	}()
}

// Addr returns the address that the server is known by.
func (s *Server) Addr() base.RPCAddress { return s.addr }

// dirOf returns what the server knows of a data directory.
func (s *Server) dirOf(d *disk.Dir) *dataDir {
	v, _ := s.dirs.Load(d)
	dir, _ := v.(*dataDir)
	return dir
}

// peerName returns the address of a node as the pool wants it.
func (s *Server) peerName(n base.RPCAddress) string {
	if v, ok := s.names.Load(n); ok {
		return v.(string)
	}
	v := n.String()
	s.names.Store(n, v)
	return v
}
