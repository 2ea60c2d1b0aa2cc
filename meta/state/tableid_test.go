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

// A table isn't told under an id that another one has, or had: available, dropped, forgotten.
func TestMayList(t *testing.T) {
	s := New()
	apply := func(c Command) Result {
		t.Helper()
		res, err := s.Apply(Encode(c))
		if err != nil || res.Err != base.ErrOK {
			t.Fatalf("%+v: %v, %v", c, res.Err, err)
		}
		return res
	}
	may := func(when string, one, two bool) {
		t.Helper()
		if s.MayList(1) != one || s.MayList(2) != two || s.MayList(base.ListedID(2, 8)) {
			t.Errorf("%s: table 1 may be told: %v, table 2: %v, the other one: %v", when, s.MayList(1), s.MayList(2), s.MayList(base.ListedID(2, 8)))
		}
	}
	apply(&Init{Cluster: "x", Version: version.Listings.Since() - 1, ID: "i"})
	apply(&CreateTable{Name: "one", Partitions: 4, MaxReplicas: 3})
	apply(&CreateTable{Name: "two", Partitions: 4, MaxReplicas: 3})
	may("at first", true, true)
	apply(&ReserveIDs{Last: base.ListedID(2, 8) - 1})
	id := apply(&CreateTable{Name: "other", Partitions: 4, MaxReplicas: 3}).TableID
	may("a table has the id", true, false)
	apply(&DropTable{ID: id, Now: 10, Expire: 20})
	may("it is dropped", true, false)
	apply(&PurgeTables{IDs: []int32{id}, Before: 30})
	if s.Table(id) != nil {
		t.Fatal("the table isn't forgotten")
	}
	may("it is forgotten", true, false)
}
