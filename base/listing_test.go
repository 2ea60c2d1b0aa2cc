package base

import (
	"math"
	"testing"
)

func TestListedID(t *testing.T) {
	for _, count := range []int32{1, 2, 3, 4, 5, 8, 12, 96, 1 << 15, 1 << 16} {
		for _, id := range []int32{1, 2, 1<<14 - 1} {
			told := ListedID(id, count)
			is, l := TableID(told)
			if is != id || told == id || int64(told)*7919+1<<16 > math.MaxInt32 {
				t.Errorf("table %d of %d partitions is told as %d, which is %d", id, count, told, is)
			}
			for _, now := range []int32{count, 2 * count, 4 * count} {
				if c := l.Count(now); c != count {
					t.Errorf("who goes by %d of a table that has %d now goes by %d", count, now, c)
				}
			}
			if c := ListingOf(2 * count).Count(count); c != 2*count {
				t.Errorf("who goes by %d of a table that has %d now goes by %d", 2*count, count, c)
			}
		}
	}
	none := func(int32) bool { return false }
	if !MayList(1, none) || !MayList(1<<14-1, none) {
		t.Error("a table can't be told under another id")
	}
	for _, count := range []int32{1, 2, 4, 8, 16, 32, 64, 128} {
		if MayList(7, func(id int32) bool { return id == ListedID(7, count) }) || !MayList(7, func(id int32) bool { return id == ListedID(8, count) || id == 7 }) {
			t.Errorf("whether a table can be told goes by others than that with its id for %d partitions", count)
		}
	}
	for _, id := range []int32{0, -1, math.MinInt32, 1 << 14, 1 << 24, math.MaxInt32} {
		if got := ListedID(id, 8); got != id || MayList(id, none) {
			t.Errorf("table %d is told as %d", id, got)
		}
	}
	for _, id := range []int32{0, -1, math.MinInt32, 7, 1<<17 - 1, 1 << 17, 1<<17 + 1<<14, 1 << 18, math.MaxInt32} {
		if got, l := TableID(id); got != id || l != 0 {
			t.Errorf("id %d is table %d, %d", id, got, l)
		}
	}
	if Listing(0).Count(8) != 0 || ListingOf(8).Count(0) != 0 || ListingOf(-1) != 0 || ListingOf(4).Count(math.MaxInt32) < 0 {
		t.Error("nothing is known")
	}
}

func TestNextTableID(t *testing.T) {
	for last, want := range map[int32]int32{0: 1, 7: 8, 1<<17 - 2: 1<<17 - 1, 1<<17 - 1: 1 << 18, 1 << 17: 1 << 18, 1 << 18: 1<<18 + 1} {
		if got := NextTableID(last); got != want {
			t.Errorf("after %d comes %d, want %d", last, got, want)
		}
	}
}

func TestChildOf(t *testing.T) {
	for _, n := range []int32{1, 2, 4, 8, 1 << 15} {
		for _, p := range []int32{0, n / 2, n - 1} {
			if parent, count, ok := ListingOf(2 * n).ChildOf(p + n); !ok || parent != p || count != 2*n {
				t.Errorf("partition %d of %d is the child of %d of %d: %v", p+n, 2*n, parent, count, ok)
			}
			if _, _, ok := ListingOf(4 * n).ChildOf(p + n); ok {
				t.Errorf("partition %d of %d is a child", p+n, 4*n)
			}
		}
	}
	for _, l := range []Listing{0, ListingOf(3)} {
		if _, _, ok := l.ChildOf(5); ok {
			t.Errorf("by %d", l)
		}
	}
	if _, _, ok := ListingOf(8).ChildOf(-1); ok {
		t.Error("partition -1")
	}
}
