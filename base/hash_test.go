package base

import "testing"

// Each hash belongs to the one partition that clients send it to, whatever the number of partitions.
func TestInPartition(t *testing.T) {
	hashes := []uint64{0, 1, 5, 6, 7, 1 << 31, 1<<63 + 3, 1<<64 - 1}
	for count := int32(1); count < 70; count++ {
		for _, h := range hashes {
			for i := range count {
				if got, want := InPartition(h, i, count), h%uint64(count) == uint64(i); got != want {
					t.Errorf("hash %d in partition %d of %d: %v", h, i, count, got)
				}
				if count&(count-1) == 0 && InPartition(h, i, count) != (h&uint64(count-1) == uint64(i)) {
					t.Errorf("hash %d, %d partitions: differs from upstream's mask", h, count)
				}
			}
		}
	}
	if InPartition(1, 0, 0) {
		t.Error("a table without partitions has rows")
	}
}
