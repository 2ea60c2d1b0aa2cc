package state

import (
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
)

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
	_, ok := slices.BinarySearchFunc(s.purged, id, compareRange)
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

// addPurged remembers an id, and joins it with its neighbours.
func (s *State) addPurged(id int32) {
	i, ok := slices.BinarySearchFunc(s.purged, id, compareRange)
	if ok {
		return
	}
	p := s.purged
	left := i > 0 && p[i-1].last == id-1
	right := i < len(p) && p[i].first == id+1
	switch {
	case left && right:
		p[i-1].last = p[i].last
		s.purged = slices.Delete(p, i, i+1)
	case left:
		p[i-1].last = id
	case right:
		p[i].first = id
	default:
		s.purged = slices.Insert(p, i, idRange{id, id})
	}
}

func (*PurgeTables) kind() kind { return kindPurgeTables }

func (c *PurgeTables) apply(s *State) Result {
	for _, id := range c.IDs {
		t := s.tables[id]
		if t == nil || !t.Expired(c.Before) {
			continue
		}
		delete(s.tables, id)
		if i, ok := slices.BinarySearch(s.ids, id); ok {
			s.ids = slices.Delete(s.ids, i, i+1)
		}
		s.addPurged(id)
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
		r.Skip(t)
	}
}

// appendPurged writes the ranges as a list of numbers, the first id in the upper half.
func (s *State) appendPurged(b []byte, id int16) []byte {
	list := make([]Addr, len(s.purged))
	for i, r := range s.purged {
		list[i] = Addr(uint64(r.first)<<32 | uint64(r.last))
	}
	return appendAddrs(b, id, list)
}

func (s *State) readPurged(r *tbin.Reader) {
	s.purged = nil
	last := int32(0)
	for _, a := range readAddrs(r) {
		v := idRange{int32(a >> 32), int32(uint32(a))}
		if v.first <= last || v.last < v.first { // ids begin with 1
			r.Fail(tbin.ErrMalformed)
			return
		}
		last = v.last
		s.purged = append(s.purged, v)
	}
}
