package bulkload

import (
	"testing"

	"pegasus/base"
	"pegasus/rrdb"
)

// A set that is made while others are looked for is found by the next look.
func TestLeftovers(t *testing.T) {
	var f leftovers
	g, other := base.Gpid{AppID: 1}, base.Gpid{AppID: 2}
	s := new(rrdb.Store)
	if !f.toLook(g, s) || f.toLook(g, s) {
		t.Error("a store is looked at once")
	}
	f.made(g)
	if !f.toLook(g, s) {
		t.Error("a set was made, and isn't looked for")
	}
	// It is made between two steps of a look.
	for i, step := range []func(){func() { f.begin() }, func() { f.only([]base.Gpid{other, g}) }, func() { f.toLook(other, s) }} {
		f.made(g)
		step()
		if !f.toLook(g, s) {
			t.Errorf("step %d: a set was made, and isn't looked for", i)
		}
	}
	if f.toLook(g, s) || !f.toLook(g, new(rrdb.Store)) {
		t.Error("another store took its place")
	}
	f.only([]base.Gpid{other})
	if len(f.clean) != 1 {
		t.Errorf("%d are remembered", len(f.clean))
	}
}
