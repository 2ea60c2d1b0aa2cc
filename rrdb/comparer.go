package rrdb

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// comparerName is written to disk and compared at each open.
const comparerName = "pegasus.hashkey.v1"

// comparer orders keys bytewise. What it adds is the split behind the hash key, so that
// Pebble's filters are over hash keys: a lookup in a table without that hash key reads
// nothing, and a scan of one hash key skips tables as well.
//
// The split is at 2 + length prefix, or at the end of a shorter key (index separators and
// the metadata key are such). Two keys with the same first two bytes are cut at the same
// place, others are ordered by those two bytes, hence prefixes order as keys do and
// suffixes compare bytewise: what Pebble asks of a split.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = comparerName
	c.Split = splitHashKey
	c.ImmediateSuccessor = nextPrefix
	return &c
}()

func splitHashKey(key []byte) int {
	if len(key) < 2 {
		return len(key)
	}
	return min(len(key), 2+int(binary.BigEndian.Uint16(key)))
}

// nextPrefix appends the smallest key above a that the split leaves whole.
func nextPrefix(dst, a []byte) []byte {
	if len(a) < 2 || len(a) < 2+int(binary.BigEndian.Uint16(a)) {
		return append(append(dst, a...), 0)
	}
	n := len(dst)
	if dst = base.NextKey(dst, a); len(dst) == n {
		dst = append(append(dst, a...), 0) // all 0xff: there is none
	}
	return dst
}
