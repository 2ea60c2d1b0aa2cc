package rrdb

import (
	"fmt"
	"strings"
	"testing"

	"pegasus/base/config"
)

func TestNextMemtable(t *testing.T) {
	if nextSizeAt < 0 {
		t.Error("pebble.DB is not what it was: memtables no longer shrink, see memtablesize.go")
	}
	for _, c := range []struct {
		held  int64
		short bool
		most  int64
		want  uint64
	}{
		{0, false, 16 << 20, 256 << 10}, {256 << 10, false, 16 << 20, 256 << 10}, {256<<10 + 1, false, 16 << 20, 512 << 10},
		{3 << 20, false, 16 << 20, 4 << 20}, {3 << 20, true, 16 << 20, 2 << 20}, {100 << 20, false, 16 << 20, 16 << 20},
		{1 << 20, true, 300 << 10, 300 << 10},
	} {
		if got := nextMemtable(c.held, c.short, c.most); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestMemtablesShrink: many stores that were busy one after the other keep within the budget
// together, also in what they have allocated.
func TestMemtablesShrink(t *testing.T) {
	const budget = 8 << 20
	shared, stores := openStores(t, 16, func(c *config.Storage) { c.MemtableBytes, c.MemtablesBytes = 4<<20, budget })
	value := strings.Repeat("v", 16<<10)
	for _, s := range stores {
		for i := range 200 {
			applyValue(t, s, fmt.Sprint(i), value)
		}
		// How far it is exceeded while a store writes is up to how fast flushes are, but they
		// catch up with each store, also with those that write no more.
		waitFor(t, "flushes to keep up", func() bool { return shared.Metrics().MemtableReserved <= budget+budget/2 })
	}
	waitFor(t, "the budget to be kept", func() bool { return shared.Metrics().MemtableReserved <= budget })
}
