package state

import (
	"pegasus/base"
	"pegasus/base/tbin"
)

// Recover fills a State that never had a table with tables that were found on the replica
// servers, in the order of their ids, with their configurations. With Merged they take the
// place of the tables of a State that was restored from a backup, and end that. Any other
// State gives base.ErrServiceAlreadyRunning, tables that can't be base.ErrInvalidParameters;
// nothing is changed then.
type Recover struct {
	Tables []Table
	Merged bool
}

func (c *Recover) appendFields(b []byte) []byte {
	b = tbin.AppendList(tbin.AppendField(b, tbin.List, 1), tbin.Struct, len(c.Tables))
	for i := range c.Tables {
		b = tbin.AppendStop(c.Tables[i].appendFields(b))
	}
	return appendBool(b, 2, c.Merged)
}

func (c *Recover) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
	case field{2, tbin.Bool}:
		c.Merged = r.Bool()
		return
	default:
		r.Skip(t)
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
	if c.Merged != s.restored || !s.restored && s.lastID != 0 {
		return failed(base.ErrServiceAlreadyRunning)
	}
	// Tried on another State first: it is all of them or none.
	try := New()
	for i := range c.Tables {
		t := c.Tables[i]
		if t.Name == "" || t.ID <= 0 || len(t.Parts) == 0 || t.MaxReplicas <= 0 || s.Purged(t.ID) || try.acceptable(&t) != nil {
			return failed(base.ErrInvalidParameters)
		}
		try.addTable(&t)
	}
	s.restored = false
	s.tables, s.ids = map[int32]*Table{}, nil
	s.byName, s.nodes = map[string]*Table{}, map[Addr]*node{}
	for _, id := range try.ids {
		s.addTable(try.tables[id])
	}
	return Result{Err: base.ErrOK}
}
