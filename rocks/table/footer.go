package table

import (
	"encoding/binary"
	"fmt"

	"pegasus/rocks/damage"
)

const (
	footerSize   = 53
	magic        = 0x88e241b785f4cff7
	legacyMagic  = 0xdb4775248b80fb57 // format version 0
	plainMagic   = 0x8242229663bf9564
	cuckooMagic  = 0x926789d0c5f17873
	trailerBytes = 5 // after each block: compression type, checksum

	minVersion = 2
	maxVersion = 6
)

// extendedMagic follows the checksum type in footers of format version 6.
var extendedMagic = [4]byte{0x3e, 0x00, 0x7a, 0x00}

// handle is the place of a block, without the 5 bytes after it.
type handle struct{ offset, size uint64 }

func readHandle(b []byte) (h handle, rest []byte, ok bool) {
	var n int
	if h.offset, n = binary.Uvarint(b); n <= 0 {
		return h, nil, false
	}
	b = b[n:]
	if h.size, n = binary.Uvarint(b); n <= 0 {
		return h, nil, false
	}
	return h, b[n:], true
}

// footer is the end of a table.
type footer struct {
	version   uint32
	checksum  ChecksumType
	base      uint32 // format version 6: mixed with the offset into each checksum; 0 is "not mixed"
	metaindex handle
	index     handle // up to format version 5; later the metaindex has it
}

// context is added to the checksum of what lies at offset. Format version 6 has it so that a block that was written to another
// place or another file is found out.
func (f *footer) context(offset uint64) uint32 {
	if f.base == 0 {
		return 0
	}
	return f.base ^ (uint32(offset) + uint32(offset>>32))
}

// parseFooter reads the footer, b, of a table of size bytes.
func parseFooter(name string, b []byte, size int64) (*footer, error) {
	at := size - footerSize
	bad := func(format string, args ...any) error {
		return damage.Newf(name, max(at, 0), damage.Footer, format, args...)
	}
	if len(b) != footerSize {
		return nil, bad("%d bytes are too few for a table", size)
	}
	switch m := binary.LittleEndian.Uint64(b[45:]); m {
	case magic:
	case legacyMagic:
		return nil, &damage.Unsupported{File: name, What: "a table of format version 0 (before RocksDB 3.0)"}
	case plainMagic, cuckooMagic:
		return nil, &damage.Unsupported{File: name, What: "a table that is not block-based (plain or cuckoo)"}
	default:
		return nil, bad("the last 8 bytes are %#x, which no table has: it is cut off or no table", m)
	}
	f := &footer{version: binary.LittleEndian.Uint32(b[41:]), checksum: ChecksumType(b[0])}
	if f.version < minVersion || f.version > maxVersion {
		return nil, &damage.Unsupported{File: name, What: fmt.Sprintf("table format version %d (known are %d to %d)", f.version, minVersion, maxVersion)}
	}
	if !f.checksum.known() {
		return nil, bad("checksum type %d is unknown", b[0])
	}
	if f.version < 6 {
		var ok bool
		rest := b[1:41]
		if f.metaindex, rest, ok = readHandle(rest); !ok {
			return nil, bad("the handle of the metaindex can't be read")
		}
		if f.index, _, ok = readHandle(rest); !ok {
			return nil, bad("the handle of the index can't be read")
		}
		return f, nil
	}
	if [4]byte(b[1:5]) != extendedMagic {
		return nil, bad("bytes 1 to 4 are %x, format version %d has %x", b[1:5], f.version, extendedMagic)
	}
	stored := binary.LittleEndian.Uint32(b[5:])
	f.base = binary.LittleEndian.Uint32(b[9:])
	clean := [footerSize]byte(b)
	clear(clean[5:9])
	if got := f.checksum.sum(clean[:]) + f.context(uint64(at)); got != stored && f.checksum != NoChecksum {
		return nil, bad("checksum of the footer is %#x, the footer has %#x", got, stored)
	}
	n := uint64(binary.LittleEndian.Uint32(b[13:]))
	if n+trailerBytes > uint64(at) {
		return nil, bad("the metaindex has %d bytes, the table %d", n, size)
	}
	f.metaindex = handle{offset: uint64(at) - trailerBytes - n, size: n}
	return f, nil
}
