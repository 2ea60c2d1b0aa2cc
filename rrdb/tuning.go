package rrdb

import (
	"math"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base/appenv"
	"pegasus/base/config"
)

// Tuning is what of a table's settings the engine takes when it is opened, and cannot change
// while it runs. A store whose table is set otherwise has to be opened anew, see TuningOf.
type Tuning struct {
	Scenario    appenv.Scenario
	WriteBuffer int64 // bytes; 0: the server's
}

// TuningOf returns what the table's settings ask for.
func TuningOf(envs map[string]string) Tuning {
	v, _ := appenv.Parse(envs)
	return Tuning{v.Scenario, v.WriteBuffer}
}

// Tuning returns what the store was opened with.
func (s *Store) Tuning() Tuning { return s.opts.Tuning }

// memtable returns at how many bytes a memtable is flushed. A table's wish goes up to half of
// what the server has for all memtables.
func (t Tuning) memtable(cfg *config.Storage) int64 {
	n := max(cfg.MemtableBytes, 256<<10)
	most := max(n, cfg.MemtablesBytes/2)
	if t.WriteBuffer > 0 {
		n = t.WriteBuffer
	}
	switch t.Scenario {
	case appenv.PreferWrite:
		n += n / 2
	case appenv.BulkLoad:
		n *= 4
	}
	return min(n, most)
}

const (
	baseLevel = 64 << 20 // bytes of the first level below 0
	// usualRuns is from how many sorted runs level 0 is compacted, stalledRuns from how many
	// writes wait for that.
	usualRuns, stalledRuns = 4, 60
)

// apply sets the engine's options.
//
//   - normal: memtables of the server's size, level 0 is compacted from 4 sorted runs on.
//   - prefer_write: memtables half as large again, and twice as many runs or more: fewer and
//     larger compactions; reads look at more runs.
//   - bulk_load: memtables four times as large, no compaction but those asked for, and no
//     write waits for one. When the scenario ends the engine catches up.
func (t Tuning) apply(o *pebble.Options, cfg *config.Storage) {
	size := t.memtable(cfg)
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
