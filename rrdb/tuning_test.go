package rrdb

import (
	"fmt"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base/appenv"
)

func TestTuning(t *testing.T) {
	for _, c := range []struct {
		envs          map[string]string
		memtable      uint64
		compact, stop int
		manual        bool
	}{
		{nil, 16 << 20, 4, 60, false},
		{map[string]string{appenv.UsageScenario: "normal"}, 16 << 20, 4, 60, false},
		{map[string]string{appenv.UsageScenario: "rubbish", appenv.WriteBufferSize: "1"}, 16 << 20, 4, 60, false},
		{map[string]string{appenv.WriteBufferSize: "33554432"}, 32 << 20, 4, 60, false},
		{map[string]string{appenv.WriteBufferSize: "536870912"}, 128 << 20, 4, 60, false},
		{map[string]string{appenv.UsageScenario: "prefer_write"}, 24 << 20, 8, 60, false},
		{map[string]string{appenv.UsageScenario: "bulk_load"}, 64 << 20, 4, math.MaxInt32, true},
		{map[string]string{appenv.UsageScenario: "bulk_load", appenv.WriteBufferSize: "67108864"}, 128 << 20, 4, math.MaxInt32, true},
	} {
		var o pebble.Options
		tuning := TuningOf(c.envs)
		tuning.apply(&o, tuning.memtable(16<<20, 256<<20))
		if o.MemTableSize != c.memtable || o.L0CompactionThreshold != c.compact || o.L0StopWritesThreshold != c.stop || o.DisableAutomaticCompactions != c.manual {
			t.Errorf("%v: memtable %d, level 0 is compacted from %d runs on and stalls at %d, compactions off: %t", c.envs,
				o.MemTableSize, o.L0CompactionThreshold, o.L0StopWritesThreshold, o.DisableAutomaticCompactions)
		}
	}
}

// While rows are loaded nothing is compacted; afterwards Pebble catches up.
func TestBulkLoad(t *testing.T) {
	h := newHarness(t, nil)
	h.close()
	tuned := func(scenario string) {
		t.Helper()
		o := h.options()
		o.Tuning = TuningOf(map[string]string{appenv.UsageScenario: scenario})
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		h.store, h.ov, h.decree = s, NewOverlay(), s.LastApplied()
	}
	runs := func() int { return int(h.store.Metrics().Levels[0].Sublevels) }
	tuned("bulk_load")
	for i := range 12 {
		for k := range 20 {
			h.put("h", fmt.Sprint(k), fmt.Sprint(i, string(make([]byte, 1000))), 0)
		}
		h.flush()
	}
	if n := runs(); n < 12 {
		t.Errorf("level 0 has %d sorted runs, want 12 at least", n)
	}
	if h.store.WouldStall() {
		t.Error("the store is behind though it need not compact")
	}
	h.close()
	tuned("normal")
	h.put("h", "more", "v", 0)
	h.flush()
	waitFor(t, "level 0 is compacted", func() bool { return runs() < usualRuns })
	for k := range 20 {
		if _, live := h.expiry("h", fmt.Sprint(k)); !live {
			t.Errorf("row %d is gone", k)
		}
	}
}
