package state

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// Named is a replica server that is known by a name: a host name and a port. The address that stands in configurations and
// roles is where it was last; when its host name moves, it moves with all that it is.
type Named struct {
	Name string // host:port
	ID   string // of its data, random: who calls itself by the name and has other data is another server
	Addr Addr
}

// named are all of these, by name.
type named struct{ by map[string]Named }

var servers = addFeature("servers", []command{newCommand[PlaceServer](84, version.NamedServers.Since())}, func(of func(*State) *named) []section {
	return []section{structSection(84, version.NamedServers.Since(), func(s *State) resettable { return of(s) })}
})

// Named returns the server of that name.
func (s *State) Named(name string) (Named, bool) {
	n, ok := servers.of(s).by[name]
	return n, ok
}

// NamedAt returns the server that is known by a name and was last at a.
func (s *State) NamedAt(a Addr) (Named, bool) {
	for _, n := range servers.of(s).by {
		if n.Addr == a {
			return n, true
		}
	}
	return Named{}, false
}

// PlaceServer says where a named server is. Was is where the State has it, 0 if it doesn't know the name; the server there has
// ended, or never was. In its place stands the new address, everywhere, and each partition that it is a
// member of has the next ballot. A server of another name that was at the new address has ended too: it is parked where nobody is, until
// it says where it is. base.ErrInvalidState if the State has the server elsewhere, or if a
// member without a name is at the new address of a server that moves.
//
// That a server has ended is for the caller to ensure: it holds no lease, and gets none under the old address.
type PlaceServer struct {
	Name, ID string
	Addr     Addr
	Was      Addr
}

func (c *PlaceServer) apply(s *State) Result {
	if c.Name == "" || c.ID == "" || c.Addr.IsZero() {
		return failed(base.ErrInvalidParameters)
	}
	all := servers.of(s)
	if all.by[c.Name].Addr != c.Was {
		return failed(base.ErrInvalidState)
	}
	other, taken := s.NamedAt(c.Addr)
	switch {
	case c.Was == c.Addr:
	case taken && other.ID == c.ID && c.Was == 0: // it has another name from now on
		delete(all.by, other.Name)
	case taken:
		other.Addr = all.parking(c.Addr)
		s.moveServer(c.Addr, other.Addr)
		all.by[other.Name] = other
	case c.Was != 0 && s.stands(c.Addr):
		return failed(base.ErrInvalidState)
	}
	if c.Was != 0 && c.Was != c.Addr {
		s.moveServer(c.Was, c.Addr)
	}
	if all.by == nil {
		all.by = map[string]Named{}
	}
	all.by[c.Name] = Named{c.Name, c.ID, c.Addr}
	return Result{Err: base.ErrOK}
}

// parking returns an address that no server has and none can have, with the port of a.
func (v *named) parking(a Addr) Addr {
	for n := 1; ; n++ {
		p := base.MakeRPCAddress(netip.AddrPortFrom(netip.AddrFrom4([4]byte{240, 0, byte(n >> 8), byte(n)}), a.AddrPort().Port()))
		if !slices.ContainsFunc(slices.Collect(maps.Values(v.by)), func(n Named) bool { return n.Addr == p }) {
			return p
		}
	}
}

// Parked tells whether a is where a server is parked that lost its address to another one.
func Parked(a Addr) bool { return parkingLot.Contains(a.AddrPort().Addr()) }

// parkingLot is of the addresses that are reserved for no use.
var parkingLot = netip.PrefixFrom(netip.AddrFrom4([4]byte{240}), 8)

// stands tells whether a is a member of some partition, also of dropped tables, or has a role.
func (s *State) stands(a Addr) bool {
	if s.Role(a) != RoleFull || s.tables.nodes[a] != nil {
		return true
	}
	for _, t := range s.tables.byID {
		if t.Status != Available && slices.ContainsFunc(t.Parts, func(c Config) bool { return c.Has(a) }) {
			return true
		}
	}
	return false
}

// moveServer puts to in the place of from. Nobody is at to.
func (s *State) moveServer(from, to Addr) {
	for _, id := range s.tables.ids {
		t := s.tables.byID[id]
		for i := range t.Parts {
			old := &t.Parts[i]
			member := old.Has(from)
			if !member && !slices.Contains(old.LastDrops, from) && !slices.Contains(old.LastDrops, to) {
				continue
			}
			n := *old
			n.LastDrops = slices.DeleteFunc(slices.Clone(old.LastDrops), func(a Addr) bool { return a == to })
			replace(n.LastDrops, from, to)
			if member {
				n.Ballot++
				n.Secondaries = slices.Clone(old.Secondaries)
				replace(n.Secondaries, from, to)
				if n.Primary == from {
					n.Primary = to
				}
			}
			if t.Status != Available {
				t.Parts[i] = n
				continue
			}
			g := base.Gpid{AppID: id, PartitionIndex: int32(i)}
			s.tables.index(g, old, false)
			t.Parts[i] = n
			s.tables.index(g, &n, true)
		}
	}
	roles := s.placement.roles
	if r := roles[from]; r != RoleFull {
		roles[to] = r
		delete(roles, from)
	} else {
		delete(roles, to)
	}
}

func replace(list []Addr, from, to Addr) {
	for i := range list {
		if list[i] == from {
			list[i] = to
		}
	}
}

func (c *PlaceServer) appendFields(b []byte) []byte {
	n := Named{c.Name, c.ID, c.Addr}
	return appendI64(n.appendFields(b), 4, int64(c.Was))
}

func (c *PlaceServer) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) == (field{4, tbin.I64}) {
		c.Was = Addr(r.I64())
		return
	}
	n := Named{c.Name, c.ID, c.Addr}
	n.readField(r, t, id)
	c.Name, c.ID, c.Addr = n.Name, n.ID, n.Addr
}

func (n *Named) appendFields(b []byte) []byte {
	return appendI64(appendString(appendString(b, 1, n.Name), 2, n.ID), 3, int64(n.Addr))
}

func (n *Named) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.String}:
		n.Name = r.String()
	case field{2, tbin.String}:
		n.ID = r.String()
	case field{3, tbin.I64}:
		n.Addr = Addr(r.I64())
	default:
		unknownField(r, id)
	}
}

func (v *named) empty() bool { return len(v.by) == 0 }

func (v *named) reset() { v.by = nil }

func (v *named) appendFields(b []byte) []byte {
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 1), tbin.Struct, len(v.by))
	for _, n := range slices.SortedFunc(maps.Values(v.by), func(x, y Named) int { return cmp.Compare(x.Name, y.Name) }) {
		b = tbin.AppendStop(n.appendFields(b))
	}
	return b
}

func (v *named) readField(r *tbin.Reader, t tbin.Type, id int16) {
	if (field{id, t}) != (field{1, tbin.List}) {
		unknownField(r, id)
		return
	}
	v.by = map[string]Named{}
	for range list(r, tbin.Struct, 1) {
		var n Named
		readStruct(r, n.readField)
		if r.Err() != nil {
			return
		}
		if _, twice := v.by[n.Name]; twice || n.Name == "" || n.Addr.IsZero() {
			r.Fail(tbin.ErrMalformed)
			return
		}
		v.by[n.Name] = n
	}
}
