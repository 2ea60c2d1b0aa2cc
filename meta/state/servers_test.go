package state

import (
	"slices"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
)

// A named server that moves takes its partitions, its role and its past with it, and one whose address another
// one has got is parked, whole, until it moves.
func TestPlaceServer(t *testing.T) {
	s := New()
	do := func(want base.ErrorCode, c Command) {
		t.Helper()
		if res, err := s.Apply(Encode(c)); err != nil || res.Err != want {
			t.Fatalf("%+v: %v, %v", c, res.Err, err)
		}
	}
	a, b, c, d, e := addr(1), addr(2), addr(3), addr(4), addr(5)
	do(base.ErrOK, &Init{Cluster: "x", Quorum: "q", Version: version.Newest, ID: "i"})
	do(base.ErrOK, &CreateTable{Name: "t", Type: "pegasus", Partitions: 2, MaxReplicas: 3})
	g := base.Gpid{AppID: 1}
	change := func(ballot int64, adds Addr, primary Addr, secondaries ...Addr) {
		t.Helper()
		res, err := s.Apply(Encode(&ChangeConfigs{[]Change{{Gpid: g, Config: Config{Ballot: ballot, Primary: primary, Secondaries: secondaries}, Adds: adds}}}))
		if err != nil || res.Changes[0].Err != base.ErrOK {
			t.Fatalf("ballot %d: %+v, %v", ballot, res, err)
		}
	}
	change(1, 0, a)
	change(2, b, a, b)
	change(3, c, a, b, c)
	do(base.ErrOK, &SetNodeRole{b, RoleNoPrimaries})
	do(base.ErrOK, &PlaceServer{Name: "b:1", ID: "ib", Addr: b})
	do(base.ErrOK, &PlaceServer{Name: "c:1", ID: "ic", Addr: c})
	do(base.ErrInvalidParameters, &PlaceServer{Name: "b:1", Addr: d, Was: b})
	do(base.ErrInvalidState, &PlaceServer{Name: "b:1", ID: "ib", Addr: d, Was: e}) // decided on what isn't so any more
	do(base.ErrInvalidState, &PlaceServer{Name: "b:1", ID: "ib", Addr: d})
	do(base.ErrInvalidState, &PlaceServer{Name: "b:1", ID: "ib", Addr: a, Was: b}) // a has no name, and is a member

	do(base.ErrOK, &PlaceServer{Name: "b:1", ID: "ib", Addr: d, Was: b})
	is := func(ballot int64, primary Addr, secondaries ...Addr) {
		t.Helper()
		_, cfg, _ := s.Config(g)
		if cfg.Ballot != ballot || cfg.Primary != primary || !slices.Equal(cfg.Secondaries, secondaries) {
			t.Fatalf("it is %+v", cfg)
		}
		checkSame(t, s)
	}
	is(4, a, d, c)
	if s.Role(d) != RoleNoPrimaries || s.Role(b) != RoleFull || len(s.PartitionsOf(b)) != 0 || !slices.Equal(s.PartitionsOf(d), []base.Gpid{g}) || s.Load(d).Replicas != 1 {
		t.Errorf("roles %v, partitions %v and %v", s.Roles(), s.PartitionsOf(b), s.PartitionsOf(d))
	}
	if _, cfg, _ := s.Config(base.Gpid{AppID: 1, PartitionIndex: 1}); cfg.Ballot != 0 {
		t.Error("a partition that it is no member of has another ballot")
	}

	// c gets the address of b, and b that of c: first b is where nobody is.
	do(base.ErrOK, &PlaceServer{Name: "c:1", ID: "ic", Addr: d, Was: c})
	parked, _ := s.Named("b:1")
	if !Parked(parked.Addr) || Parked(d) || Parked(0) || Parked(2) {
		t.Fatalf("it is at %v", parked.Addr)
	}
	is(6, a, parked.Addr, d)
	do(base.ErrOK, &PlaceServer{Name: "b:1", ID: "ib", Addr: c, Was: parked.Addr})
	is(7, a, c, d)
	if s.Role(c) != RoleNoPrimaries || len(s.Roles()) != 1 {
		t.Errorf("roles of %v", s.Roles())
	}

	// A former member is one under the new address, and a server can get another name where it is.
	change(8, 0, a, d)
	do(base.ErrOK, &PlaceServer{Name: "b2:1", ID: "ib", Addr: c})
	if _, ok := s.Named("b:1"); ok {
		t.Error("it has two names")
	}
	do(base.ErrOK, &PlaceServer{Name: "b2:1", ID: "ib", Addr: e, Was: c})
	if _, cfg, _ := s.Config(g); !slices.Equal(cfg.LastDrops, []Addr{e}) || cfg.Ballot != 8 {
		t.Errorf("%+v", cfg)
	}
	// Its data was lost, and it begins anew.
	do(base.ErrOK, &PlaceServer{Name: "b2:1", ID: "new", Addr: e, Was: e})
	if n, ok := s.NamedAt(e); !ok || n.ID != "new" {
		t.Errorf("%+v", n)
	}
	// A dropped table comes back with the server where it is now.
	do(base.ErrOK, &DropTable{ID: 1, Now: 100, Expire: 1000})
	do(base.ErrOK, &PlaceServer{Name: "c:1", ID: "ic", Addr: c, Was: d})
	do(base.ErrOK, &RecallTable{ID: 1, Name: "t"})
	if !slices.Equal(s.PartitionsOf(c), []base.Gpid{g}) || len(s.PartitionsOf(d)) != 0 {
		t.Errorf("it has %v", s.PartitionsOf(c))
	}
	checkSame(t, s)
}
