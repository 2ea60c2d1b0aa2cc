package meta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/sirupsen/logrus"

	"pegasus/auth"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob/stores"
	"pegasus/meta/cure"
	"pegasus/meta/events"
	"pegasus/meta/raftrpc"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

// lookUpWait is how long a server waits at its start for its name to lead somewhere.
const lookUpWait = 30 * time.Second

// New opens the data directory and prepares a server; nothing is served before Start. It
// fails if the configuration is unsafe, or the directory is missing, in use, or belongs to
// another cluster or server.
func New(opts Options) (*Server, error) {
	cfg := opts.Config
	if opts.Log == nil {
		opts.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	name := cfg.Meta.Known()
	if opts.Listener != nil {
		name = opts.Listener.Addr().String()
	}
	if cfg.FD.Lease.D() >= cfg.FD.Grace.D() {
		return nil, fmt.Errorf("failure_detector.lease (%v) must be shorter than failure_detector.grace (%v): a replica server has to stop serving before another takes over", cfg.FD.Lease.D(), cfg.FD.Grace.D())
	}
	s := &Server{
		opts: opts, cfg: cfg, started: time.Now(), name: name, metas: cfg.Cluster.MetaServers,
		log:       opts.Log.WithField("meta", name),
		window:    min(500*time.Millisecond, cfg.Meta.RaftHeartbeat.D(), (cfg.FD.Grace.D()-cfg.FD.Lease.D())/2),
		failed:    make(chan error, 4),
		changing:  mutex{rank: rankChanging},
		reloading: mutex{rank: rankLeaf},
		waiting:   waitingRoom{mu: mutex{rank: rankLeaf}},
		secret:    rand.Uint64(),
	}
	self, err := base.AwaitAddr(context.Background(), name, lookUpWait)
	if err != nil {
		return nil, fmt.Errorf("the address that this meta server is known by (meta.advertise, or meta.listen): %w", err)
	}
	s.addr.Store(uint64(self))
	for _, m := range s.metas {
		if err := config.CheckAddr(m); err != nil {
			return nil, fmt.Errorf("cluster.meta_servers: %w", err)
		}
	}
	if s.defaults, err = defaultTables(&cfg); err != nil {
		return nil, err
	}
	s.cureOpts = cure.Defaults()
	s.cureOpts.MinMembers = s.minMembers
	s.cureOpts.ReplaceWait = cfg.Meta.ReplaceWait.D()
	s.overrides = newOverrides(&s.cureOpts)
	s.overrides.livePercentage.Store(int64(cfg.Meta.LivePercentage))
	s.members = &membership{s: s}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if s.guard, err = auth.New(cfg.Security, s.log); err != nil {
		return nil, err
	}
	s.pool = rpc.NewPool(rpc.PoolOptions{
		DialTimeout: time.Second, StallTimeout: time.Second, MaxFrameBytes: cfg.RPC.MaxFrameBytes, Dial: s.guard.Dial(opts.Dial), Log: s.log,
	})
	s.blobs = stores.New(cfg.Blob, s.log)
	mux := rpc.NewMux(s.log)
	routes := s.register(mux)
	remotecmd.New(remotecmd.Options{
		Started: s.started,
		Dump: func() (string, error) {
			b, err := config.Marshal(s.cfg)
			return string(b), err
		},
		Log: s.log.Logger,
	}, slices.Concat(s.commands(), routes.Commands())...).Register(mux)
	hb := cfg.Meta.RaftHeartbeat.D()
	s.transport = raftrpc.New(raftrpc.Options{
		Self: raft.ServerAddress(name), Cluster: cfg.Cluster.Name, Pool: s.pool, Quorum: s.members.quorumID, Admit: s.members.admit,
		VoteTimeout: max(2*hb, time.Second), AppendTimeout: max(4*hb, 5*time.Second), ChunkTimeout: 30 * time.Second, Log: s.log,
	})
	s.transport.Register(mux)
	s.rpc = rpc.NewServer(rpc.ServerOptions{MaxFrameBytes: cfg.RPC.MaxFrameBytes, MaxConnections: cfg.MetaConnections(config.DescriptorLimit()),
		MaxConnectionsPerIP: cfg.RPC.MaxConnectionsPerIP, MaxInFlightBytes: cfg.RPC.MaxInFlightBytes, IdleTimeout: cfg.RPC.IdleTimeout.D(), Security: s.guard.Security()}, mux, s.httpHandler(routes), s.log)
	s.rpc.Advertise(s.self())

	id, err := claimDir(cfg.Meta.DataDir, cfg.Cluster.Name, name)
	if err != nil {
		s.release()
		return nil, err
	}
	if id != "" {
		s.members.identity.Store(&id)
	}
	s.fsm = newFSM(s.fail, s.members.learnIdentity)
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
	s.blobs.Close()
}

// Start listens, joins the quorum and serves.
func (s *Server) Start() error {
	l := s.opts.Listener
	if l == nil {
		var err error
		if l, err = net.Listen(config.Network(s.cfg.Meta.Listen), s.cfg.Meta.Listen); err != nil {
			return fmt.Errorf("meta.listen: %w", err)
		}
	}
	s.local = localTo(l.Addr())
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
	s.wg.Go(s.backOffElections)
	s.wg.Go(s.keepRoom)
	s.wg.Go(s.members.watchNames)
	s.wg.Go(func() { s.guard.Watch(s.ctx) })
	go watchdog{s}.watchSelf() // Stop doesn't wait for it: it may watch what never ends
	if !s.cfg.Meta.Join {
		s.wg.Go(s.members.watchOutside)
	}
	s.log.Infof("meta server of cluster %q listens on %v", s.cfg.Cluster.Name, l.Addr())
	return nil
}

// localTo is where a server that listens on a is reached from its own machine.
func localTo(a net.Addr) string {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil && ap.Addr().IsUnspecified() {
		if ap.Addr().Is6() {
			return netip.AddrPortFrom(netip.IPv6Loopback(), ap.Port()).String()
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port()).String()
	}
	return a.String()
}

// Stop ends all serving; a leader hands over first, if there are others. Requests in flight are
// answered until ctx ends. A stopped Server can't be started again.
func (s *Server) Stop(ctx context.Context) error {
	s.handOver(ctx)
	s.stop()
	s.leading.Wait() // while raft still answers what a leader waits for
	err := s.rpc.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = nil // what was cut off is asked again elsewhere
	}
	err = errors.Join(err, s.quorum.close())
	s.pool.Close()
	s.wg.Wait()
	s.blobs.Close()
	return err
}

// Run serves until ctx ends or the server fails. After some errors it returns while parts of
// the server still run, or hang: the process has to end.
// Pages are served by path, beside the server's own.
func Run(ctx context.Context, cfg config.Config, log *logrus.Entry, pages map[string]http.Handler) error {
	s, err := New(Options{Config: cfg, Log: log, Pages: pages})
	if err != nil {
		return err
	}
	happened := events.Open(filepath.Join(cfg.Meta.DataDir, eventsFile))
	defer happened.Close()
	log.Logger.AddHook(happened)
	s.events.Store(happened)
	if err = s.Start(); err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.Failed():
		}
	}
	if errors.Is(err, errHung) {
		return err
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2500*time.Millisecond)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(stop) }()
	select {
	case e := <-stopped:
		return errors.Join(err, e)
	case <-time.After(maxStop):
		watchdog{s}.hang(fmt.Errorf("not stopped within %v: %w", maxStop, errHung))
		return errors.Join(err, errHung)
	}
}
