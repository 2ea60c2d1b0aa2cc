package replica

import (
	"sync/atomic"
	"syscall"

	"pegasus/metrics"
	"pegasus/pacifica"
	"pegasus/replica/wal"
)

// counts are what a server counts by itself, for its metrics.
type counts struct {
	learned, learnFailed, learnBytes, beaconFailed atomic.Int64
}

// opOf returns the number of a client's RPC.
func opOf(code string) metrics.Op {
	switch code {
	case "RPC_RRDB_RRDB_GET":
		return metrics.OpGet
	case "RPC_RRDB_RRDB_PUT":
		return metrics.OpPut
	case "RPC_RRDB_RRDB_TTL":
		return metrics.OpTTL
	case "RPC_RRDB_RRDB_MULTI_GET":
		return metrics.OpMultiGet
	case "RPC_RRDB_RRDB_BATCH_GET":
		return metrics.OpBatchGet
	case "RPC_RRDB_RRDB_SORTKEY_COUNT":
		return metrics.OpSortKeyCount
	case "RPC_RRDB_RRDB_MULTI_PUT":
		return metrics.OpMultiPut
	case "RPC_RRDB_RRDB_REMOVE":
		return metrics.OpRemove
	case "RPC_RRDB_RRDB_MULTI_REMOVE":
		return metrics.OpMultiRemove
	case "RPC_RRDB_RRDB_INCR":
		return metrics.OpIncr
	case "RPC_RRDB_RRDB_CHECK_AND_SET":
		return metrics.OpCheckAndSet
	case "RPC_RRDB_RRDB_CHECK_AND_MUTATE":
		return metrics.OpCheckAndMutate
	}
	return metrics.OpScan // get_scanner, scan, clear_scanner
}

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

// collect gathers the server's metrics.
func (s *Server) collect(sn *metrics.Snapshot) {
	all := s.all()
	var n roles
	latencies := make([][]int64, metrics.NumOps)
	held := map[*dataDir]int64{}
	for _, r := range all {
		held[r.dir]++
		e := sn.Entity(metrics.Replica, r.gpid.String(), "table_id", itoa(r.gpid.AppID), "partition_id", itoa(r.gpid.PartitionIndex))
		v := r.look()
		e.Set(metrics.ReplicaRole, n.add(v))
		e.Set(metrics.ReplicaBallot, v.Ballot)
		e.Set(metrics.CommittedDecree, v.Committed)
		e.Set(metrics.PreparedDecree, v.Last)
		e.Set(metrics.AppliedDecree, v.applied)
		for op := range metrics.NumOps {
			e.Set(metrics.Requests[op], r.ops.Requests(op))
			l := r.ops.AppendSamples(nil, op)
			latencies[op] = append(latencies[op], l...)
			e.SetQuantiles(metrics.Latency[op], metrics.QuantilesOf(l))
		}
		if v.Status == pacifica.Primary && r.shortPeer() {
			n.short++
		}
		r.throttled.collect(e)
		r.usage.collect(e)
		e.Set(metrics.AbnormalReads, r.abnormalReads.Load())
		r.collectStore(e)
	}
	for op, l := range latencies {
		if len(l) > 0 {
			name := metrics.Op(op).RPC()
			sn.Entity(metrics.Profiler, name, "task_name", name).SetQuantiles(metrics.TaskLatency, metrics.QuantilesOf(l))
		}
	}
	for _, d := range s.dirs {
		e := sn.Entity(metrics.Disk, d.tag, "tag", d.tag, "data_dir", d.path)
		total, avail := d.capacity()
		e.Set(metrics.DiskTotal, total>>20)
		e.Set(metrics.DiskAvail, avail>>20)
		e.Set(metrics.DiskState, int64(d.state()))
		e.Set(metrics.DiskReplicas, held[d])
		collectLog(e, d.log().Stats())
	}
	s.collectServer(sn.Entity(metrics.Server, ""), all, &n)
}

func (s *Server) collectServer(e *metrics.Entity, all []*replica, n *roles) {
	e.SetProcess(s.started, s.rpc.Stats())
	s.mu.RLock()
	opening := int64(len(s.opening))
	s.mu.RUnlock()
	e.Set(metrics.TotalReplicas, int64(len(all)))
	s.collectLearning(e, all)
	e.Set(metrics.OpeningReplicas, opening)
	e.Set(metrics.InactiveReplicas, n.inactive)
	e.Set(metrics.ErrorReplicas, n.failed)
	e.Set(metrics.PrimaryReplicas, n.primary)
	e.Set(metrics.SecondaryReplicas, n.secondary)
	e.Set(metrics.LearningReplicas, n.learner)
	e.Set(metrics.ShortSecondaries, n.short)
	e.SetBool(metrics.LeaseValid, s.lease.valid())
	e.Set(metrics.BeaconFailures, s.counts.beaconFailed.Load())
	e.Set(metrics.LearnInstalled, s.counts.learned.Load())
	e.Set(metrics.LearnFailed, s.counts.learnFailed.Load())
	e.Set(metrics.LearnCopyBytes, s.counts.learnBytes.Load())
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
	e.Set(metrics.PassReadBytes, m.RuledReadBytes)
	s.passCounts.collect(e)
	e.Set(metrics.DelayedNow, s.delays.waiting())
}

func collectLog(e *metrics.Entity, st wal.Stats) {
	e.Set(metrics.WALSize, st.TotalBytes)
	e.Set(metrics.WALSegments, int64(st.Segments))
	e.Set(metrics.WALIndex, st.IndexEntries)
	e.Set(metrics.WALEntries, int64(st.Entries))
	e.Set(metrics.WALBytes, int64(st.Bytes))
	e.Set(metrics.WALBatches, int64(st.Batches))
	e.Set(metrics.WALSyncs, int64(st.Syncs))
	e.Set(metrics.WALSyncTime, st.SyncTime.Microseconds())
	e.Set(metrics.WALRewritten, int64(st.Rewritten))
	e.Set(metrics.WALPressures, int64(st.Pressures))
	e.Set(metrics.WALReadBytes, int64(st.ReadBytes))
	e.Set(metrics.WALRotations, int64(st.Rotations))
	e.Set(metrics.WALReadCount, int64(st.Reads))
	e.Set(metrics.WALRemovedSeg, int64(st.Removed))
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
	e.Set(metrics.SSTSize, size>>20)
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
}

// capacity returns the size and the free space of the file system in bytes, 0 if unknown.
func (d *dataDir) capacity() (total, avail int64) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.path, &st); err != nil {
		return 0, 0
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
}

func (t *throttled) collect(e *metrics.Entity) {
	e.Set(metrics.DelayedWrites, t.delayedWrites.Load())
	e.Set(metrics.RejectedWrites, t.rejectedWrites.Load())
	e.Set(metrics.DelayedReads, t.delayedReads.Load())
	e.Set(metrics.RejectedReads, t.rejectedReads.Load())
	e.Set(metrics.DelayedBackups, t.delayedBackups.Load())
	e.Set(metrics.RejectedBackups, t.rejectedBackups.Load())
}
