package table

import (
	"bytes"
	"encoding/binary"
)

// EntryType is the low byte of an internal key's trailer.
type EntryType uint8

const (
	Deletion       EntryType = 0x0
	Value          EntryType = 0x1
	Merge          EntryType = 0x2
	SingleDeletion EntryType = 0x7
)

// MaxSequence is the largest sequence number: 56 bits.
const MaxSequence = 1<<56 - 1

// Key is an internal key: a user key, and which write of it this is.
type Key struct {
	User     []byte
	Sequence uint64
	Type     EntryType
}

// Compare orders as RocksDB's tables are ordered: user keys rise, and of one user key the newest comes first.
func (k Key) Compare(o Key) int {
	if c := bytes.Compare(k.User, o.User); c != 0 {
		return c
	}
	a, b := k.trailer(), o.trailer()
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

func (k Key) trailer() uint64 { return k.Sequence<<8 | uint64(k.Type) }

const trailerSize = 8

// SplitKey returns the parts of an encoded internal key: the user key, then little-endian sequence<<8 | type.
func SplitKey(b []byte) (Key, bool) {
	n := len(b) - trailerSize
	if n < 0 {
		return Key{}, false
	}
	t := binary.LittleEndian.Uint64(b[n:])
	return Key{User: b[:n:n], Sequence: t >> 8, Type: EntryType(t)}, true
}

// AppendKey appends the encoded internal key.
func AppendKey(b []byte, k Key) []byte {
	b = append(b, k.User...)
	return binary.LittleEndian.AppendUint64(b, k.trailer())
}
