package state

import (
	"cmp"
	"slices"

	"pegasus/base"
)

// BulkLoadStatus is how far a load is.
type BulkLoadStatus int32

// The values are written to disk.
const (
	LoadReads    BulkLoadStatus = 1 // members make sets of rows of the files
	LoadPaused   BulkLoadStatus = 2
	LoadTakes    BulkLoadStatus = 3 // each partition has its sets; they are being taken
	LoadDone     BulkLoadStatus = 4 // each partition took its rows
	LoadFailed   BulkLoadStatus = 5
	LoadCanceled BulkLoadStatus = 6
)

// PartStatus is how far a partition of a table is that is being loaded.
type PartStatus int32

// The values are written to disk.
const (
	PartReads  PartStatus = 1
	PartReady  PartStatus = 2 // each member had the set
	PartTaking PartStatus = 3 // its primary was told to take it, or is about to be
	PartTaken  PartStatus = 4
)

// BulkPart is a partition of a table that is being loaded.
type BulkPart struct {
	Status PartStatus
	// Digest is that of the sets of all members; "" once the load has ended.
	Digest string
	Rows   int64
	Bytes  int64
	Decree int64 // with which the set was taken
	HeldMS int64 // for how long writes waited meanwhile
}

// BulkLoad is a load of files into a table. Its table is loading until Ended is set, which is when it was forgotten by all members.
type BulkLoad struct {
	Table int32
	ID    int64 // larger than that of any load before it
	// The files lie in Root/Cluster/Name of the blob store Provider; Name is the table's when it began.
	Provider, Root, Cluster, Name string
	Behind                        bool
	Rate                          int64 // bytes per second at which a server reads files of it; 0: as it is configured
	Timetag                       int64 // when the rows count as written, Unix microseconds
	Begun, Ended                  int64 // Unix milliseconds
	Status                        BulkLoadStatus
	Err                           base.ErrorCode // of LoadFailed
	Reason                        string         // of LoadFailed and LoadCanceled
	Parts                         []BulkPart
}

// Loading tells whether members may have something of the load.
func (l *BulkLoad) Loading() bool { return l.Ended == 0 }

// Taken are the partitions that took their rows.
func (l *BulkLoad) Taken() (parts []int32) {
	for i := range l.Parts {
		if l.Parts[i].Status == PartTaken {
			parts = append(parts, int32(i))
		}
	}
	return parts
}

func (l *BulkLoad) all(is PartStatus) bool {
	return !slices.ContainsFunc(l.Parts, func(p BulkPart) bool { return p.Status != is })
}

// BulkLoadOf returns the load of a table: the present one, or the last. Nothing in it may be changed.
func (s *State) BulkLoadOf(table int32) (l BulkLoad, ok bool) {
	ls := bulkLoadFeature.of(s)
	i, ok := ls.find(table)
	if !ok {
		return BulkLoad{}, false
	}
	return ls.list[i], true
}

// BulkLoads returns those of all tables, by table. Nothing in them may be changed.
func (s *State) BulkLoads() []BulkLoad { return bulkLoadFeature.of(s).list }

// Loading tells whether files are being loaded into a table.
func (s *State) Loading(table int32) bool {
	l, ok := s.BulkLoadOf(table)
	return ok && l.Loading()
}

func (s *bulkLoads) find(table int32) (int, bool) {
	return slices.BinarySearchFunc(s.list, table, func(l BulkLoad, t int32) int { return cmp.Compare(l.Table, t) })
}
