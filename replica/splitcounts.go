package replica

import (
	"sync/atomic"

	"pegasus/base"
	"pegasus/metrics"
)

// The metrics have upstream's names. A child is made by hard links, and of no mutations: what is copied isn't counted.
var (
	metricSplitStarted = metrics.Define(metrics.Replica, "splitting_started_count", metrics.Counter, "splits", "Orders to split the partition that its primary began to carry out.")
	metricSplitOK      = metrics.Define(metrics.Replica, "splitting_successful_count", metrics.Counter, "splits", "Of these, those after which the new partition was registered.")
	metricSplitFailed  = metrics.Define(metrics.Replica, "splitting_failed_count", metrics.Counter, "splits", "Of these, those that failed. The meta orders it again.").
				Worry("It grows: the log says why.")
	metricSplitNoReads = metrics.Define(metrics.Replica, "splitting_rejected_read_requests", metrics.Counter, "requests", "Reads of rows that went to the new partition, refused with ERR_PARENT_PARTITION_MISUSED.").
				Worry("It grows long after a split: a client doesn't ask for the new configuration.")
	metricSplitNoWrites = metrics.Define(metrics.Replica, "splitting_rejected_write_requests", metrics.Counter, "requests", "Writes of rows that went to the new partition, refused with ERR_PARENT_PARTITION_MISUSED.").
				Worry("It grows long after a split: a client doesn't ask for the new configuration.")
	metricSplitsUnderWay = metrics.Define(metrics.Server, "splitting_replicas", metrics.Gauge, "replicas", "Primaries of the server that split their partition.").
				Worry("Not 0 for hours.")
)

// splitCounts are of the splits of one replica since the start.
type splitCounts struct {
	started, ok, failed, noReads, noWrites atomic.Int64
}

// countsOf returns the counts of a replica.
func (sp *splitter) countsOf(g base.Gpid) *splitCounts {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	c := sp.counts[g]
	if c == nil {
		c = new(splitCounts)
		sp.counts[g] = c
	}
	return c
}

// readsRows tells whether a client's request is a read.
func readsRows(code string) bool {
	switch code {
	case base.RPCGet, base.RPCTTL, base.RPCMultiGet, base.RPCBatchGet, base.RPCSortkeyCount, base.RPCGetScanner:
		return true
	}
	return false
}

// Collect implements part.Part.
func (sp *splitter) Collect(sn *metrics.Snapshot) {
	for _, r := range sp.srv.all() {
		g := r.gpid
		c := sp.countsOf(g)
		e := sn.Entity(metrics.Replica, g.String(), "table_id", itoa(g.AppID), "partition_id", itoa(g.PartitionIndex))
		e.Set(metricSplitStarted, c.started.Load())
		e.Set(metricSplitOK, c.ok.Load())
		e.Set(metricSplitFailed, c.failed.Load())
		e.Set(metricSplitNoReads, c.noReads.Load())
		e.Set(metricSplitNoWrites, c.noWrites.Load())
	}
	sp.mu.Lock()
	n := len(sp.busy)
	sp.mu.Unlock()
	sn.Entity(metrics.Server, "").Set(metricSplitsUnderWay, int64(n))
}
