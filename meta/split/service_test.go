package split

import (
	"slices"
	"testing"

	"pegasus/base"
)

// Servers take part in one switch at a time; what failed comes after the others.
func TestChoose(t *testing.T) {
	s := New(nil, Options{})
	at := func(p int32, given bool, members ...base.RPCAddress) order {
		return order{parent: base.Gpid{AppID: 1, PartitionIndex: p}, count: 8, primary: members[0], members: members, given: given}
	}
	all := []order{at(0, false, 1, 2, 3), at(1, false, 3, 4, 5), at(2, false, 4, 5, 6), at(3, false, 6, 1, 2)}
	waits := map[base.Gpid]string{}
	choose := func(given int, want ...int32) {
		t.Helper()
		var got []int32
		clear(waits)
		for _, o := range s.choose(slices.Clone(all), given, waits) {
			got = append(got, o.parent.PartitionIndex)
			all[o.parent.PartitionIndex].given = true
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	choose(0, 0, 2)
	if n := len(waits); n != 2 || s.waits[all[1].parent] == "" {
		t.Errorf("%v, %v", waits, s.waits)
	}
	choose(2)
	s.end(all[2].parent, "it failed")
	choose(atATime, 2) // so many were ordered, it among them
	s.end(all[2].parent, "it failed")
	s.end(all[0].parent, "it failed")
	choose(2, 1, 3)
	s.end(all[1].parent, "it failed")
	s.end(all[3].parent, "it failed")
	choose(4, 0, 2)
	if s.waits[all[3].parent] != "it failed" {
		t.Errorf("%v", s.waits)
	}
}
