package meta

import (
	"net/http"
	"strconv"

	"pegasus/base"
	"pegasus/base/judge"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/metrics"
	"pegasus/remotecmd"
)

// collect gathers the server's metrics; a leader has those of the cluster too.
func (s *Server) collect(sn *metrics.Snapshot) {
	e := sn.Entity(metrics.Server, "")
	e.SetProcess(s.started)
	s.rpc.Collect(e)
	e.Set(metrics.BeaconFailures, 0)
	e.Set(metrics.MetaReserve, s.quorum.room.left.Load())
	r := s.quorum.raft
	e.Set(metrics.MetaRaftApplied, int64(r.AppliedIndex()))
	e.Set(metrics.MetaRaftLast, int64(r.LastIndex()))
	term, err := strconv.ParseInt(r.Stats()["term"], 10, 64)
	if err == nil {
		e.Set(metrics.MetaRaftTerm, term)
	}
	l := s.leader.Load()
	e.SetBool(metrics.MetaLeading, l != nil)
	if l == nil {
		return
	}
	l.mu.Lock()
	nodes, toCheck := l.nodes.det.Nodes(), len(l.parts.toCheck)
	l.s.fsm.read(func(st *state.State) { e.Set(metrics.MetaUnknownTables, int64(len(l.nodes.unknownTables(st)))) })
	e.Set(metrics.BalanceWaiting, int64(len(l.bal.queue)))
	e.Set(metrics.BalanceRunning, int64(len(l.bal.active)))
	e.Set(metrics.BalanceDone, l.bal.done)
	e.Set(metrics.BalanceFailed, l.bal.failed)
	e.Set(metrics.ClocksOff, int64(len(l.nodes.clocks.off)))
	told := l.nodes.clocks.told.Load()
	e.SetBool(metrics.ClockDoubted, l.nodes.clocks.wrong || told != nil && told.doubted)
	l.mu.Unlock()
	alive := int64(0)
	for _, n := range nodes {
		if n.Alive {
			alive++
		}
	}
	e.Set(metrics.AliveServers, alive)
	e.Set(metrics.UnaliveServers, int64(len(nodes))-alive)
	e.Set(metrics.UnplannedWork, int64(toCheck))
	e.Set(metrics.ServerDisconnected, l.nodes.deaths.Load())
	l.collectTables(sn, e)
	for _, s := range l.services {
		if c, ok := s.(service.Collector); ok {
			c.Collect(sn)
		}
	}
}

func (l *leader) collectTables(sn *metrics.Snapshot, server *metrics.Entity) {
	type counts [judge.Dead + 1]int64
	tables := map[int32]*counts{}
	l.s.fsm.walk(func(t *state.Table, _, _ int) {
		tables[t.ID] = &counts{}
		sn.NameTable(itoa(t.ID), t.Name)
	})
	l.parts.judgeAll(func(t *state.Table, i int, v *judge.Verdict) {
		n := tables[t.ID]
		if n == nil {
			return // it was just made
		}
		h := v.Health
		switch {
		case h != judge.InDoubt:
		case v.Read == judge.Yes:
			h = judge.Unwritable
		default:
			h = judge.Unreadable
		}
		n[h]++
		g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
		sn.Entity(metrics.Partition, g.String(), "table_id", itoa(t.ID), "partition_id", itoa(int32(i))).Set(metrics.ConfigChanges, t.Parts[i].Ballot)
	})
	for id, n := range tables {
		e := sn.Entity(metrics.Table, itoa(id), "table_id", itoa(id))
		e.Set(metrics.DeadPartitions, n[judge.Dead])
		e.Set(metrics.UnreadablePartitions, n[judge.Unreadable])
		e.Set(metrics.UnwritablePartitions, n[judge.Unwritable])
		e.Set(metrics.WritableIllPartitions, n[judge.Ill])
		e.Set(metrics.HealthyPartitions, n[judge.Healthy])
	}
	server.Set(metrics.TableCount, int64(len(tables)))
}

// httpHandler serves the pages of operators.
func (s *Server) httpHandler(routes *service.Routes) http.Handler {
	r := httpapi.NewRouter()
	r.Common(httpapi.Server{
		Version: remotecmd.Version, Revision: remotecmd.Revision(), Started: s.started, Role: "meta",
		Port: int(s.self().AddrPort().Port()), Config: s.cfg, Collect: s.collect, Log: s.log,
		Ready: func() string {
			if s.leaderAddr() == 0 {
				return "no meta server leads"
			}
			return ""
		},
	})
	r.Page("envs/list", "List every table setting with its type, limits and a sample.", envsPage)
	for _, p := range routes.Pages() {
		r.Page(p.Path, p.Help, p.Serve)
	}
	for path, h := range s.opts.Pages {
		r.Raw(path, r.Few(h))
	}
	if s.opts.Pages[frontPage] != nil {
		r.Front("/" + frontPage + "/")
	}
	return r
}

// frontPage is the page, of those that Options.Pages adds, that a browser finds first.
const frontPage = "dashboard"
