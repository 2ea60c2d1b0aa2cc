package rrdb

import (
	"encoding/binary"
	"time"

	"pegasus/base"
)

// A stored value is upstream's version 1: u32 BE expiry, u64 BE timetag, user data.
const (
	valueHeader = 12
	dataVersion = 1
)

// ExpiryTime returns t as rows and requests count it: seconds since base.EpochBegin.
// Times before it are 0.
func ExpiryTime(t time.Time) uint32 { return expirySeconds(t.Unix()) }

func expirySeconds(unix int64) uint32 {
	s := unix - base.EpochBegin
	if s < 0 {
		return 0
	}
	return uint32(s)
}

// expired tells whether a record with that expiry is gone at now; expiry 0 is never.
func expired(expireTS, now uint32) bool { return expireTS > 0 && expireTS <= now }

// maxCluster is the largest number of a cluster, and maxTimestamp the largest timestamp, that a
// timetag has room for.
const (
	maxCluster   = 0x7f
	maxTimestamp = 1<<56 - 1
)

// MakeTimetag packs the fields that order writes in duplication, as upstream does: microseconds since
// 1970 of the mutation, the number of the cluster that accepted it, and whether it is a remove. Of two
// writes of a row, the one with the larger timetag is the later one.
func MakeTimetag(timestampUS int64, cluster uint8, deleted bool) uint64 {
	t := uint64(timestampUS)<<8 | uint64(cluster&maxCluster)<<1
	if deleted {
		t |= 1
	}
	return t
}

// SplitTimetag returns the fields of a timetag.
func SplitTimetag(t uint64) (timestampUS int64, cluster uint8, deleted bool) {
	return int64(t >> 8), uint8(t>>1) & maxCluster, t&1 != 0
}

func putValueHeader(b []byte, expireTS uint32, timetag uint64) {
	binary.BigEndian.PutUint32(b, expireTS)
	binary.BigEndian.PutUint64(b[4:], timetag)
}

// splitValue returns the parts of a stored value; data is a slice of v. ok is false when
// v is too short to be one.
func splitValue(v []byte) (expireTS uint32, timetag uint64, data []byte, ok bool) {
	if len(v) < valueHeader {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint32(v), binary.BigEndian.Uint64(v[4:]), v[valueHeader:], true
}

// metaPrefix is the start of the reserved range: no hash key has the length 0xffff. It is the upper bound
// of every iteration over rows.
var metaPrefix = []byte{0xff, 0xff}

// No row key is smaller than firstKey; all keys are smaller than metaEnd.
var (
	firstKey = []byte{0, 0}
	metaEnd  = []byte{0xff, 0xff, 0xff}
)

// validKey tells whether key is an encoded row key.
func validKey(key []byte) bool {
	if len(key) < 2 {
		return false
	}
	n := int(binary.BigEndian.Uint16(key))
	return n <= base.MaxHashKey && len(key) >= 2+n
}

// inPartition tells whether the row belongs to partition index of count.
func inPartition(key []byte, index, count int32) bool {
	return base.InPartition(base.HashOfKey(key), index, count)
}

// lowerBound and upperBound turn a range with inclusive or exclusive ends into a half-open one. The next
// key after k in bytewise order is k followed by a zero byte.
func lowerBound(b, key []byte, inclusive bool) []byte {
	b = append(b, key...)
	if !inclusive {
		b = append(b, 0)
	}
	return b
}

func upperBound(b, key []byte, inclusive bool) []byte {
	b = append(b, key...)
	if inclusive {
		b = append(b, 0)
	}
	return b
}
