package state

import (
	"cmp"
	"slices"

	"pegasus/base"
)

// node is what a replica server serves, of available tables.
type node struct {
	primaries, replicas int
	tables              map[int32]*nodeTable
}

type nodeTable struct {
	primaries int
	parts     map[int32]struct{} // partition indexes, whatever the role
}

// Load counts what a node serves, of one table or of all.
type Load struct {
	Primaries int
	Replicas  int // primaries included
}

// Load returns what a serves of all available tables.
func (s *State) Load(a Addr) Load {
	n := s.nodes[a]
	if n == nil {
		return Load{}
	}
	return Load{n.primaries, n.replicas}
}

// TableLoad returns what a serves of one table.
func (s *State) TableLoad(id int32, a Addr) Load {
	if n := s.nodes[a]; n != nil {
		if t := n.tables[id]; t != nil {
			return Load{t.primaries, len(t.parts)}
		}
	}
	return Load{}
}

// Members returns all nodes that are a member of some partition, in ascending order.
func (s *State) Members() []Addr {
	all := make([]Addr, 0, len(s.nodes))
	for a := range s.nodes {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// PartitionsOf returns the partitions that a is a member of, in ascending order.
func (s *State) PartitionsOf(a Addr) []base.Gpid {
	n := s.nodes[a]
	if n == nil {
		return nil
	}
	all := make([]base.Gpid, 0, n.replicas)
	for id, t := range n.tables {
		for p := range t.parts {
			all = append(all, base.Gpid{AppID: id, PartitionIndex: p})
		}
	}
	slices.SortFunc(all, func(x, y base.Gpid) int {
		return cmp.Or(cmp.Compare(x.AppID, y.AppID), cmp.Compare(x.PartitionIndex, y.PartitionIndex))
	})
	return all
}

// index counts the members of c in, or out again.
func (s *State) index(g base.Gpid, c *Config, in bool) {
	if c.Primary != 0 {
		s.indexOne(g, c.Primary, true, in)
	}
	for _, a := range c.Secondaries {
		s.indexOne(g, a, false, in)
	}
}

func (s *State) indexOne(g base.Gpid, a Addr, primary, in bool) {
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
func (s *State) indexTable(t *Table, in bool) {
	for i := range t.Parts {
		s.index(base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i], in)
	}
}
