package state

import (
	"fmt"
	"slices"

	"pegasus/base"
)

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

// change applies one Change.
func (s *State) change(c *Change) ChangeResult {
	t, old, ok := s.Config(c.Gpid)
	if !ok {
		return ChangeResult{Err: base.ErrObjectNotFound}
	}
	if c.Config.Ballot != old.Ballot+1 {
		return ChangeResult{base.ErrInvalidVersion, old}
	}
	if err := CheckChange(&old, c); err != nil {
		return ChangeResult{base.CodeOf(err), old}
	}
	n := c.Config
	n.LastDrops = nextDrops(&old, &n)
	n.LastCommitted = max(old.LastCommitted, n.LastCommitted)
	s.index(c.Gpid, &old, false)
	t.Parts[c.Gpid.PartitionIndex] = n
	s.index(c.Gpid, &n, true)
	return ChangeResult{base.ErrOK, n}
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
