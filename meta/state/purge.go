package state

import (
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/base/version"
)

// purged are the ids of tables that were forgotten.
type purged struct {
	ranges []idRange // ascending, with gaps between
}

var forgotten = addFeature("purge",
	[]command{
		newCommand[PurgeTables](23, version.First),
		newCommand[ReserveIDs](25, 2),
	},
	func(of func(*State) *purged) []section {
		return []section{{23, tbin.List, version.First,
			func(s *State, b []byte, id int16) []byte { return of(s).append(b, id) },
			func(s *State, r *tbin.Reader) { of(s).read(r) }}}
	})

// PurgeTables forgets dropped tables whose time was over before Before. Ids that can't go
// are passed over. What stays of a table is that its id was used, and is of no use any more.
type PurgeTables struct {
	IDs    []int32
	Before int64 // Unix seconds
}

// idRange are ids from first to last.
type idRange struct{ first, last int32 }

// Purged tells whether a table of that id was dropped and forgotten. It is false for ids that
// never were a table's, and for tables that nobody remembers for another reason.
func (s *State) Purged(id int32) bool {
	_, ok := slices.BinarySearchFunc(forgotten.of(s).ranges, id, compareRange)
	return ok
}

func compareRange(r idRange, id int32) int {
	switch {
	case r.last < id:
		return -1
	case r.first > id:
		return 1
	}
	return 0
}

// add remembers an id, and joins it with its neighbours.
func (s *purged) add(id int32) {
	i, ok := slices.BinarySearchFunc(s.ranges, id, compareRange)
	if ok {
		return
	}
	p := s.ranges
	left := i > 0 && p[i-1].last == id-1
	right := i < len(p) && p[i].first == id+1
	switch {
	case left && right:
		p[i-1].last = p[i].last
		s.ranges = slices.Delete(p, i, i+1)
	case left:
		p[i-1].last = id
	case right:
		p[i].first = id
	default:
		s.ranges = slices.Insert(p, i, idRange{id, id})
	}
}

func (c *PurgeTables) apply(s *State) Result {
	for _, id := range c.IDs {
		t := s.tables.byID[id]
		if t == nil || !t.Expired(c.Before) {
			continue
		}
		s.tables.forget(id)
		forgotten.of(s).add(id)
	}
	return Result{Err: base.ErrOK}
}

func (c *PurgeTables) appendFields(b []byte) []byte {
	ids := make([]Addr, len(c.IDs))
	for i, id := range c.IDs {
		ids[i] = Addr(uint32(id))
	}
	return appendI64(appendAddrs(b, 1, ids), 2, c.Before)
}

func (c *PurgeTables) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.List}:
		c.IDs = nil
		for _, a := range readAddrs(r) {
			c.IDs = append(c.IDs, int32(uint32(a)))
		}
	case field{2, tbin.I64}:
		c.Before = r.I64()
	default:
		unknownField(r, id)
	}
}

// append writes the ranges as a list of numbers, the first id in the upper half.
func (s *purged) append(b []byte, id int16) []byte {
	list := make([]Addr, len(s.ranges))
	for i, r := range s.ranges {
		list[i] = Addr(uint64(r.first)<<32 | uint64(r.last))
	}
	return appendAddrs(b, id, list)
}

func (s *purged) read(r *tbin.Reader) {
	s.ranges = nil
	last := int32(0)
	for _, a := range readAddrs(r) {
		v := idRange{int32(a >> 32), int32(uint32(a))}
		if v.first <= last || v.last < v.first { // ids begin with 1
			r.Fail(tbin.ErrMalformed)
			return
		}
		last = v.last
		s.ranges = append(s.ranges, v)
	}
}

// MaxTableID is the highest id that is reserved or recovered: what is above it was made up by
// nobody but a damaged file.
const MaxTableID = 1 << 30

// ReserveIDs makes the ids up to Last count as used, because a replica server has something of
// a table that this State doesn't know. base.ErrInvalidParameters if there is no such id.
type ReserveIDs struct{ Last int32 }

func (c *ReserveIDs) apply(s *State) Result {
	if c.Last <= 0 || c.Last > MaxTableID {
		return failed(base.ErrInvalidParameters)
	}
	s.tables.lastID = max(s.tables.lastID, c.Last)
	return Result{Err: base.ErrOK}
}

func (c *ReserveIDs) appendFields(b []byte) []byte { return appendI64(b, 1, int64(c.Last)) }

func (c *ReserveIDs) readField(r *tbin.Reader, t tbin.Type, id int16) {
	switch (field{id, t}) {
	case field{1, tbin.I64}:
		c.Last = int32(r.I64())
	default:
		unknownField(r, id)
	}
}
