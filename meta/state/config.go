package state

import (
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Addr names a replica server: its packed address.
type Addr = base.RPCAddress

// MaxLastDrops is how many former members a configuration remembers.
const MaxLastDrops = 3

// Config is the group of one partition. The zero value is a partition that never had a
// member.
type Config struct {
	Ballot        int64
	Primary       Addr // 0: none
	Secondaries   []Addr
	LastDrops     []Addr // former members, the newest last
	LastCommitted int64  // decree that a primary reported with its last change; may be old
}

// Members returns how many members c has.
func (c *Config) Members() int {
	n := len(c.Secondaries)
	if c.Primary != 0 {
		n++
	}
	return n
}

// Has tells whether a is a member.
func (c *Config) Has(a Addr) bool {
	return a != 0 && (c.Primary == a || slices.Contains(c.Secondaries, a))
}

// AppendMembers appends the members to b, the primary first.
func (c *Config) AppendMembers(b []Addr) []Addr {
	if c.Primary != 0 {
		b = append(b, c.Primary)
	}
	return append(b, c.Secondaries...)
}

// SameGroup tells whether c and o have the same ballot and members in the same roles; the
// order of secondaries doesn't count.
func (c *Config) SameGroup(o *Config) bool {
	if c.Ballot != o.Ballot || c.Primary != o.Primary || len(c.Secondaries) != len(o.Secondaries) {
		return false
	}
	for _, s := range c.Secondaries {
		if !slices.Contains(o.Secondaries, s) {
			return false
		}
	}
	return true
}

// Without returns a copy of c whose members are those that drop doesn't hold, with the
// same ballot. The primary may be missing in it.
func (c *Config) Without(drop func(Addr) bool) Config {
	n := *c
	if n.Primary != 0 && drop(n.Primary) {
		n.Primary = 0
	}
	n.Secondaries = slices.DeleteFunc(slices.Clone(c.Secondaries), drop)
	return n
}

// WithPrimary returns a copy of c in which p, a member, is the primary and the former
// primary, if there is one, a secondary.
func (c *Config) WithPrimary(p Addr) Config {
	if c.Primary == p {
		return *c
	}
	n := *c
	n.Primary = p
	n.Secondaries = nil
	for _, s := range c.Secondaries {
		switch {
		case s != p:
			n.Secondaries = append(n.Secondaries, s)
		case c.Primary != 0:
			n.Secondaries = append(n.Secondaries, c.Primary)
		}
	}
	return n
}

func (c *Config) appendFields(b []byte) []byte {
	b = appendI64(b, 1, c.Ballot)
	b = appendI64(b, 2, int64(c.Primary))
	b = appendAddrs(b, 3, c.Secondaries)
	b = appendAddrs(b, 4, c.LastDrops)
	return appendI64(b, 5, c.LastCommitted)
}

func (c *Config) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Ballot = r.I64()
	case field{2, tbin.I64}:
		c.Primary = Addr(r.I64())
	case field{3, tbin.List}:
		c.Secondaries = readAddrs(r)
	case field{4, tbin.List}:
		c.LastDrops = readAddrs(r)
	case field{5, tbin.I64}:
		c.LastCommitted = r.I64()
	default:
		unknownField(r, id)
	}
}

// Change is a new configuration for one partition. Its LastDrops are not looked at: they
// follow from who left.
type Change struct {
	Gpid base.Gpid
	// Config with the ballot that the change leads to: the current one + 1.
	Config Config
	// Adds names the one new secondary, if the current primary asked for it; 0: none.
	Adds Addr
}

// ChangeResult is the outcome of one Change: base.ErrOK, base.ErrInvalidVersion (the ballot
// isn't the next one), base.ErrObjectNotFound (no such partition of an available table) or
// base.ErrInvalidState (against the rules). Config is the one in force afterwards.
type ChangeResult struct {
	Err    base.ErrorCode
	Config Config
}

// CheckChange says whether c may follow old, whose ballot fits. What it can't know is
// whether a member that leaves is dead or willing: that is the caller's to ensure.
func CheckChange(old *Config, c *Change) error {
	n := &c.Config
	if n.Primary == 0 {
		return fmt.Errorf("partition %v would be without a primary: %w", c.Gpid, base.ErrInvalidState)
	}
	for i, a := range n.Secondaries {
		if a == 0 || a == n.Primary || slices.Contains(n.Secondaries[:i], a) {
			return fmt.Errorf("partition %v: %v stands twice or is nobody: %w", c.Gpid, a, base.ErrInvalidState)
		}
	}
	if old.Members() == 0 {
		if old.Ballot != 0 || len(n.Secondaries) != 0 {
			return fmt.Errorf("partition %v: a first configuration has a primary and no secondaries: %w", c.Gpid, base.ErrInvalidState)
		}
		return nil
	}
	if !old.Has(n.Primary) {
		return fmt.Errorf("partition %v: the new primary %v was no member: %w", c.Gpid, n.Primary, base.ErrInvalidState)
	}
	for _, a := range n.Secondaries {
		if old.Has(a) || a == c.Adds && old.Primary == n.Primary {
			continue
		}
		return fmt.Errorf("partition %v: %v was no member: %w", c.Gpid, a, base.ErrInvalidState)
	}
	return nil
}

// nextDrops returns the former members after old became n: who left comes last, who came
// back goes, and only the newest stay.
func nextDrops(old, n *Config) []Addr {
	var drops []Addr
	for _, a := range old.LastDrops {
		if !n.Has(a) {
			drops = append(drops, a)
		}
	}
	for _, a := range old.AppendMembers(nil) {
		if !n.Has(a) && !slices.Contains(drops, a) {
			drops = append(drops, a)
		}
	}
	if len(drops) > MaxLastDrops {
		drops = slices.Clone(drops[len(drops)-MaxLastDrops:])
	}
	return drops
}
