package engine

import "testing"

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
