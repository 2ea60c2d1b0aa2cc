package state

import (
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// placement is what administrators want of where replicas are.
type placement struct {
	roles map[Addr]Role // other than RoleFull
	run   Run           // the last one
}

func newPlacement() placement { return placement{roles: map[Addr]Role{}} }

var placementFeature = feature{
	name: "placement",
	commands: []command{
		newCommand[SetNodeRole](20, version.First),
		newCommand[StartRun](21, version.First),
		newCommand[EndRun](22, version.First),
	},
	sections: []section{
		roleSection(20, RoleNoPrimaries),
		roleSection(21, RoleLeaving),
		structSection(22, version.First, func(s *State) resettable { return &s.placement.run }),
	},
}

func roleSection(id int16, role Role) section {
	return section{id, tbin.List, version.First,
		func(s *State, b []byte, id int16) []byte { return appendAddrs(b, id, s.placement.withRole(role)) },
		func(s *State, r *tbin.Reader) { s.placement.readRoles(r, role) }}
}

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
func (s *State) Role(a Addr) Role { return s.placement.roles[a] }

// Roles returns the nodes that have another role than RoleFull, in ascending order.
func (s *State) Roles() []Addr {
	return slices.Concat(s.placement.withRole(RoleNoPrimaries), s.placement.withRole(RoleLeaving))
}

func (s *placement) withRole(r Role) (list []Addr) {
	for a, is := range s.roles {
		if is == r {
			list = append(list, a)
		}
	}
	slices.Sort(list)
	return list
}

func (s *placement) readRoles(r *tbin.Reader, role Role) {
	for _, a := range readAddrs(r) {
		if a == 0 || s.roles[a] != RoleFull {
			r.Fail(tbin.ErrMalformed)
			return
		}
		s.roles[a] = role
	}
}

func (c *SetNodeRole) apply(s *State) Result {
	if c.Role < RoleFull || c.Role > RoleLeaving || c.Node == 0 {
		return failed(base.ErrInvalidParameters)
	}
	if c.Role == RoleFull {
		delete(s.placement.roles, c.Node)
	} else {
		s.placement.roles[c.Node] = c.Role
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
		unknownField(r, id)
	}
}

// Run is a rebalancing that an administrator asked for. It stands in the State so that a
// new leader carries it on.
type Run struct {
	ID            int64 // counts runs from 1
	Table         int32 // 0: all
	PrimariesOnly bool
	Began         int64 // Unix seconds
	// Of one that has ended: when (0: it goes on), why, and what it came to.
	Ended               int64
	Why                 string
	Done, Failed, Bytes int64
}

// Active tells whether the run has begun and not ended.
func (r *Run) Active() bool { return r.ID != 0 && r.Ended == 0 }

// StartRun begins a Run of a table, 0: of all. base.ErrBusy if one goes on; the table has to
// be available.
type StartRun struct {
	Table         int32
	PrimariesOnly bool
	Now           int64 // Unix seconds
}

// EndRun ends the Run of that id; base.ErrInvalidState if it isn't the one that goes on.
type EndRun struct {
	ID                  int64
	Now                 int64 // Unix seconds
	Why                 string
	Done, Failed, Bytes int64
}

// Run returns the last Run, the zero value if there never was one.
func (s *State) Run() Run { return s.placement.run }

func (c *StartRun) apply(s *State) Result {
	if s.placement.run.Active() {
		return failed(base.ErrBusy)
	}
	if c.Table != 0 {
		if t, code := s.tables.available(c.Table); t == nil {
			return failed(code)
		}
	}
	s.placement.run = Run{ID: s.placement.run.ID + 1, Table: c.Table, PrimariesOnly: c.PrimariesOnly, Began: c.Now}
	return Result{Err: base.ErrOK, TableID: c.Table}
}

func (c *EndRun) apply(s *State) Result {
	r := &s.placement.run
	if !r.Active() || c.ID != r.ID {
		return failed(base.ErrInvalidState)
	}
	r.Ended, r.Why, r.Done, r.Failed, r.Bytes = max(c.Now, 1), c.Why, c.Done, c.Failed, c.Bytes
	return Result{Err: base.ErrOK}
}

func (c *StartRun) appendFields(b []byte) []byte {
	r := Run{Table: c.Table, PrimariesOnly: c.PrimariesOnly, Began: c.Now}
	return r.appendFields(b)
}

func (c *StartRun) readField(r *tbin.Reader, t tbin.Type, id int16) {
	run := Run{Table: c.Table, PrimariesOnly: c.PrimariesOnly, Began: c.Now}
	run.readField(r, t, id)
	c.Table, c.PrimariesOnly, c.Now = run.Table, run.PrimariesOnly, run.Began
}

func (c *EndRun) appendFields(b []byte) []byte {
	r := Run{ID: c.ID, Ended: c.Now, Why: c.Why, Done: c.Done, Failed: c.Failed, Bytes: c.Bytes}
	return r.appendFields(b)
}

func (c *EndRun) readField(r *tbin.Reader, t tbin.Type, id int16) {
	run := Run{ID: c.ID, Ended: c.Now, Why: c.Why, Done: c.Done, Failed: c.Failed, Bytes: c.Bytes}
	run.readField(r, t, id)
	*c = EndRun{ID: run.ID, Now: run.Ended, Why: run.Why, Done: run.Done, Failed: run.Failed, Bytes: run.Bytes}
}

func (v *Run) empty() bool { return v.ID == 0 }

func (v *Run) reset() { *v = Run{} }

func (v *Run) appendFields(b []byte) []byte {
	b = appendI64(b, 1, v.ID)
	b = appendI64(b, 2, int64(v.Table))
	b = appendBool(b, 3, v.PrimariesOnly)
	b = appendI64(b, 4, v.Began)
	b = appendI64(b, 5, v.Ended)
	b = appendString(b, 6, v.Why)
	b = appendI64(b, 7, v.Done)
	b = appendI64(b, 8, v.Failed)
	return appendI64(b, 9, v.Bytes)
}

func (v *Run) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		v.ID = r.I64()
	case field{2, tbin.I64}:
		v.Table = int32(r.I64())
	case field{3, tbin.Bool}:
		v.PrimariesOnly = r.Bool()
	case field{4, tbin.I64}:
		v.Began = r.I64()
	case field{5, tbin.I64}:
		v.Ended = r.I64()
	case field{6, tbin.String}:
		v.Why = r.String()
	case field{7, tbin.I64}:
		v.Done = r.I64()
	case field{8, tbin.I64}:
		v.Failed = r.I64()
	case field{9, tbin.I64}:
		v.Bytes = r.I64()
	default:
		unknownField(r, id)
	}
}
