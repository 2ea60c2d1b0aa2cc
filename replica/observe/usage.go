package observe

import (
	"math/bits"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/metrics"
	"pegasus/replica/observe/hotkey"
	"pegasus/rrdb"
)

// Replica is what is observed of one replica.
type Replica struct {
	Gpid base.Gpid
	Log  *logrus.Entry
	// Ops counts requests and samples their latency.
	Ops metrics.Ops

	readUnits, writeUnits atomic.Int64
	bytes                 [metrics.NumOps]atomic.Int64
	backupReads           atomic.Int64 // by requests that any member answers
	backupBytes           atomic.Int64 // that these returned
	expired, filtered     atomic.Int64 // rows that reads found and didn't answer
	tooLarge              atomic.Int64
	abnormal              atomic.Int64 // reads that reached a limit
	reads, writes         keyUse
}

// keyUse follows the hash keys of the reads or of the writes.
type keyUse struct {
	sketch  hotkey.Sketch
	collect hotkey.Collector
}

// add counts a request for weight rows of a hash key.
func (k *keyUse) add(hashKey []byte, weight int, sampled, collecting bool) {
	if sampled {
		k.sketch.Add(hashKey, weight)
	}
	if collecting {
		k.collect.Capture(hashKey, weight)
	}
}

// unitShifts are the sizes of capacity units, as powers of two.
type unitShifts struct{ read, write uint }

func shiftsOf(o *Options) unitShifts {
	log := func(n int64) uint { return uint(bits.Len64(uint64(n)) - 1) }
	return unitShifts{log(o.ReadUnit), log(o.WriteUnit)}
}

// units returns how many units of 1<<shift bytes n bytes are: at least one.
func units(n int64, shift uint) int64 { return max(1, (n+1<<shift-1)>>shift) }

// OpOf returns the number of a client's RPC.
func OpOf(code string) metrics.Op {
	op, _ := ClientOp(code)
	return op
}

// ClientOp returns the number of a client's RPC, and whether it is one.
func ClientOp(code string) (metrics.Op, bool) {
	switch code {
	case base.RPCGet:
		return metrics.OpGet, true
	case base.RPCPut:
		return metrics.OpPut, true
	case base.RPCTTL:
		return metrics.OpTTL, true
	case base.RPCMultiGet:
		return metrics.OpMultiGet, true
	case base.RPCBatchGet:
		return metrics.OpBatchGet, true
	case base.RPCSortkeyCount:
		return metrics.OpSortKeyCount, true
	case base.RPCMultiPut:
		return metrics.OpMultiPut, true
	case base.RPCRemove:
		return metrics.OpRemove, true
	case base.RPCMultiRemove:
		return metrics.OpMultiRemove, true
	case base.RPCIncr:
		return metrics.OpIncr, true
	case base.RPCCheckAndSet:
		return metrics.OpCheckAndSet, true
	case base.RPCCheckAndMutate:
		return metrics.OpCheckAndMutate, true
	case base.RPCDuplicate:
		return metrics.OpDuplicate, true
	}
	return metrics.OpScan, code == base.RPCGetScanner || code == base.RPCScan || code == base.RPCClearScanner
}

// Read counts a read that is about to be answered, and returns how many bytes it counts for
// where reads are limited by their size. What is answered counts: values that the client
// didn't want don't. A read costs at least one unit.
func (o *Observer) Read(r *Replica, op metrics.Op, t *rrdb.Touched, backup bool) (size int64) {
	if sampled, collecting := hotkey.Sampled(), r.reads.collect.Active(); sampled || collecting {
		t.HashKeys(func(h []byte, rows int) { r.reads.add(h, rows, sampled, collecting) })
	}
	if backup {
		r.backupReads.Add(1)
	}
	if h := t.Hidden; h != (rrdb.Hidden{}) {
		r.expired.Add(int64(h.Expired))
		r.filtered.Add(int64(h.Filtered))
	}
	size = int64(t.Out)
	bytes := size
	counts := t.Status == base.StoreOK || t.Status == base.StoreNotFound
	switch op {
	case metrics.OpGet:
		if t.Status != base.StoreOK {
			bytes = int64(t.In)
		}
	case metrics.OpTTL, metrics.OpSortKeyCount:
		size, bytes = 1, 1
	case metrics.OpMultiGet: // each row is counted with its hash key, but for the bytes
		size += int64(t.Rows) * int64(len(t.HashKey))
		bytes += int64(len(t.HashKey))
		fallthrough
	default:
		counts = counts || t.Status == base.StoreIncomplete || t.Status == base.StoreInvalidArgument
	}
	if counts || op == metrics.OpGet || op == metrics.OpMultiGet || op == metrics.OpBatchGet {
		r.bytes[op].Add(bytes)
		if backup {
			r.backupBytes.Add(bytes)
		}
	}
	if !counts {
		return 0
	}
	size = max(size, 1)
	r.readUnits.Add(units(size, o.units.read))
	return size
}

// Write counts a write that was evaluated.
func (o *Observer) Write(r *Replica, op metrics.Op, t *rrdb.Touched) {
	if t.Rows > 0 {
		if sampled, collecting := hotkey.Sampled(), r.writes.collect.Active(); sampled || collecting {
			r.writes.add(t.HashKey, t.Rows, sampled, collecting)
		}
	}
	n := int64(t.In)
	bytes := n
	if t.Rows > 1 {
		bytes -= int64(t.Rows-1) * int64(len(t.HashKey)) // it counts once
	}
	switch op {
	case metrics.OpCheckAndSet, metrics.OpCheckAndMutate:
		if t.Status != base.StoreOK && t.Status != base.StoreInvalidArgument && t.Status != base.StoreTryAgain {
			return
		}
		r.readUnits.Add(units(int64(len(t.HashKey)+t.Checked), o.units.read))
		bytes += int64(t.Checked)
	case metrics.OpIncr:
		if t.Status != base.StoreOK && t.Status != base.StoreInvalidArgument {
			return
		}
		r.readUnits.Add(1)
		n = 0
	}
	if t.Status == base.StoreOK {
		r.bytes[op].Add(bytes)
		r.writeUnits.Add(units(n, o.units.write))
	}
}

// TooLarge counts a write that was refused for its size.
func (r *Replica) TooLarge() { r.tooLarge.Add(1) }

// counted are the operations that have a metric of their bytes.
var counted = []metrics.Op{metrics.OpGet, metrics.OpMultiGet, metrics.OpBatchGet, metrics.OpScan, metrics.OpPut, metrics.OpMultiPut,
	metrics.OpCheckAndSet, metrics.OpCheckAndMutate}

// Counts are what a Replica has counted since it was opened.
type Counts struct {
	ReadUnits, WriteUnits int64
	Bytes                 [metrics.NumOps]int64
	Abnormal              int64 // reads that reached a limit
}

// Counts returns them.
func (r *Replica) Counts() Counts {
	c := Counts{ReadUnits: r.readUnits.Load(), WriteUnits: r.writeUnits.Load(), Abnormal: r.abnormal.Load()}
	for op := range r.bytes {
		c.Bytes[op] = r.bytes[op].Load()
	}
	return c
}

// Collect adds the metrics of the replica to its entity.
func (r *Replica) Collect(e *metrics.Entity) {
	c := r.Counts()
	r.Ops.Collect(e)
	e.Set(metrics.ReadUnits, c.ReadUnits)
	e.Set(metrics.WriteUnits, c.WriteUnits)
	for _, op := range counted {
		e.Set(metrics.OpBytes[op], c.Bytes[op])
	}
	e.Set(metrics.BackupReads, r.backupReads.Load())
	e.Set(metrics.BackupBytes, r.backupBytes.Load())
	e.Set(metrics.ExpiredReads, r.expired.Load())
	e.Set(metrics.FilteredReads, r.filtered.Load())
	e.Set(metrics.TooLargeWrites, r.tooLarge.Load())
	e.Set(metrics.AbnormalReads, c.Abnormal)
	for _, k := range []struct {
		use         *keyUse
		rate, share *metrics.Metric
	}{{&r.reads, metrics.HotReadRate, metrics.HotReadShare}, {&r.writes, metrics.HotWriteRate, metrics.HotWriteShare}} {
		var hot hotkey.Key
		if t := k.use.sketch.Top(); len(t.Keys) > 0 {
			hot = t.Keys[0]
		}
		e.Set(k.rate, int64(hot.PerSecond))
		e.Set(k.share, int64(hot.Share*100))
	}
}
