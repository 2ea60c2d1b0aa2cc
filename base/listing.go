package base

import "math/bits"

// Listing says by how many partitions of a table a client goes; 0: nothing was said. As splits double the count, the number of its
// bits tells one from the other. Of that number it holds the remainder by 8: nobody goes by a list from eight splits ago.
//
// Published clients make the list of partitions of a scan when it begins, and name in each request the table's id beside the
// partition. A table that was split is therefore told to them under an id that says how many partitions the answer has (ListedID), so
// that a server can tell a scan whose list lacks the new partitions from one that has them. Only what clients send over THFT
// is read so, and only answers to their look-ups have it. Everywhere else a table has its own id.
//
// Such ids are from 1<<17 up to 1<<18. pypegasus3 can't send any for which 7919 times the id is beyond 31 bits, nor negative ones.
// A table may have such an id as its own, from the time before NextTableID left them out, or from C++ servers. Then the one that would be told
// under it isn't told so (MayList), and no server reads the id so.
type Listing uint8

const (
	listed       = 1 << 17
	listedShift  = 14
	listingBits  = 8 // what Listing is counted by
	maxListedIDs = 1 << listedShift
)

// MayList tells whether a table of that id can be told under another one: used tells which ids tables have, or had.
func MayList(id int32, used func(int32) bool) bool {
	if id <= 0 || id >= maxListedIDs {
		return false
	}
	for other := listed + id; other < 2*listed; other += maxListedIDs {
		if used(other) {
			return false
		}
	}
	return true
}

// ListingOf returns the Listing of a count.
func ListingOf(count int32) Listing {
	if count <= 0 {
		return 0
	}
	return Listing(listingBits | bits.Len32(uint32(count))%listingBits)
}

// ListedID returns the id under which clients are told a table of count partitions.
func ListedID(id, count int32) int32 {
	l := ListingOf(count)
	if id <= 0 || id >= maxListedIDs || l == 0 {
		return id
	}
	return listed | int32(l%listingBits)<<listedShift | id
}

// TableID returns the table's own id, and what was added to it.
func TableID(id int32) (int32, Listing) {
	if id < listed || id >= 2*listed || id%maxListedIDs == 0 {
		return id, 0
	}
	return id % maxListedIDs, Listing(listingBits | id>>listedShift%listingBits)
}

// Count returns the count, of a table that has or had now partitions: from an 32nd up to 4 times as many; 0 if it can't be told.
func (l Listing) Count(now int32) int32 {
	if l == 0 || now <= 0 {
		return 0
	}
	n := bits.Len32(uint32(now))
	switch d := (int(l) - n) & (listingBits - 1); {
	case d > 2:
		return now >> (listingBits - d)
	case n+d > 31:
		return 0
	default:
		return now << d
	}
}

// ChildOf returns the partition whose child index is, if the Listing is of a count that is a power of two, and index is in its second half.
func (l Listing) ChildOf(index int32) (parent, count int32, ok bool) {
	if l == 0 || index <= 0 || index >= 1<<29 {
		return 0, 0, false
	}
	count = 1 << bits.Len32(uint32(index))
	return index - count/2, count, ListingOf(count) == l
}

// NextTableID returns the id of the table that is made after the one with that id. Those that ListedID gives are left out.
func NextTableID(last int32) int32 {
	if next := last + 1; next < listed || next >= 2*listed {
		return next
	}
	return 2 * listed
}
