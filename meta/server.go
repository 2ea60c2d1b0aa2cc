package meta

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/meta/cure"
	"pegasus/meta/raftrpc"
	"pegasus/meta/state"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

// Options configure a Server.
type Options struct {
	Config config.Config
	// Listener is served instead of one made from Config.Meta.Listen.
	Listener net.Listener
	Log      *logrus.Entry
	// Dial connects to other servers; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Server is one meta server. Make it with New, then Start, then Stop.
type Server struct {
	opts    Options
	cfg     config.Config
	log     *logrus.Entry
	started time.Time

	self   base.RPCAddress
	name   string        // "host:port" as in cluster.meta_servers
	metas  []string      // cluster.meta_servers: where the quorum began, see quorum.servers
	window time.Duration // how long a majority's confirmation counts

	pool      *rpc.Pool
	rpc       *rpc.Server
	transport *raftrpc.Transport
	fsm       *fsm
	quorum    *quorum
	cureOpts  cure.Options
	knobs     *knobs
	defaults  []state.CreateTable // meta.default_tables

	addrs    sync.Map               // packed addresses of metas, by name
	identity atomic.Pointer[string] // see quorumID
	changing sync.Mutex             // a change of the quorum is under way

	leader atomic.Pointer[leader] // nil: this server doesn't lead, or not yet

	stop    context.CancelFunc
	ctx     context.Context
	wg      sync.WaitGroup
	leading sync.WaitGroup // followLeadership
	failed  chan error     // what ends the server
}

// New opens the data directory and prepares a server; nothing is served before Start. It
// fails if the configuration is unsafe, or the directory is missing, in use, or belongs to
// another cluster or server.
func New(opts Options) (*Server, error) {
	cfg := opts.Config
	if opts.Log == nil {
		opts.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	name := cfg.Meta.Listen
	if opts.Listener != nil {
		name = opts.Listener.Addr().String()
	}
	if cfg.FD.Lease.D() >= cfg.FD.Grace.D() {
		return nil, fmt.Errorf("failure_detector.lease (%v) must be shorter than failure_detector.grace (%v): a replica server has to stop serving before another takes over", cfg.FD.Lease.D(), cfg.FD.Grace.D())
	}
	if !slices.Contains(cfg.Cluster.MetaServers, name) && !cfg.Meta.Join {
		return nil, fmt.Errorf("meta.listen %q is none of cluster.meta_servers %q", name, cfg.Cluster.MetaServers)
	}
	s := &Server{
		opts: opts, cfg: cfg, started: time.Now(), name: name, metas: cfg.Cluster.MetaServers,
		log:    opts.Log.WithField("meta", name),
		window: min(500*time.Millisecond, cfg.Meta.RaftHeartbeat.D(), (cfg.FD.Grace.D()-cfg.FD.Lease.D())/2),
		failed: make(chan error, 4),
	}
	var err error
	if s.self, err = base.ParseAddr(name); err != nil {
		return nil, fmt.Errorf("meta.listen: %w", err)
	}
	for _, m := range s.metas {
		if _, err := base.ParseAddr(m); err != nil {
			return nil, fmt.Errorf("cluster.meta_servers: %w", err)
		}
	}
	if s.defaults, err = defaultTables(&cfg); err != nil {
		return nil, err
	}
	s.cureOpts = cure.Defaults()
	s.cureOpts.MinMembers = s.minMembers
	s.cureOpts.ReplaceWait = cfg.Meta.ReplaceWait.D()
	s.knobs = newKnobs(&s.cureOpts)
	s.knobs.livePercentage.Store(int64(cfg.Meta.LivePercentage))
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.pool = rpc.NewPool(rpc.PoolOptions{
		DialTimeout: time.Second, StallTimeout: time.Second, MaxFrameBytes: cfg.RPC.MaxFrameBytes, Dial: opts.Dial, Log: s.log,
	})
	mux := rpc.NewMux(s.log)
	s.register(mux)
	remotecmd.New(remotecmd.Options{
		Started: s.started,
		Dump: func() (string, error) {
			b, err := config.Marshal(s.cfg)
			return string(b), err
		},
		Log: s.log.Logger,
	}, s.commands()...).Register(mux)
	hb := cfg.Meta.RaftHeartbeat.D()
	s.transport = raftrpc.New(raftrpc.Options{
		Self: raft.ServerAddress(name), Cluster: cfg.Cluster.Name, Pool: s.pool, Quorum: s.quorumID, Admit: s.admit,
		VoteTimeout: max(2*hb, time.Second), AppendTimeout: max(4*hb, 5*time.Second), ChunkTimeout: 30 * time.Second, Log: s.log,
	})
	s.transport.Register(mux)
	s.rpc = rpc.NewServer(cfg.RPC, mux, s.httpHandler(), s.log)
	s.rpc.Advertise(s.self)

	id, err := claimDir(cfg.Meta.DataDir, cfg.Cluster.Name, name)
	if err != nil {
		s.release()
		return nil, err
	}
	if id != "" {
		s.identity.Store(&id)
	}
	s.fsm = newFSM(s.fail, s.learnIdentity)
	q, err := openQuorum(s)
	if err != nil {
		s.release()
		return nil, err
	}
	s.quorum = q
	return s, nil
}

func (s *Server) release() {
	s.stop()
	s.pool.Close()
}

// fail ends the server because of err.
func (s *Server) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// Start listens, joins the quorum and serves.
func (s *Server) Start() error {
	l := s.opts.Listener
	if l == nil {
		var err error
		if l, err = net.Listen("tcp4", s.name); err != nil {
			return fmt.Errorf("meta.listen: %w", err)
		}
	}
	// What is served asks raft who leads, so raft comes first; who connects meanwhile waits.
	if err := s.quorum.start(s); err != nil {
		l.Close()
		return err
	}
	s.wg.Go(func() {
		if err := s.rpc.Serve(l); err != nil {
			s.fail(err)
		}
	})
	s.leading.Go(s.followLeadership)
	s.wg.Go(s.bePatient)
	if !s.cfg.Meta.Join {
		s.wg.Go(s.watchOutside)
	}
	s.log.Infof("meta server of cluster %q listens on %v", s.cfg.Cluster.Name, l.Addr())
	return nil
}

// Addr is the address that the server is known by.
func (s *Server) Addr() string { return s.name }

// Leading tells whether this server is the leader and ready to serve.
func (s *Server) Leading() bool { return s.leader.Load() != nil }

// Failed delivers the error that the server can't go on after.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop leaves the quorum and ends all serving. Requests in flight are answered until ctx
// ends. A stopped Server can't be started again.
func (s *Server) Stop(ctx context.Context) error {
	s.stop()
	s.leading.Wait() // while raft still answers what a leader waits for
	err := s.rpc.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil // what was cut off is asked again elsewhere
	}
	err = errors.Join(err, s.quorum.close())
	s.pool.Close()
	s.wg.Wait()
	return err
}

// Run serves until ctx ends or the server fails.
func Run(ctx context.Context, cfg config.Config, log *logrus.Entry) error {
	s, err := New(Options{Config: cfg, Log: log})
	if err != nil {
		return err
	}
	if err = s.Start(); err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.Failed():
		}
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, s.Stop(stop))
}

// minMembers is how many members a partition needs to accept writes.
func (s *Server) minMembers(max int32) int { return cure.MinMembers(max, s.cfg.Replica.MinReplicas) }

// isMeta tells whether a is one of the meta servers.
func (s *Server) isMeta(a base.RPCAddress) bool {
	return a != 0 && slices.ContainsFunc(s.quorum.servers(), func(m raft.Server) bool { return s.addrOf(string(m.Address)) == a })
}

// isServing tells whether the server wasn't stopped.
func (s *Server) isServing() bool { return s.ctx.Err() == nil }

func mkdirError(dir string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("meta.data_dir %q doesn't exist: make it (mkdir -p %s) or mount its disk", dir, dir)
	}
	return fmt.Errorf("meta.data_dir %q: %w", dir, err)
}
