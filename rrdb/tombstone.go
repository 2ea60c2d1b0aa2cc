package rrdb

import "encoding/binary"

// A tombstone is what a remove leaves of a row of a table that other clusters send to: a row that has expired long ago, whose
// timetag is the remove's. Reads, scans, counts, copies and digests hide it as they hide expired rows. A write
// of another cluster that is older than the remove, and arrives later, loses against it, so that clusters agree
// whatever the order in which writes arrive. A sweep deletes it once it was there for SweepOptions.Tombstones.
//
// What has expired by itself is remembered, too, as an older write without an expiry, or with a later one, may be on its way: a sweep of such
// a table leaves a tombstone of it, with the timetag that it had (remembered).
//
// Upstream has none: there a remove is applied whatever its time, and an older put that arrives later brings the row
// back (src/server/rocksdb_wrapper.cpp write_batch_put_ctx).

// tombstoneExpiry is the expiry of all tombstones. Their data are 4 bytes, the time at which they were made here, as ExpiryTime.
const tombstoneExpiry = 1

const tombstoneData = 4

// Tombstone is the timetag of an op that removes a row for a client of a cluster, and leaves a tombstone: its time
// is that of its mutation. Members of a cluster write it from version.Tombstones on.
func Tombstone(cluster uint8) uint64 { return MakeTimetag(0, cluster, true) }

func isTombstone(expireTS uint32, timetag uint64) bool {
	return expireTS == tombstoneExpiry && timetag&1 != 0
}

func putTombstone(b []byte, timetag uint64, at uint32) {
	putValueHeader(b, tombstoneExpiry, timetag)
	binary.BigEndian.PutUint32(b[valueHeader:], at)
}

// goneFrom is when a record may be deleted: when it expires, a tombstone after the time that it stays. 0 is never.
func (s *instance) goneFrom(expireTS uint32, timetag uint64, data []byte) uint32 {
	if !isTombstone(expireTS, timetag) || len(data) != tombstoneData {
		return expireTS
	}
	return s.goneAfter(binary.BigEndian.Uint32(data))
}

// goneAfter is when a tombstone that is made at a time may be deleted.
func (s *instance) goneAfter(at uint32) uint32 {
	if up := at + s.tombstones; up >= at {
		return max(up, tombstoneExpiry)
	}
	return at
}

// remembered is goneFrom of a table that other clusters send to. A write that was made before a row arrives at most
// SweepOptions.Tombstones after the row was made, so a row with a longer TTL goes when it expires.
func (s *instance) remembered(expireTS uint32, timetag uint64, data []byte) uint32 {
	if expireTS == 0 || isTombstone(expireTS, timetag) {
		return s.goneFrom(expireTS, timetag, data)
	}
	return max(expireTS, s.goneAfter(madeAt(expireTS, timetag)))
}

// madeAt is when a row that expires was made, by the clock of its cluster, but not after it expired.
func madeAt(expireTS uint32, timetag uint64) uint32 {
	at, _, _ := SplitTimetag(timetag)
	return min(expirySeconds(at/1e6), expireTS)
}

// shrinkFrom is how many bytes of data an expired row has at least of which a tombstone is made. A smaller one is as good as it is.
const shrinkFrom = 64

// faded is an expired row of which a tombstone stays.
type faded struct {
	key     []byte
	timetag uint64
	at      uint32 // see madeAt
}
