package meta

import (
	"strconv"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/meta/state"
	"pegasus/metrics"
)

func setLogLevel(l *logrus.Logger, level string) {
	if v, err := logrus.ParseLevel(level); err == nil { // the configuration's check has spoken
		l.SetLevel(v)
	}
}

// collect gathers the server's metrics; a leader has those of the cluster too.
func (s *Server) collect(sn *metrics.Snapshot) {
	e := sn.Entity(metrics.Server, "")
	e.SetProcess(s.started, s.rpc.Stats())
	e.Set(metrics.BeaconFailures, 0)
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
	nodes, unsure := l.det.Nodes(), len(l.unsure)
	e.Set(metrics.BalanceWaiting, int64(len(l.bal.queue)))
	e.Set(metrics.BalanceRunning, int64(len(l.bal.flights)))
	e.Set(metrics.BalanceDone, l.bal.done)
	e.Set(metrics.BalanceFailed, l.bal.failed)
	l.mu.Unlock()
	alive := int64(0)
	for _, n := range nodes {
		if n.Alive {
			alive++
		}
	}
	e.Set(metrics.AliveServers, alive)
	e.Set(metrics.UnaliveServers, int64(len(nodes))-alive)
	e.Set(metrics.UnplannedWork, int64(unsure))
	e.Set(metrics.ServerDisconnected, l.deaths.Load())
	l.collectTables(sn, e)
}

// partHealth is what a partition can do.
type partHealth uint8

const (
	healthy     partHealth = iota
	writableIll            // writable, and lacks replicas
	unwritable
	unreadable
	dead // no living member
)

func partHealthOf(c *state.Config, max int32, least int, gone map[base.RPCAddress]bool) partHealth {
	alive := 0
	for _, a := range c.AppendMembers(nil) {
		if !gone[a] {
			alive++
		}
	}
	switch {
	case alive == 0:
		return dead
	case c.Primary == 0 || gone[c.Primary]:
		return unreadable
	case alive < least:
		return unwritable
	case alive < int(max):
		return writableIll
	}
	return healthy
}

func (l *leader) collectTables(sn *metrics.Snapshot, server *metrics.Entity) {
	gone := l.view.Load().dead
	tables := int64(0)
	var n [dead + 1]int64 // of the table at hand, which may come in several pieces
	l.s.fsm.walk(func(t *state.Table, from, to int) {
		if from == 0 {
			tables++
			n = [dead + 1]int64{}
		}
		least := l.s.minMembers(t.MaxReplicas)
		for i := from; i < to; i++ {
			p := &t.Parts[i]
			n[partHealthOf(p, t.MaxReplicas, least, gone)]++
			g := base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}
			sn.Entity(metrics.Partition, g.String(), "table_id", itoa(t.ID), "partition_id", itoa(int32(i))).Set(metrics.ConfigChanges, p.Ballot)
		}
		if to < len(t.Parts) {
			return
		}
		e := sn.Entity(metrics.Table, itoa(t.ID), "table_id", itoa(t.ID))
		e.Set(metrics.DeadPartitions, n[dead])
		e.Set(metrics.UnreadablePartitions, n[unreadable])
		e.Set(metrics.UnwritablePartitions, n[unwritable])
		e.Set(metrics.WritableIllPartitions, n[writableIll])
		e.Set(metrics.HealthyPartitions, n[healthy])
	})
	server.Set(metrics.TableCount, tables)
}
