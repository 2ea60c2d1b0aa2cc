package state

import (
	"slices"
	"testing"

	"pegasus/base"
)

func TestNodeRoles(t *testing.T) {
	s := New()
	set := func(node Addr, r Role, want base.ErrorCode) {
		t.Helper()
		if res, err := s.Apply(Encode(&SetNodeRole{node, r})); err != nil || res.Err != want {
			t.Fatalf("%v gets role %d: %v, %v", node, r, res.Err, err)
		}
	}
	set(addr(2), RoleLeaving, base.ErrOK)
	set(addr(1), RoleLeaving, base.ErrOK)
	set(addr(3), RoleNoPrimaries, base.ErrOK)
	set(addr(3), 3, base.ErrInvalidParameters)
	set(addr(3), -1, base.ErrInvalidParameters)
	set(0, RoleLeaving, base.ErrInvalidParameters)
	set(addr(2), RoleFull, base.ErrOK)
	again, err := Restore(s.AppendSnapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*State{s, again} {
		if !slices.Equal(s.Roles(), []Addr{addr(3), addr(1)}) || s.Role(addr(1)) != RoleLeaving || s.Role(addr(2)) != RoleFull || s.Role(addr(3)) != RoleNoPrimaries {
			t.Errorf("roles of %v", s.Roles())
		}
	}
	checkSame(t, s)
}
