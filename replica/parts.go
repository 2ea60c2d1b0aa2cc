package replica

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/httpapi"
	"pegasus/metrics"
	"pegasus/remotecmd"
	"pegasus/replica/backup"
	"pegasus/replica/duplication/receive"
	"pegasus/replica/duplication/send"
	"pegasus/replica/observe"
	"pegasus/replica/observe/hotkey"
	"pegasus/replica/part"
	"pegasus/rpc"
)

// parts make the parts of a server. Who adds a feature adds a line, which gives it its settings:
//
//	func(s *Server) part.Part { return backup.New(host{s}, backup.Options{Concurrency: s.cfg.Replica.BackupConcurrency}) },
//
// They are ticked in this order, and closed in the opposite one. A feature's line goes above newLogs.
var parts = []func(*Server) part.Part{
	func(s *Server) part.Part { return s.disks },
	func(s *Server) part.Part { return s.meta },
	func(s *Server) part.Part { return s.copies },
	func(s *Server) part.Part { return backup.New(host{s}, *s.backupOptions()) },
	newSender,
	newAdmin,
	newOperator,
	newDigests,
	newProber,
	newPasser,
	newSplitter,
	newMover,
	newCompactor,
	newRestorer,
	newLoader,
	func(s *Server) part.Part { return s.gate },
	func(s *Server) part.Part { return s.observer },
	func(s *Server) part.Part { return s.tracer },
	func(s *Server) part.Part { return s.gate.received },
	newLogs, // the last: see retain
}

// newSender returns what sends tables to other clusters.
func newSender(s *Server) part.Part {
	cfg := s.cfg
	x := send.New(host{s}, send.Options{ID: uint8(cfg.Cluster.ID), Ask: s.meta.Duplications, Every: duplicationEvery, Fresh: cfg.FD.Grace.D(), Version: s.clusterVersion, Log: s.log,
		Memory: cfg.Replica.DuplicationBytes, Remote: func(name string) (metas []string, id int, ok bool) {
			r, ok := cfg.Clusters[name]
			return r.MetaServers, r.ID, ok
		}})
	s.gate.received.Ask(x.Duplicated)
	return x
}

// duplicationEvery is how often the meta is told what other clusters have.
const duplicationEvery = 2 * time.Second

// newObserver returns what counts the requests of clients; it is there before the replicas are.
func newObserver(s *Server) (*observe.Observer, error) {
	c := &s.cfg.Replica
	return observe.New(observe.Options{ReadUnit: c.ReadUnit, WriteUnit: c.WriteUnit, RedactKeys: c.RedactKeys, SlowWrite: c.SlowWrite.D(),
		Reads: observe.ReadLimits{Took: c.SlowQuery.D(), Get: c.AbnormalGet, MultiGet: c.AbnormalMultiGet, BatchGet: c.AbnormalBatchGet,
			MultiGetRows: c.AbnormalMultiGetRows, BatchGetRows: c.AbnormalBatchGetRows},
		HotKeys: hotkey.Limits{Bucket: float64(c.HotBucket), Key: float64(c.HotKey), Interval: c.HotKeyInterval.D(), GiveUp: c.HotKeyTime.D()},
	}, func() []*observe.Replica {
		rs := s.all()
		list := make([]*observe.Replica, len(rs))
		for i, r := range rs {
			list[i] = &r.observed
		}
		return list
	})
}

// backupOptions say how cold backups are made.
func (s *Server) backupOptions() *backup.Options {
	return &backup.Options{Stores: s.blobs, Pace: s.copies.Backups, Root: s.cfg.Cluster.RootOfBackups(),
		HostName: s.hostPort.Host, Port: int(s.hostPort.Port), Concurrency: s.cfg.Replica.BackupConcurrency}
}

// newReceiver returns what counts the writes of other clusters; it is there before the replicas are.
func newReceiver(s *Server) (*receive.Receiver, error) {
	return receive.New(receive.Options{ID: s.cfg.Cluster.ID, Name: s.cfg.ClusterOf, Write: s.gate.onWrite, Metas: s.cfg.Cluster.MetaServers, Log: s.log, Version: s.clusterVersion})
}

// clusterVersion is what the metas said last, which the disks remember; below version.First: nothing yet.
func (s *Server) clusterVersion() version.Version {
	_, v := s.disks.Cluster()
	return v
}

// register makes the parts, and returns what answers requests and pages.
func (s *Server) register() (rpc.Handler, http.Handler) {
	mux, router := rpc.NewMux(s.log), httpapi.NewRouter()
	mux.HandleFunc(base.RPCPacifica, members{s}.onMessage)
	mux.HandleFunc(base.RPCConfigProposal, members{s}.onProposal)

	routes := part.NewRoutes(mux, router)
	for _, of := range parts {
		p := of(s)
		p.Register(routes)
		s.parts = append(s.parts, p)
	}

	router.Common(httpapi.Server{
		Version: remotecmd.Version, Revision: remotecmd.Revision(), Started: s.started, Role: "replica",
		Port: int(s.addr.AddrPort().Port()), Config: s.cfg, Collect: s.collect, Log: s.log,
		Mutable: routes.Mutable(),
		Ready: func() string {
			if !s.meta.Lease.Valid() {
				return "no meta leader acknowledges this server"
			}
			return ""
		},
	})
	remotecmd.New(remotecmd.Options{
		Started: s.started,
		Dump: func() (string, error) {
			b, err := config.Marshal(s.cfg)
			return string(b), err
		},
		Log:      s.log.Logger,
		Counters: administrator{srv: s}.counters,
	}, routes.Commands()...).Register(mux)
	return mux, router
}

// tickParts passes time to the parts.
func (s *Server) tickParts(now time.Time) {
	for _, p := range s.parts {
		p.Tick(now)
	}
}

// collect gathers the server's metrics.
func (s *Server) collect(sn *metrics.Snapshot) {
	s.collectAll(sn)
	for _, p := range s.parts {
		p.Collect(sn)
	}
}

// closeParts closes the parts, the last one first.
func (s *Server) closeParts() error {
	var errs []error
	for _, p := range slices.Backward(s.parts) {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
