package base

import (
	"encoding/binary"
	"fmt"
)

// MaxHashKey is the longest hash key, in bytes: the length prefix 0xffff is not used.
const MaxHashKey = 65534

// AppendKey appends the encoded row key: big-endian u16 length of the hash key, the
// hash key, the sort key. It panics on a hash key over MaxHashKey; check user input
// with CheckHashKey first.
func AppendKey(b, hashKey, sortKey []byte) []byte {
	if len(hashKey) > MaxHashKey {
		panic(fmt.Sprintf("hash key of %d bytes", len(hashKey)))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(hashKey)))
	b = append(b, hashKey...)
	return append(b, sortKey...)
}

// CheckHashKey says whether a hash key is short enough to be encoded.
func CheckHashKey(hashKey []byte) error {
	if len(hashKey) > MaxHashKey {
		return fmt.Errorf("hash key has %d bytes, the most is %d: %w", len(hashKey), MaxHashKey, ErrInvalidParameters)
	}
	return nil
}

// SplitKey returns the parts of an encoded row key, as slices of it; ok is false when
// the key is shorter than its length prefix says.
func SplitKey(key []byte) (hashKey, sortKey []byte, ok bool) {
	if len(key) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(key))
	if len(key) < 2+n {
		return nil, nil, false
	}
	return key[2 : 2+n : 2+n], key[2+n:], true
}

// NextKey appends the smallest key above every key that has prefix p: the last byte
// below 0xff is raised and the rest cut. With no such byte it appends nothing, which as
// an upper bound means "no bound".
func NextKey(b, p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			b = append(b, p[:i+1]...)
			b[len(b)-1]++
			return b
		}
	}
	return b
}

// EpochBegin is the Unix time of 2016-01-01T00:00:00Z, from which expiry counts.
const EpochBegin = 1451606400
