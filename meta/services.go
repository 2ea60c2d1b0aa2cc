package meta

import (
	"context"
	"time"

	"pegasus/base"
	"pegasus/client"
	"pegasus/meta/backup"
	"pegasus/meta/bulkload"
	"pegasus/meta/disks"
	"pegasus/meta/duplication"
	"pegasus/meta/probe"
	"pegasus/meta/service"
	"pegasus/meta/split"
	"pegasus/meta/stat"
	"pegasus/meta/usage"
	"pegasus/rpc"
)

// services make the services of a leader. Who adds a feature adds a line, which gives it its settings:
//
//	func(l *leader) service.Service { return backup.New(l, backup.Options{Dir: l.s.cfg.Meta.BackupDir}) },
var services = []func(*leader) service.Service{
	func(l *leader) service.Service { return l.servers },
	newTables,
	newPlacements,
	newRecovery,
	newQuorumAdmin,
	newBackups,
	newRestores,
	newDuplication,
	newSplits,
	newBulkLoads,
	newStat,
	newUsage,
	newProbe,
	newDisks,
}

func newBackups(l *leader) service.Service {
	return backup.New(l, backup.Options{Disabled: l.s.cfg.Meta.BackupDisabled, Root: l.s.cfg.Cluster.RootOfBackups(), Stores: l.s.blobs, Clock: l.time, Frozen: l.frozen})
}

// time is the clock that most servers have.
func (l *leader) time() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes.mostly()
}

// frozen says why nothing may be begun or removed; "" if it may.
func (l *leader) frozen() string {
	if l.restored() {
		return recoverFirst
	}
	return ""
}

func newDuplication(l *leader) service.Service {
	cfg := &l.s.cfg
	d := duplication.New(l, duplication.Options{Cluster: cfg.Cluster.Name, ID: cfg.Cluster.ID, Remote: func(name string) (metas []string, id int, ok bool) {
		r, ok := cfg.Clusters[name]
		return r.MetaServers, r.ID, ok
	}, Self: func() (id string, metas []string) {
		_, id = l.s.fsm.cluster()
		return id, l.s.members.memberNames()
	}})
	if l.parts != nil {
		l.parts.strained = d.Strained
	}
	return d
}

func newSplits(l *leader) service.Service {
	return split.New(l, split.Options{Enabled: l.s.cfg.Meta.PartitionSplit, MaxPartitions: l.s.cfg.Meta.MaxPartitionCount, Frozen: l.frozen, Look: func(id int32) { l.parts.recheck(id) },
		NoBackups: l.s.cfg.Meta.BackupDisabled,
		Cluster: func() string {
			_, id := l.s.fsm.cluster()
			return id
		}})
}

func newBulkLoads(l *leader) service.Service {
	c := &l.s.cfg.Meta
	return bulkload.New(l, bulkload.Options{Blobs: l.s.blobs, AtOnce: c.LoadsAtOnce, Rate: c.LoadRate, Every: l.s.opts.LoadPace, Tries: c.LoadTries, Now: l.time, Frozen: l.frozen,
		Cluster: func() string {
			_, id := l.s.fsm.cluster()
			return id
		}})
}

func newDisks(l *leader) service.Service {
	c := &l.s.cfg.Meta
	d := disks.New(l, disks.Options{AtOnce: c.BalanceDisks, Every: c.BalanceInterval.D(),
		May:   func() string { return l.bal.occupied() },
		Fixed: func(node base.RPCAddress, of []base.Gpid) []bool { return l.bal.stays(node, of) },
		Note: func(g base.Gpid, what, why string) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.parts.recordEvent(g, what, why)
		},
		Ended: func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.bal.replan()
		}})
	if l.parts != nil {
		l.parts.moving = d.Moving
	}
	return d
}

// newStat makes what the next two tell.
func newStat(l *leader) service.Service {
	l.stat = stat.New(l, stat.Options{Table: l.s.cfg.Probe.StatTable,
		Open: func(ctx context.Context, name string) (stat.Table, func(), error) {
			c := client.New(l.s.cfg.Cluster.MetaServers, client.Options{Log: l.log})
			t, err := c.Table(ctx, name)
			if err != nil {
				c.Close()
				return nil, nil, err
			}
			return t, c.Close, nil
		},
		Sizes: func() map[int32]stat.Size {
			sizes := map[int32]stat.Size{}
			for _, t := range l.usage.Tables("", false) {
				sizes[t.ID] = stat.Size{Partitions: t.Partitions, Told: t.Told, Bytes: t.Bytes}
			}
			return sizes
		}})
	return l.stat
}

func newUsage(l *leader) service.Service {
	l.usage = usage.New(l, usage.Options{Used: l.stat.Used})
	return l.usage
}

func newProbe(l *leader) service.Service {
	c := &l.s.cfg.Probe
	return probe.New(l, probe.Options{Every: c.Interval.D(), Timeout: c.Timeout.D(), Ended: l.stat.Ended})
}

// serve makes the services.
func (l *leader) serve() {
	for _, of := range services {
		l.services = append(l.services, of(l))
	}
}

// register adds to mux all that this server serves, and returns the pages and the remote
// commands.
func (s *Server) register(mux *rpc.Mux) *service.Routes {
	// Each server answers these, or those that ask expect more than an error of who doesn't lead.
	mux.HandleFunc(base.RPCFailureDetectorPing, s.onBeacon)
	mux.HandleFunc(base.RPCQueryPartitionConfigByIndex, s.onQueryConfig)
	mux.HandleFunc(base.RPCUpdatePartitionConfiguration, s.onUpdate)
	mux.HandleFunc(base.RPCQuorumStatus, s.onQuorumStatus)
	mux.HandleFunc(base.RPCSelfCheck, watchdog{s}.onSelfCheck)
	routes := service.NewRoutes(host{s}, mux)
	nobody := &leader{term: &term{s: s}} // knows the settings, and never leads
	for i, of := range services {
		routes.Add(i, of(nobody))
	}
	return routes
}
