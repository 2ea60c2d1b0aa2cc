package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/auth"
	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/blob/stores"
	"pegasus/replica/admission"
	"pegasus/replica/checkpoint"
	"pegasus/replica/disk"
	"pegasus/replica/metalink"
	"pegasus/replica/stored"
	"pegasus/replica/trace"
	"pegasus/replica/wal"
	"pegasus/rpc"
	"pegasus/rrdb"
	"pegasus/rrdb/engine"
)

// lookUpWait is how long a server waits at its start for its name to lead somewhere.
const lookUpWait = 30 * time.Second

// Run runs a replica server until ctx ends, then stops it in order. When the name that it is known by leads to
// another address it is stopped in order too, and runs again under that one.
func Run(ctx context.Context, cfg config.Config, log *logrus.Entry) error {
	for {
		moved, err := runOnce(ctx, cfg, log)
		if !moved || ctx.Err() != nil {
			return err
		}
		if err != nil {
			log.Warn(err)
		}
	}
}

// runOnce runs a server until ctx ends, or until its name leads to another address: it moved.
func runOnce(ctx context.Context, cfg config.Config, log *logrus.Entry) (moved bool, err error) {
	l, err := net.Listen(config.Network(cfg.Replica.Listen), cfg.Replica.Listen)
	if err != nil {
		return false, fmt.Errorf("replica.listen %s: %w: is another server running there?", cfg.Replica.Listen, err)
	}
	s, err := open(ctx, cfg, l.Addr(), log)
	if s == nil {
		l.Close()
		return false, err
	}
	errs := make(chan error, 1)
	go func() { errs <- s.Serve(l) }()
	s.limitMemory()
	log.Infof("replica server %s of cluster %q listens", s.name, cfg.Cluster.Name)
	watch, watched := context.WithCancel(ctx)
	defer watched()
	elsewhere := make(chan base.RPCAddress, 1)
	go s.watchName(watch, elsewhere)
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-errs:
	case to := <-elsewhere:
		log.Warnf("replica server %s was at %v, and its name leads to %v: it starts again there", s.name, s.addr, to)
		c, cancel := context.WithTimeout(ctx, stopPolite)
		defer cancel()
		return true, s.Close(c)
	}
	return false, errors.Join(err, s.end(ctx))
}

// watchName tells elsewhere when the server's name leads to another address than at its start.
func (s *Server) watchName(ctx context.Context, elsewhere chan<- base.RPCAddress) {
	name := s.hostPort.Name()
	if name == "" {
		return
	}
	for seen := s.addr; pause.For(ctx, base.LookUpEvery); {
		is, err := base.LookUp(ctx, name, s.addr)
		if err != nil || is == s.addr {
			seen = s.addr // what can't be looked up leads where it did
			continue
		}
		if is == seen { // twice: it isn't just being changed
			elsewhere <- is
			return
		}
		seen = is
	}
}

// open is New that isn't waited for when ctx ends, however much of the log is still to be replayed:
// what was opened by then is left as by a crash, which loses nothing. Then there is no server, and
// the process is to end.
func open(ctx context.Context, cfg config.Config, addr net.Addr, log *logrus.Entry) (*Server, error) {
	type made struct {
		s   *Server
		err error
	}
	c := make(chan made, 1)
	go func() {
		s, err := New(cfg, addr, log)
		c <- made{s, err}
	}()
	select {
	case m := <-c:
		return m.s, m.err
	case <-ctx.Done():
		log.Info("stopped before all replicas were open")
		return nil, nil
	}
}

// New opens the data directories and everything in them. The server is known by addr.
func New(cfg config.Config, addr net.Addr, log *logrus.Entry) (*Server, error) {
	return newServer(cfg, addr, log, time.Now)
}

// newServer is New with a wall clock.
func newServer(cfg config.Config, addr net.Addr, log *logrus.Entry, clock func() time.Time) (*Server, error) {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return nil, fmt.Errorf("replica.listen: %w", err)
	}
	host, _, err := net.SplitHostPort(cfg.Replica.Listen)
	if err != nil || host == "" {
		host = ap.Addr().String()
	}
	if known := cfg.Replica.Advertise; known != "" {
		a, err := base.AwaitAddr(context.Background(), known, lookUpWait)
		if err != nil {
			return nil, fmt.Errorf("replica.advertise: %w", err)
		}
		ap = a.AddrPort()
		if host, _, err = net.SplitHostPort(known); err != nil {
			return nil, fmt.Errorf("replica.advertise: %w", err)
		}
	}
	memory := cfg.MemoryOf(config.MachineMemory())
	cfg.Replica.Memory, cfg.Storage.BlockCacheBytes, cfg.Storage.MemtablesBytes, cfg.RPC.MaxInFlightBytes = memory.Total, memory.Cache, memory.Memtables, memory.InFlight
	descriptors := cfg.DescriptorsOf(config.DescriptorLimit(), engine.Descriptors)
	cfg.RPC.MaxConnections, cfg.Storage.OpenFiles = descriptors.Connections, descriptors.Files
	log.Infof("of %v", descriptors)
	guard, err := auth.New(cfg.Security, log)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, maxReplicas: descriptors.Replicas, log: log, started: time.Now(),
		known:  known{addr: base.MakeRPCAddress(ap), hostPort: base.MakeHostPort(host, ap.Port())},
		wires:  wires{guard: guard, pool: rpc.NewPool(rpc.PoolOptions{Log: log, MaxFrameBytes: cfg.RPC.MaxFrameBytes, Dial: guard.Dial(nil)})},
		remote: remote{blobs: stores.New(cfg.Blob, log)},
		table:  newTable(),
		halt:   make(chan struct{}), syncs: cfg.WAL.Sync != "os",
		sizes: admission.SizesOf(cfg.RPC.MaxFrameBytes)}
	s.name = s.hostPort.String()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.copies = checkpoint.New(copyHost{s}, checkpoint.Options{MinRate: cfg.Replica.LearnMinRate, MaxRate: cfg.Replica.LearnRate, BackupRate: cfg.Replica.BackupRate, Fetched: cfg.Replica.LearnConcurrency, Dial: guard.Dial(nil), Log: log})
	if err := s.backupOptions().Validate(); err != nil {
		return nil, errors.Join(fmt.Errorf("cold backups: %w", err), s.release())
	}
	if err := s.openAll(clock); err != nil {
		return nil, errors.Join(err, s.release())
	}
	requests, pages := s.register()
	s.rpc = rpc.NewServer(rpc.ServerOptions{MaxFrameBytes: cfg.RPC.MaxFrameBytes, MaxConnections: cfg.RPC.MaxConnections, MaxConnectionsPerIP: cfg.RPC.MaxConnectionsPerIP,
		MaxInFlightBytes: cfg.RPC.MaxInFlightBytes, IdleTimeout: cfg.RPC.IdleTimeout.D(), Security: guard.Security()}, requests, pages, log)
	s.rpc.Advertise(s.addr)
	s.rpc.AfterBatch(s.afterBatch)
	s.rpc.OnError(s.gate.refusals.add)
	return s, nil
}

// openAll makes what the parts need, and opens the data directories and what is in them.
func (s *Server) openAll(clock func() time.Time) (err error) {
	s.tracer = trace.New(s.cfg.Replica.TraceEvery)
	if s.observer, err = newObserver(s); err != nil {
		return err
	}
	if s.gate, err = newGate(s); err != nil {
		return err
	}
	if err := s.openDisks(clock); err != nil {
		return err
	}
	if s.gate.received, err = newReceiver(s); err != nil {
		return err
	}
	if s.shared, err = rrdb.NewShared(sharedOptions(&s.cfg, s.log, s.meta.Clock.DeleteTime)); err != nil {
		return err
	}
	return s.openReplicas()
}

// release gives up what a server has that couldn't be made. No replica is open.
func (s *Server) release() (err error) {
	s.cancel()
	close(s.halt)
	s.wg.Wait()
	if s.disks != nil {
		err = s.disks.Close()
	}
	if s.shared != nil {
		s.shared.Close()
	}
	s.pool.Close()
	return err
}

// openDisks opens the data directories, and makes the link to the metas, whose identity they
// keep. wall is the machine's clock.
func (s *Server) openDisks(wall func() time.Time) error {
	c := &s.cfg
	link := metalink.Options{Pool: s.pool, Metas: c.Cluster.MetaServers, Self: s.addr, HostPort: s.hostPort, Started: s.started,
		BeaconInterval: c.FD.BeaconInterval.D(), Lease: c.FD.Lease.D(), Grace: c.FD.Grace.D(), ClockTolerance: c.FD.ClockTolerance.D(),
		SyncInterval: c.Replica.ConfigSync.D(), Wall: wall, Log: s.log}
	if err := link.Validate(); err != nil {
		return err
	}
	places := make([]disk.Place, len(c.Replica.DataDirs))
	for i, v := range c.Replica.DataDirs {
		places[i].Tag, places[i].Path = config.SplitDataDir(v, i)
		if err := stored.Usable(places[i].Path); err != nil {
			return err
		}
	}
	var err error
	s.disks, err = disk.Open(disk.Options{Dirs: places, Cluster: c.Cluster.Name, Node: s.addr.String(), Name: s.hostPort.Name(), Retry: c.Replica.DiskRetry.D(),
		TrashAge: c.Replica.TrashAge.D(), TrashRatio: c.Replica.TrashRatio, MinFree: c.Replica.DiskMinSpace, Reject: c.Replica.DiskReject, WAL: wal.Options{Sync: c.WAL.Sync, SegmentBytes: c.WAL.SegmentBytes, MaxBytes: c.WAL.MaxBytes, KeepBytes: c.WAL.KeepBytes, OnPressure: s.onPressure}, Log: s.log,
		AfterBatch: func(d *disk.Dir) func() {
			dir := &dataDir{Dir: d, batches: make(chan struct{}, 1)}
			s.dirs.Store(d, dir)
			return dir.batch
		}, Added: func(d *disk.Dir) { s.spawn(func() { s.follow(s.dirOf(d)) }) }}, diskHost{s})
	if err != nil {
		return err
	}
	for _, d := range s.disks.All() {
		s.spawn(func() { s.follow(s.dirOf(d)) })
	}
	link.ServerID = s.disks.ServerID()
	s.meta, err = metalink.New(link, reporter{s}, s.disks)
	return err
}

// openReplicas opens all that is in the data directories.
func (s *Server) openReplicas() error {
	found, err := s.disks.Find(newer)
	if err != nil {
		return err
	}
	// Stores are opened in parallel; one that can't be opened is left out and reported
	// missing to the meta, its directory untouched.
	var wg sync.WaitGroup
	limit := make(chan struct{}, 8)
	for g, d := range found {
		wg.Add(1)
		limit <- struct{}{}
		go func() {
			defer func() { <-limit; wg.Done() }()
			var r *replica
			err := s.outlive(g, d)
			if err == nil {
				r, err = s.openReplica(g, d, nil)
			}
			if err != nil {
				s.log.Errorf("replica %v in %s is not usable and stays as it is: %v", g, d.Path, err)
				s.noteBroken(g, d, err)
				return
			}
			s.put(r)
		}()
	}
	wg.Wait()
	s.log.Infof("%d replicas are open; for them %d entries of the log were replayed", len(s.all()), s.replayed.Load())
	return nil
}

// outlive sees to it that a replica that is used while a disk isn't there is the one to use when that disk is back: a move that was cut off
// may have left a copy there that is whole, under the same ballot and made later, and lacks what is written from now on.
func (s *Server) outlive(g base.Gpid, d *disk.Dir) error {
	if !s.disks.Lacks() {
		return nil
	}
	name := stored.Name(d.ReplicaPath(g))
	var info replicaInfo
	err := disk.ReadJSON(name, &info)
	if err == nil {
		info.Made += 2 // a copy's is 1 more
		err = disk.WriteJSON(name, &info)
	}
	return err
}

// Serve accepts connections and talks to the meta until Close.
func (s *Server) Serve(l net.Listener) error {
	s.unlessShut(func() { // or Close waits for them already
		s.spawn(func() { s.meta.Beat(s.ctx) })
		s.spawn(func() { s.meta.SyncLoop(s.ctx) })
		s.spawn(func() { s.housekeep(s.ctx) })
		s.spawn(func() { s.guard.Watch(s.ctx) })
		s.spawn(s.tickLoop)
		s.spawn(func() { s.gate.run(s.ctx) })
	})
	return s.rpc.Serve(l)
}

// housekeep passes time to the parts, once a second.
func (s *Server) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.tickParts(now)
		}
	}
}

// limitMemory has the collector work harder before the process outgrows its budget, unless the
// environment says otherwise. A process is a little larger than what the collector counts: its
// program, and what the system holds for it.
func (s *Server) limitMemory() {
	c := s.cfg
	s.log.Infof("memory: %d MiB; of these for blocks %d, memtables %d, requests %d", c.Replica.Memory>>20, c.Storage.BlockCacheBytes>>20,
		c.Storage.MemtablesBytes>>20, c.RPC.MaxInFlightBytes>>20)
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := c.Replica.Memory / 100 * 95
	if engineOutside {
		limit = max(limit-c.Storage.BlockCacheBytes-c.Storage.MemtablesBytes, limit/4)
	}
	debug.SetMemoryLimit(limit)
}
