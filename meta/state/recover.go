package state

import (
	"cmp"
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

var recoveryFeature = feature{
	name:     "recovery",
	commands: []command{newCommand[Recover](11, version.First)}, // but see its needs
}

// Recover fills a State that never had a table with tables that were found on the replica
// servers, in the order of their ids, with their configurations. With Merged they take the
// place of the tables of a State that was restored from a backup, and end that. With Unknown
// they come beside the tables of a State that has some, and of which none has or had such an
// id, nor, being available, such a name. Any other
// State gives base.ErrServiceAlreadyRunning, tables that can't be base.ErrInvalidParameters;
// nothing is changed then. ID is the identity that the replica servers have; it becomes the
// State's. Splits are of the tables that were being split, and have all those of which some child isn't registered.
type Recover struct {
	Tables  []Table
	Merged  bool
	Unknown bool
	ID      string
	Splits  []Split // by table, from version.RecoveredSplits on
}

func (c *Recover) needs() version.Version {
	if len(c.Splits) > 0 {
		return version.RecoveredSplits.Since()
	}
	if c.Unknown || c.ID != "" {
		return 2
	}
	return version.First
}

func (c *Recover) appendFields(b []byte) []byte {
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 1), tbin.Struct, len(c.Tables))
	for i := range c.Tables {
		b = tbin.AppendStop(c.Tables[i].appendFields(b))
	}
	b = appendString(appendBool(appendBool(b, 2, c.Merged), 3, c.Unknown), 4, c.ID)
	return appendStructs[Split](b, 5, c.Splits)
}

func (c *Recover) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
	case field{2, tbin.Bool}:
		c.Merged = r.Bool()
		return
	case field{3, tbin.Bool}:
		c.Unknown = r.Bool()
		return
	case field{4, tbin.String}:
		c.ID = r.String()
		return
	case field{5, tbin.List}:
		c.Splits = readStructs[Split](r)
		return
	default:
		unknownField(r, id)
		return
	}
	n := list(r, tbin.Struct, 1)
	c.Tables = nil
	for i := 0; i < n && r.Err() == nil; i++ {
		var t Table
		readStruct(r, t.readField)
		c.Tables = append(c.Tables, t)
	}
}

func (c *Recover) apply(s *State) Result {
	if c.Merged != s.cluster.restored || c.Merged && c.Unknown || !s.cluster.restored && !c.Unknown && s.tables.lastID != 0 {
		return failed(base.ErrServiceAlreadyRunning)
	}
	if c.ID != "" && c.ID != s.cluster.id && c.Unknown && len(s.tables.nodes) > 0 {
		return failed(base.ErrServiceAlreadyRunning) // those who serve it are of the cluster that this is
	}
	// Tried apart first: it is all of them or none.
	try := newTables()
	for i := range c.Tables {
		t := c.Tables[i]
		if t.Name == "" || t.ID <= 0 || len(t.Parts) == 0 || t.MaxReplicas <= 0 || s.Purged(t.ID) || try.acceptable(&t) != nil {
			return failed(base.ErrInvalidParameters)
		}
		if c.Unknown && (t.ID > MaxTableID || s.tables.byID[t.ID] != nil) {
			return failed(base.ErrServiceAlreadyRunning)
		}
		if c.Unknown && t.Status == Available && s.tables.byName[t.Name] != nil {
			return failed(base.ErrInvalidParameters)
		}
		if !c.splitFits(&t) {
			return failed(base.ErrInvalidParameters)
		}
		try.add(&t)
	}
	if c.Unknown {
		if c.ID != "" {
			s.cluster.id = c.ID
		}
		for _, id := range try.ids {
			s.tables.add(try.byID[id])
		}
		slices.Sort(s.tables.ids)
		c.goOn(s)
		return Result{Err: base.ErrOK}
	}
	s.cluster.restored = false
	if c.ID != "" {
		s.cluster.id = c.ID
	}
	last := s.tables.lastID
	s.tables = newTables()
	s.tables.lastID = last
	for _, id := range try.ids {
		s.tables.add(try.byID[id])
	}
	if s.Version().Allows(version.Loads) {
		bulkLoadFeature.of(s).replaced(&s.tables)
	}
	c.goOn(s)
	return Result{Err: base.ErrOK}
}

// splitFits tells whether the children of a table that aren't registered are those of its split.
func (c *Recover) splitFits(t *Table) bool {
	i, ok := (&splits{c.Splits}).find(t.ID)
	if !ok {
		return !t.Splitting()
	}
	st := c.Splits[i].Status
	if len(t.Parts) != 2*len(st) || !t.Splitting() {
		return false
	}
	for p, is := range st {
		if t.Parts[p].Unborn() || t.Parts[len(st)+p].Unborn() == (is == SplitDone) {
			return false
		}
	}
	return true
}

// goOn has splits go on where the replica servers are, whatever a backup says of them. Partitions of which it says nothing, although their
// tables are duplicated, are copied: nobody knows what of them was sent.
func (c *Recover) goOn(s *State) {
	if !s.Version().Allows(version.RecoveredSplits) {
		return
	}
	sp, ds := splitFeature.of(s), duplicationFeature.of(s)
	if c.Unknown {
		sp.list = slices.Concat(sp.list, c.Splits)
		slices.SortFunc(sp.list, func(a, b Split) int { return cmp.Compare(a.Table, b.Table) })
	} else {
		sp.list = slices.Clone(c.Splits)
	}
	for i := range ds.list {
		t := s.tables.byID[ds.list[i].Table]
		if t == nil || ds.list[i].Status == DupPrepare {
			continue
		}
		for n := len(ds.list[i].Confirmed); n > 0 && 2*n <= len(t.Parts); n *= 2 {
			for p := range n {
				if child := &t.Parts[n+p]; !child.Unborn() && ds.list[i].Confirms(int32(n+p)) == NotConfirmed {
					// Where the cut was nobody knows: not behind what either of them has. The child confirms nothing that it lacks.
					cut := min(t.Parts[p].LastCommitted, child.LastCommitted)
					ds.change(i, func(d *Duplication) { d.part(int32(p), int32(n+p), cut, true) })
				}
			}
		}
	}
}
