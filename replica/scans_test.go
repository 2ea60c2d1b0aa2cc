package replica

import (
	"testing"
	"time"

	"pegasus/base"
)

// Over a connection that isn't newer than the cut scans of whole partitions are refused for some time, once for each table and count.
func TestScanNote(t *testing.T) {
	now := time.Unix(1000, 0)
	if !mayBeOlder(now.Add(-time.Hour), now) || !mayBeOlder(now.Add(scannerAge-1), now) || mayBeOlder(now.Add(scannerAge), now) {
		t.Error("which connections may have scans from before a cut")
	}
	n := new(scanNote)
	begins := func(after time.Duration, count, partitions int32, old bool, want base.ErrorCode) {
		t.Helper()
		now = now.Add(after)
		if got := n.begins(now, count, partitions, old); got != want {
			t.Errorf("count %d of %d, old %v: %v, want %v", count, partitions, old, got, want)
		}
	}
	begins(0, 0, 4, false, base.ErrOK)
	begins(0, 8, 8, false, base.ErrOK) // a newer connection
	begins(0, 8, 8, true, base.ErrParentPartitionMisused)
	for range 4 { // the same, or another partition
		begins(scanDoubt/5, 8, 8, true, base.ErrParentPartitionMisused)
	}
	begins(0, 0, 4, false, base.ErrSplitting) // a partition that isn't cut yet
	begins(scanDoubt/5, 8, 8, true, base.ErrOK)
	begins(0, 0, 4, false, base.ErrSplitting)
	begins(0, 8, 8, true, base.ErrOK)
	begins(0, 16, 16, true, base.ErrParentPartitionMisused) // the next split
	begins(scanPause, 16, 16, true, base.ErrOK)             // not the same call
	begins(0, 8, 16, true, base.ErrOK)                      // was cut when there were 8, and knows of 16
	n.older = now                                           // a scan from before it goes on
	begins(scanDoubt-1, 16, 16, true, base.ErrParentPartitionMisused)
	begins(0, 16, 16, false, base.ErrParentPartitionMisused)
	begins(1, 16, 16, true, base.ErrOK)
}
