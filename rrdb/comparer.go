package rrdb

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
)

// comparerName is written to disk and compared at each open.
const comparerName = "pegasus.hashkey.v1"

// comparer orders keys bytewise. It splits them after the hash key, so that Pebble's filters are over hash
// keys: a lookup reads nothing of a table without that hash key, and a scan of one hash key skips such
// tables too.
//
// The split is at 2 + length prefix, or at the end of a shorter key (an index separator or the metadata
// key). Keys with the same first two bytes are split at the same place, other keys are ordered by those
// bytes. So prefixes are ordered like keys and suffixes bytewise, as Pebble requires.
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

// nextPrefix appends the smallest key after a that is a whole prefix.
func nextPrefix(dst, a []byte) []byte {
	if len(a) < 2 || len(a) < 2+int(binary.BigEndian.Uint16(a)) {
		return append(append(dst, a...), 0)
	}
	n := len(dst)
	if dst = base.NextKey(dst, a); len(dst) == n {
		dst = append(append(dst, a...), 0) // a is all 0xff and has no next key
	}
	return dst
}
