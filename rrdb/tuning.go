package rrdb

import (
	"math"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base/appenv"
)

// Tuning holds the settings of a table that Pebble takes only when it is opened. When they change the store
// has to be opened again, see TuningOf.
type Tuning struct {
	Scenario    appenv.Scenario
	WriteBuffer int64 // bytes; 0: the server's
}

// TuningOf returns the tuning in a table's environments.
func TuningOf(envs map[string]string) Tuning {
	v, _ := appenv.Parse(envs)
	return Tuning{v.Scenario, v.WriteBuffer}
}

// memtable returns the size at which a memtable is flushed. serverSize is the server's setting, total the
// memory of all memtables; a table may set up to half of total.
func (t Tuning) memtable(serverSize, total int64) int64 {
	n := max(serverSize, 256<<10)
	limit := max(n, total/2)
	if t.WriteBuffer > 0 {
		n = t.WriteBuffer
	}
	switch t.Scenario {
	case appenv.PreferWrite:
		n += n / 2
	case appenv.BulkLoad:
		n *= 4
	}
	return min(n, limit)
}

const (
	baseLevel = 64 << 20 // bytes of the first level below 0
	// Numbers of sorted runs in level 0 from which it is compacted, and from which writes wait.
	usualRuns, stalledRuns = 4, 60
)

// apply sets Pebble's options, for memtables of size bytes.
//
//   - normal: memtables of the server's size, level 0 is compacted from 4 sorted runs on.
//   - prefer_write: memtables 1.5 times as large and at least twice as many runs: fewer and larger
//     compactions, but reads look at more runs.
//   - bulk_load: memtables four times as large, only manual compactions, and no write waits for one.
//     Pebble catches up when the scenario ends.
func (t Tuning) apply(o *pebble.Options, size int64) {
	o.MemTableSize = uint64(size)
	o.MemTableStopWritesThreshold = 4
	o.LBaseMaxBytes = baseLevel
	o.L0CompactionThreshold = usualRuns
	o.L0StopWritesThreshold = stalledRuns
	switch t.Scenario {
	case appenv.PreferWrite:
		o.L0CompactionThreshold = max(2*usualRuns, int(min(baseLevel/size, stalledRuns/2)))
	case appenv.BulkLoad:
		o.DisableAutomaticCompactions = true
		o.L0StopWritesThreshold = math.MaxInt32
	}
}
