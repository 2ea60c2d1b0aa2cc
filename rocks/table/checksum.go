package table

import (
	"fmt"
	"hash/crc32"

	"github.com/OneOfOne/xxhash"
	xxhash64 "github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"
)

// ChecksumType is the first byte of a footer.
type ChecksumType uint8

const (
	NoChecksum ChecksumType = iota
	CRC32c
	XXHash
	XXHash64
	XXH3
)

func (t ChecksumType) known() bool { return t <= XXH3 }

func (t ChecksumType) String() string {
	if !t.known() {
		return fmt.Sprintf("checksum type %d", uint8(t))
	}
	return [...]string{"none", "CRC32c", "xxHash", "xxHash64", "XXH3"}[t]
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MaskCRC is how RocksDB stores a CRC32c: rotated and offset, so that the CRC of data with CRCs in it is sound.
func MaskCRC(c uint32) uint32 { return (c>>15 | c<<17) + 0xa282ead8 }

// sum is the checksum of b, which is a block and the byte of its compression, or a footer.
func (t ChecksumType) sum(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	switch t {
	case CRC32c:
		return MaskCRC(crc32.Checksum(b, castagnoli))
	case XXHash:
		return xxhash.Checksum32(b)
	case XXHash64:
		return uint32(xxhash64.Sum64(b))
	case XXH3:
		n := len(b) - 1
		return uint32(xxh3.Hash(b[:n])) ^ uint32(b[n])*0x6b9083d9
	}
	return 0
}
