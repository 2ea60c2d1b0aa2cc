package base

import "hash/crc64"

var crcTable = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// CRC64 is the hash that places rows: reflected polynomial 0x9a6c9329ac4bc9b5.
func CRC64(b []byte) uint64 { return crc64.Checksum(b, crcTable) }

// HashOf returns the partition hash of a row: of its hash key, or of its sort key when
// the hash key is empty.
func HashOf(hashKey, sortKey []byte) uint64 {
	if len(hashKey) > 0 {
		return CRC64(hashKey)
	}
	return CRC64(sortKey)
}

// HashOfKey returns the partition hash of an encoded row key. A key too short for its
// own length prefix hashes as a whole.
func HashOfKey(key []byte) uint64 {
	h, s, ok := SplitKey(key)
	if !ok {
		return CRC64(key)
	}
	return HashOf(h, s)
}

// InPartition tells whether a row of that hash belongs to partition index of count: clients take the
// remainder. Where count is a power of two, as in every table that was split, that is upstream's mask.
func InPartition(hash uint64, index, count int32) bool {
	return count > 0 && hash%uint64(count) == uint64(index)
}
