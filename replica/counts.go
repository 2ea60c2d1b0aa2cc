package replica

import (
	"pegasus/gen/metadata"
	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/disk"
)

// roles counts replicas by what they are.
type roles struct {
	inactive, primary, secondary, learner, failed int64

	short int64 // primaries that refuse writes for a secondary's disk
}

// The values of the metric role.
const (
	roleInactive = iota
	rolePrimary
	roleSecondary
	roleLearner
	roleFailed
)

func (n *roles) add(v *view) (role int64) {
	switch {
	case v.failed != nil || v.suspect:
		n.failed++
		return roleFailed
	case v.Status == pacifica.Primary:
		n.primary++
		return rolePrimary
	case v.Status == pacifica.Secondary:
		n.secondary++
		return roleSecondary
	case v.Status == pacifica.Learner:
		n.learner++
		return roleLearner
	}
	n.inactive++
	return roleInactive
}

// collectAll adds what is counted of the server and its replicas.
func (s *Server) collectAll(sn *metrics.Snapshot) {
	all := s.all()
	var n roles
	var queued int64
	logs := s.logShares(all)
	for _, r := range all {
		e := sn.Entity(metrics.Replica, r.gpid.String(), "table_id", itoa(r.gpid.AppID), "partition_id", itoa(r.gpid.PartitionIndex))
		v := r.look()
		sn.NameTable(itoa(r.gpid.AppID), v.info.AppName)
		e.Set(metrics.ReplicaRole, n.add(v))
		e.Set(metrics.ReplicaBallot, v.Ballot)
		e.Set(metrics.CommittedDecree, v.Committed)
		e.Set(metrics.PreparedDecree, v.Last)
		e.Set(metrics.AppliedDecree, v.applied)
		e.Set(metrics.HeldDecrees, r.kept.Extra())
		if v.Status == pacifica.Primary && r.admission.Peers.Short() {
			n.short++
		}
		r.admission.Collect(e)
		r.observed.Collect(e)
		r.received.Collect(e)
		r.collectStore(e)
		e.Set(metrics.PrivateLogSize, logs[r.dir.Dir])
		r.inbox.mu.Lock()
		queued += int64(len(r.inbox.writes))
		r.inbox.mu.Unlock()
	}
	sn.Entity(metrics.Queue, "writes", "queue_name", "writes").Set(metrics.QueueLength, queued)
	s.collectServer(sn.Entity(metrics.Server, ""), all, &n)
}

// logShares returns what each replica has of the log of its data directory: replicas have no log of their own, so it is an equal share.
func (s *Server) logShares(all []*replica) map[*disk.Dir]int64 {
	n := map[*disk.Dir]int64{}
	for _, r := range all {
		n[r.dir.Dir]++
	}
	for d, replicas := range n {
		n[d] = d.Log().Size() / replicas
	}
	return n
}

func (s *Server) collectServer(e *metrics.Entity, all []*replica, n *roles) {
	e.SetProcess(s.started)
	s.rpc.Collect(e)
	_, opening := s.counts()
	e.Set(metrics.TotalReplicas, int64(len(all)))
	e.Set(metrics.OpeningReplicas, int64(opening))
	e.Set(metrics.InactiveReplicas, n.inactive)
	e.Set(metrics.ErrorReplicas, n.failed)
	e.Set(metrics.PrimaryReplicas, n.primary)
	e.Set(metrics.SecondaryReplicas, n.secondary)
	e.Set(metrics.LearningReplicas, n.learner)
	e.Set(metrics.ShortSecondaries, n.short)
	m := s.shared.Metrics()
	e.Set(metrics.BlockCacheMem, m.BlockCacheBytes)
	e.Set(metrics.BlockCacheHits, m.BlockCacheHits)
	e.Set(metrics.BlockCacheMisses, m.BlockCacheMisses)
	e.Set(metrics.MemtablesTotal, m.MemtableReserved)
	e.Set(metrics.MemtablesMutable, m.MemtableBytes)
	e.Set(metrics.Compactions, int64(m.CompactionsRunning))
	e.Set(metrics.FlushWaits, m.FlushWaits.Milliseconds())
	e.Set(metrics.CompactionWaits, m.CompactionWaits.Milliseconds())
	e.Set(metrics.ScanSessions, int64(m.ScanSessions))
	e.Set(metrics.SweptRows, m.SweptRows)
	e.Set(metrics.SweptBytes, m.SweptBytes)
	e.Set(metrics.SweepReadBytes, m.SweepReadBytes)
	e.Set(metrics.Sweeps, m.Sweeps)
	e.Set(metrics.SweepTime, m.SweepTime.Milliseconds())
	e.Set(metrics.PassReadBytes, m.RulesReadBytes)
	e.Set(metrics.DelayedNow, s.gate.Waiting())
	s.gate.refusals.collect(e)
}

// collectStore adds Pebble's figures.
func (r *replica) collectStore(e *metrics.Entity) {
	store := r.store.Load()
	m := store.Metrics()
	if m == nil {
		return // being replaced or closed
	}
	var files, size int64
	var flushed, input, output uint64
	for i := range m.Levels {
		l := &m.Levels[i]
		files += l.TablesCount
		size += l.TablesSize
		flushed += l.TableBytesFlushed
		if i > 0 || l.TableBytesCompacted > 0 {
			input += l.TableBytesRead
			output += l.TableBytesCompacted
		}
	}
	e.Set(metrics.SSTFiles, files)
	e.Set(metrics.SSTSize, size)
	if rows, err := store.CountEstimate(); err == nil {
		e.Set(metrics.EstimatedKeys, rows)
	}
	e.Set(metrics.IndexFilterMem, 0)
	e.Set(metrics.MemtableMem, int64(m.MemTable.Size))
	if flushed > 0 {
		e.Set(metrics.WriteAmp, int64((flushed+output+flushed/2)/flushed))
	} else {
		e.Set(metrics.WriteAmp, 0)
	}
	e.Set(metrics.ReadAmp, int64(m.ReadAmp()))
	e.Set(metrics.BloomNegatives, m.Filter.Hits)
	e.Set(metrics.BloomPositives, m.Filter.Misses)
	e.Set(metrics.Flushes, m.Flush.Count)
	e.Set(metrics.FlushBytes, int64(flushed))
	e.Set(metrics.CompactionCount, m.Compact.Count)
	e.Set(metrics.CompactionInput, int64(input))
	e.Set(metrics.CompactionOutput, int64(output))
	e.Set(metrics.CompactionDebt, int64(m.Compact.EstimatedDebt))
	e.Set(metrics.WriteStalls, store.Stalls())
	state := r.compactions.status()
	e.SetBool(metrics.CompactsQueued, state == metadata.QUEUING)
	e.SetBool(metrics.CompactsRunning, state == metadata.RUNNING)
}
