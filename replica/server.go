package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/time/rate"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// Server is a replica server.
type Server struct {
	cfg      config.Config
	log      *logrus.Entry
	addr     base.RPCAddress
	hostPort base.HostPort
	name     string // host:port, in answers
	started  time.Time

	pool   *rpc.Pool
	meta   *metaLink
	lease  *lease
	rpc    *rpc.Server
	shared *rrdb.Shared
	dirs   []*dataDir
	send   *checkpoints
	pace   *pace // of copies
	delays *delays

	abnormal            *abnormal
	passRead, passWrite *rate.Limiter // of all passes
	passCounts          passCounts
	retuning            atomic.Bool
	units               unitShift
	sketched            time.Time     // of housekeep: when the sketches of keys were last turned
	copies              chan struct{} // tokens: checkpoint copies being received
	counts              counts
	// learnStep is told of each step of learning, for tests.
	learnStep atomic.Pointer[func(step string)]
	denied    atomic.Bool // clients get no answers, an administrator says

	mu       sync.RWMutex
	replicas map[base.Gpid]*replica
	opening  map[base.Gpid]bool
	broken   map[base.Gpid]*dataDir // replicas that could not be opened
	closed   bool

	names sync.Map      // base.RPCAddress -> string, of the few servers there are
	syncs bool          // the log syncs each batch
	halt  chan struct{} // ends what replicas need until they are closed

	sync    chan struct{}
	syncing sync.Mutex // one config sync at a time
	ctx     context.Context
	wg      sync.WaitGroup
	stop    context.CancelFunc
}

// Run runs a replica server until ctx ends, then stops it in order.
func Run(ctx context.Context, cfg config.Config, log *logrus.Entry) error {
	l, err := net.Listen("tcp4", cfg.Replica.Listen)
	if err != nil {
		return fmt.Errorf("replica.listen %s: %w: is another server running there?", cfg.Replica.Listen, err)
	}
	s, err := New(cfg, l.Addr(), log)
	if err != nil {
		l.Close()
		return err
	}
	errs := make(chan error, 1)
	go func() { errs <- s.Serve(l) }()
	s.limitMemory()
	log.Infof("replica server %s of cluster %q listens", s.name, cfg.Cluster.Name)
	select {
	case <-ctx.Done():
		log.Info("stopping")
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return s.Close(c)
	case err := <-errs:
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(err, s.Close(c))
	}
}

// New opens the data directories and everything in them. The server is known by addr.
func New(cfg config.Config, addr net.Addr, log *logrus.Entry) (*Server, error) {
	if cfg.FD.Lease >= cfg.FD.Grace {
		return nil, fmt.Errorf("failure_detector.lease (%v) must be shorter than failure_detector.grace (%v)", cfg.FD.Lease.D(), cfg.FD.Grace.D())
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return nil, fmt.Errorf("replica.listen: %w", err)
	}
	host, _, err := net.SplitHostPort(cfg.Replica.Listen)
	if err != nil || host == "" {
		host = ap.Addr().String()
	}
	memory := cfg.MemoryOf(config.MachineMemory())
	cfg.Replica.Memory, cfg.Storage.BlockCacheBytes, cfg.Storage.MemtablesBytes, cfg.RPC.MaxInFlightBytes = memory.Total, memory.Cache, memory.Memtables, memory.InFlight
	s := &Server{cfg: cfg, log: log, addr: base.MakeRPCAddress(ap), hostPort: base.MakeHostPort(host, ap.Port()), started: time.Now(),
		pool: rpc.NewPool(rpc.PoolOptions{Log: log, MaxFrameBytes: cfg.RPC.MaxFrameBytes}), lease: newLease(cfg.FD.Lease.D()),
		replicas: map[base.Gpid]*replica{}, opening: map[base.Gpid]bool{}, broken: map[base.Gpid]*dataDir{}, sync: make(chan struct{}, 1),
		halt: make(chan struct{}), syncs: cfg.WAL.Sync != "os",
		copies: make(chan struct{}, max(1, cfg.Replica.LearnConcurrency))}
	s.name = s.hostPort.String()
	s.meta = newMetaLink(s.pool, cfg.Cluster.MetaServers, s.addr, log)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.send = newCheckpoints(s)
	s.pace = newPace(cfg.Replica.LearnLeast, cfg.Replica.LearnRate, log)
	s.delays = newDelays(s)
	s.abnormal = newAbnormal(cfg.Replica)
	s.units = newUnitShift(cfg.Replica)
	s.passRead, s.passWrite = passLimit(cfg.Storage.SweepBytes), passLimit(cfg.Storage.RulesBytes)
	s.shared = rrdb.NewShared(rrdb.SharedOptions{Storage: cfg.Storage, MaxScanSessions: cfg.Replica.MaxScanSessions, Logger: log})
	if err := s.openDirs(); err != nil {
		s.stop()
		s.closeDirs()
		return nil, err
	}
	s.rpc = rpc.NewServer(cfg.RPC, s.handlers(), s.http(), log)
	s.rpc.Advertise(s.addr)
	s.rpc.AfterBatch(s.afterBatch)
	return s, nil
}

func (s *Server) openDirs() error {
	seen := map[base.Gpid]*dataDir{}
	for i, v := range s.cfg.Replica.DataDirs {
		tag, path := parseDataDir(v, i)
		d, err := openDataDir(tag, path, s.cfg.Cluster.Name, s.addr.String(), s.cfg.WAL, s.onPressure, s.log)
		if err != nil {
			return err
		}
		s.dirs = append(s.dirs, d)
		s.spawn(func() { s.follow(d) })
	}
	if len(s.dirs) == 0 {
		return errors.New("replica.data_dirs is empty: name at least one directory")
	}
	for _, d := range s.dirs {
		gs, err := d.replicas()
		if err != nil {
			return err
		}
		for _, g := range gs {
			use := d
			if other := seen[g]; other != nil {
				if use, err = s.resolve(g, other, d); err != nil {
					return err
				}
			}
			seen[g] = use
		}
		// Entries without a directory: the replica was removed, and the log not told in time.
		for _, g := range d.log().Replicas() {
			if !slices.Contains(gs, g) {
				d.log().Drop(g, func(err error) {
					if err != nil {
						s.log.Warnf("drop what the log has of %v: %v", g, err)
					}
				})
			}
		}
	}
	// Stores are opened in parallel; one that can't be opened is left out and reported
	// missing to the meta, its directory untouched.
	var wg sync.WaitGroup
	limit := make(chan struct{}, 8)
	for g, d := range seen {
		wg.Add(1)
		limit <- struct{}{}
		go func() {
			defer func() { <-limit; wg.Done() }()
			r, err := s.openReplica(g, d, nil)
			if err != nil {
				s.log.Errorf("replica %v in %s is not usable and stays as it is: %v", g, d.path, err)
				s.noteBroken(g, d)
				return
			}
			s.mu.Lock()
			s.replicas[g] = r
			s.mu.Unlock()
		}()
	}
	wg.Wait()
	return nil
}

func (s *Server) closeDirs() {
	for _, d := range s.dirs {
		if err := d.log().Close(); err != nil {
			s.log.Warnf("closing the log of %s: %v", d.path, err)
		}
	}
}

// Serve accepts connections and talks to the meta until Close.
func (s *Server) Serve(l net.Listener) error {
	s.spawn(func() { s.beat(s.ctx) })
	s.spawn(func() { s.syncLoop(s.ctx) })
	s.spawn(func() { s.housekeep(s.ctx) })
	s.spawn(s.tickLoop)
	s.spawn(func() { s.delays.run(s.ctx) })
	s.spawn(func() { s.pace.run(s.ctx) })
	return s.rpc.Serve(l)
}

func (s *Server) spawn(f func()) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		f()
	}()
}

// Close answers what is under way, flushes the stores and closes everything.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	s.lease.end()
	err := s.rpc.Shutdown(ctx)
	s.mu.Lock()
	s.closed = true
	rs := make([]*replica, 0, len(s.replicas))
	for _, r := range s.replicas {
		rs = append(rs, r)
	}
	s.replicas = map[base.Gpid]*replica{}
	s.mu.Unlock()
	for _, r := range rs {
		err = errors.Join(err, r.close())
	}
	close(s.halt)
	s.wg.Wait()
	s.pool.Close()
	s.send.close()
	s.closeDirs()
	s.shared.Close()
	return err
}

// live returns the configuration of the server with what was changed while it runs.
func (s *Server) live() *config.Replica { return s.abnormal.cfg.Load() }

// Addr returns the address that the server is known by.
func (s *Server) Addr() base.RPCAddress { return s.addr }

func (s *Server) replica(g base.Gpid) *replica {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.replicas[g]
}

func (s *Server) all() []*replica {
	s.mu.RLock()
	rs := make([]*replica, 0, len(s.replicas))
	for _, r := range s.replicas {
		rs = append(rs, r)
	}
	s.mu.RUnlock()
	slices.SortFunc(rs, func(a, b *replica) int { return a.gpid.Compare(b.gpid) })
	return rs
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

// pickDir returns the data directory with the fewest replicas of the table, then of all.
func (s *Server) pickDir(app int32) *dataDir {
	type load struct {
		d          *dataDir
		table, sum int
	}
	ls := make([]load, 0, len(s.dirs))
	for _, d := range s.dirs {
		if d.state() == diskNormal {
			ls = append(ls, load{d: d})
		}
	}
	if len(ls) == 0 {
		return s.dirs[0] // which says why it can't
	}
	for _, r := range s.all() {
		for i := range ls {
			if ls[i].d == r.dir {
				ls[i].sum++
				if r.gpid.AppID == app {
					ls[i].table++
				}
			}
		}
	}
	return slices.MinFunc(ls, func(a, b load) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.sum, b.sum))
	}).d
}

// housekeep tells the logs what isn't needed any more, once a second.
func (s *Server) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			rs := s.all()
			for _, r := range rs {
				r.retain()
			}
			s.retuneSome(rs)
			s.passSome(time.Now(), rs)
			s.compactSome(time.Now(), rs)
			s.reviveDirs(time.Now())
			s.watchKeys(time.Now(), rs)
			s.watchRoom(s.live())
			s.send.expire()
		}
	}
}

// hardly is how many times wal.max_bytes a log may grow for the sake of learners. One that
// needs what is beyond fetches another checkpoint, of which most files are there already.
const hardly = 2

// onPressure is called by a log that grew too large, with the replicas that hold its
// oldest segment.
func (s *Server) onPressure(gs []base.Gpid) {
	for _, g := range gs {
		if r := s.replica(g); r != nil {
			r.flushSoon()
		}
	}
}
