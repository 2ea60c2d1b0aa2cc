package state

import (
	"testing"

	"pegasus/base"
	"pegasus/base/version"
)

// Ids that base.Listing gives are left out by all members at once, which is when all programs know of it: all have the same tables.
func TestTableIDsByVersion(t *testing.T) {
	for _, x := range []struct {
		v    version.Version
		want int32
	}{{version.Listings.Since() - 1, 1 << 17}, {version.Listings.Since(), 1 << 18}} {
		s := New()
		var last Result
		for _, c := range []Command{&Init{Cluster: "x", Version: x.v, ID: "i"}, &ReserveIDs{Last: 1<<17 - 1}, &CreateTable{Name: "a", Partitions: 1, MaxReplicas: 3}} {
			res, err := s.Apply(Encode(c))
			if err != nil || res.Err != base.ErrOK {
				t.Fatalf("%+v: %v, %v", c, res.Err, err)
			}
			last = res
		}
		if last.TableID != x.want {
			t.Errorf("version %d: the table has id %d, want %d", x.v, last.TableID, x.want)
		}
	}
}
