package state

import (
	"cmp"
	"slices"

	"pegasus/base"
)

// State is everything. Make it with New or Restore. It consists of the sub-states of its
// features: those that others stand on, and those that only their own file knows (addFeature).
type State struct {
	cluster   cluster
	tables    tables
	placement placement
	own       []any // by number, see subState
}

// features are all features of the State. Their sections are written in this order. Those that
// register themselves come behind.
var features = []*feature{&clusterFeature, &tablesFeature, &placementFeature, &recoveryFeature}

// New returns the State before the first command.
func New() *State {
	s := &State{cluster: newCluster(), tables: newTables(), placement: newPlacement(), own: make([]any, len(subStates))}
	for i, fresh := range subStates {
		s.own[i] = fresh()
	}
	return s
}

// Table returns the table of that id, dropped or not, nil if there never was one.
func (s *State) Table(id int32) *Table { return s.tables.byID[id] }

// TableNamed returns the available table of that name, nil if there is none.
func (s *State) TableNamed(name string) *Table { return s.tables.byName[name] }

// Tables calls f for each table, dropped ones included, by ascending id.
func (s *State) Tables(f func(*Table)) {
	for _, id := range s.tables.ids {
		f(s.tables.byID[id])
	}
}

// TablesFrom calls f for each table, dropped ones included, whose id is at least from, by
// ascending id, as long as f returns true.
func (s *State) TablesFrom(from int32, f func(*Table) bool) {
	i, _ := slices.BinarySearch(s.tables.ids, from)
	for _, id := range s.tables.ids[i:] {
		if !f(s.tables.byID[id]) {
			return
		}
	}
}

// Config returns the configuration of a partition of an available table; ok is false for
// any other.
func (s *State) Config(g base.Gpid) (t *Table, c Config, ok bool) {
	t = s.tables.byID[g.AppID]
	if t == nil || t.Status != Available || g.PartitionIndex < 0 || int(g.PartitionIndex) >= len(t.Parts) {
		return t, Config{}, false
	}
	return t, t.Parts[g.PartitionIndex], true
}

// Fresh tells that there never was a table, as far as this State knows.
func (s *State) Fresh() bool { return len(s.tables.ids) == 0 && len(forgotten.of(s).ranges) == 0 }

// LastID returns the highest id that a table has or had, or that was reserved; 0 if there is none.
func (s *State) LastID() int32 { return s.tables.lastID }

// Load counts what a node serves, of one table or of all.
type Load struct {
	Primaries int
	Replicas  int // primaries included
}

// Load returns what a serves of all available tables.
func (s *State) Load(a Addr) Load {
	n := s.tables.nodes[a]
	if n == nil {
		return Load{}
	}
	return Load{n.primaries, n.replicas}
}

// TableLoad returns what a serves of one table.
func (s *State) TableLoad(id int32, a Addr) Load {
	if n := s.tables.nodes[a]; n != nil {
		if t := n.tables[id]; t != nil {
			return Load{t.primaries, len(t.parts)}
		}
	}
	return Load{}
}

// Members returns all nodes that are a member of some partition, in ascending order.
func (s *State) Members() []Addr {
	all := make([]Addr, 0, len(s.tables.nodes))
	for a := range s.tables.nodes {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}

// PartitionsOf returns the partitions that a is a member of, in ascending order.
func (s *State) PartitionsOf(a Addr) []base.Gpid {
	n := s.tables.nodes[a]
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
