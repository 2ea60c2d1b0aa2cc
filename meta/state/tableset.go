package state

import (
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
)

// tables are all tables, dropped ones included, and which node serves what of them.
type tables struct {
	byID   map[int32]*Table
	byName map[string]*Table // available ones
	ids    []int32           // of all tables, ascending
	lastID int32
	nodes  map[Addr]*node
}

func newTables() tables {
	return tables{byID: map[int32]*Table{}, byName: map[string]*Table{}, nodes: map[Addr]*node{}}
}

// add puts a table of a new, higher id in.
func (s *tables) add(t *Table) {
	s.lastID = max(s.lastID, t.ID)
	s.byID[t.ID] = t
	s.ids = append(s.ids, t.ID)
	if t.Status == Available {
		s.publish(t)
	}
}

// publish puts a table that has become available into the indexes.
func (s *tables) publish(t *Table) {
	s.byName[t.Name] = t
	s.indexTable(t, true)
}

// withdraw takes a table that is available no more out of the indexes.
func (s *tables) withdraw(t *Table) {
	s.indexTable(t, false)
	delete(s.byName, t.Name)
}

// forget removes a dropped table.
func (s *tables) forget(id int32) {
	delete(s.byID, id)
	if i, ok := slices.BinarySearch(s.ids, id); ok {
		s.ids = slices.Delete(s.ids, i, i+1)
	}
}

// available returns the available table of that id, or why there is none.
func (s *tables) available(id int32) (*Table, base.ErrorCode) {
	switch t := s.byID[id]; {
	case t == nil:
		return nil, base.ErrAppNotExist
	case t.Status != Available:
		return nil, base.ErrAppDropped
	default:
		return t, base.ErrOK
	}
}

// acceptable refuses what no State can have written.
func (s *tables) acceptable(t *Table) error {
	switch {
	case len(s.ids) > 0 && t.ID <= s.ids[len(s.ids)-1]:
		return fmt.Errorf("table %d is out of order: %w", t.ID, tbin.ErrMalformed)
	case t.Status != Available && t.Status != Dropped:
		return fmt.Errorf("table %d has status %d: %w", t.ID, t.Status, tbin.ErrMalformed)
	case t.Status == Available && s.byName[t.Name] != nil:
		return fmt.Errorf("two tables named %q: %w", t.Name, tbin.ErrMalformed)
	}
	for i := range t.Parts {
		c := &t.Parts[i]
		for j, a := range c.Secondaries {
			for _, b := range c.Secondaries[:j] {
				if a == b {
					return fmt.Errorf("partition %d.%d has %v twice: %w", t.ID, i, a, tbin.ErrMalformed)
				}
			}
			if a == 0 || a == c.Primary {
				return fmt.Errorf("partition %d.%d has %v as a secondary: %w", t.ID, i, a, tbin.ErrMalformed)
			}
		}
	}
	return nil
}

// node is what a replica server serves, of available tables.
type node struct {
	primaries, replicas int
	tables              map[int32]*nodeTable
}

type nodeTable struct {
	primaries int
	parts     map[int32]struct{} // partition indexes, whatever the role
}

// index counts the members of c in, or out again.
func (s *tables) index(g base.Gpid, c *Config, in bool) {
	if c.Primary != 0 {
		s.indexOne(g, c.Primary, true, in)
	}
	for _, a := range c.Secondaries {
		s.indexOne(g, a, false, in)
	}
}

func (s *tables) indexOne(g base.Gpid, a Addr, primary, in bool) {
	n := s.nodes[a]
	if n == nil {
		n = &node{tables: map[int32]*nodeTable{}}
		s.nodes[a] = n
	}
	t := n.tables[g.AppID]
	if t == nil {
		t = &nodeTable{parts: map[int32]struct{}{}}
		n.tables[g.AppID] = t
	}
	d := 1
	if in {
		t.parts[g.PartitionIndex] = struct{}{}
	} else {
		d = -1
		delete(t.parts, g.PartitionIndex)
	}
	n.replicas += d
	if primary {
		n.primaries += d
		t.primaries += d
	}
	if len(t.parts) == 0 {
		delete(n.tables, g.AppID)
		if len(n.tables) == 0 {
			delete(s.nodes, a)
		}
	}
}

// indexTable counts all of a table in, or out again.
func (s *tables) indexTable(t *Table, in bool) {
	for i := range t.Parts {
		s.index(base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i], in)
	}
}
