package state

import (
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Role is what an administrator lets a node have.
type Role int32

// The roles.
const (
	RoleFull        Role = 0
	RoleNoPrimaries Role = 1 // it is about to be restarted
	RoleLeaving     Role = 2 // it is being taken out
)

// SetNodeRole gives a node, known or not, a role; base.ErrInvalidParameters if there is no
// such role or node.
type SetNodeRole struct {
	Node Addr
	Role Role
}

// Role returns the role of a node, RoleFull if none was given.
func (s *State) Role(a Addr) Role { return s.roles[a] }

// Roles returns the nodes that have another role than RoleFull, in ascending order.
func (s *State) Roles() []Addr {
	return slices.Concat(s.withRole(RoleNoPrimaries), s.withRole(RoleLeaving))
}

func (s *State) withRole(r Role) (list []Addr) {
	for a, is := range s.roles {
		if is == r {
			list = append(list, a)
		}
	}
	slices.Sort(list)
	return list
}

func (c *SetNodeRole) apply(s *State) Result {
	if c.Role < RoleFull || c.Role > RoleLeaving || c.Node == 0 {
		return failed(base.ErrInvalidParameters)
	}
	if c.Role == RoleFull {
		delete(s.roles, c.Node)
	} else {
		s.roles[c.Node] = c.Role
	}
	return Result{Err: base.ErrOK}
}

func (c *SetNodeRole) appendFields(b []byte) []byte {
	return appendI64(appendI64(b, 1, int64(c.Node)), 2, int64(c.Role))
}

func (c *SetNodeRole) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Node = Addr(r.I64())
	case field{2, tbin.I64}:
		c.Role = Role(r.I64())
	default:
		r.Skip(t)
	}
}

func (s *State) readRoles(r *tbin.Reader, role Role) {
	for _, a := range readAddrs(r) {
		if a == 0 || s.roles[a] != RoleFull {
			r.Fail(tbin.ErrMalformed)
			return
		}
		s.roles[a] = role
	}
}
