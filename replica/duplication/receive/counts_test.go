package receive

import (
	"testing"
	"time"

	"pegasus/rrdb"
)

// A write that can't be applied is counted once, however often it is sent, as long as there aren't very many.
func TestLostOnce(t *testing.T) {
	var c Counts
	add := func(want int64, ids ...uint64) {
		t.Helper()
		c.add(&rrdb.Duplicated{Writes: len(ids), Lost: len(ids), LostIDs: ids}, time.Unix(1, 0))
		if got := c.lost.Load(); got != want {
			t.Errorf("%d are lost, want %d", got, want)
		}
	}
	add(2, 1, 2)
	add(3, 2, 3, 3)
	add(3, 1, 2, 3)
	var many []uint64
	for i := range onceIDs {
		many = append(many, uint64(10+i))
	}
	add(3+onceIDs, many...)
	add(3+onceIDs, many...)
	add(4+onceIDs, 1) // forgotten
	if len(c.lostOnce.seen) != onceIDs || len(c.lostOnce.ids) != onceIDs {
		t.Errorf("%d and %d are remembered", len(c.lostOnce.seen), len(c.lostOnce.ids))
	}
}
