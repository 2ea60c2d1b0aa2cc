package state

import (
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
// State's.
type Recover struct {
	Tables  []Table
	Merged  bool
	Unknown bool
	ID      string
}

func (c *Recover) needs() version.Version {
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
	return appendString(appendBool(appendBool(b, 2, c.Merged), 3, c.Unknown), 4, c.ID)
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
	return Result{Err: base.ErrOK}
}
