package table

import (
	"context"
	"encoding/binary"
	"strings"

	"pegasus/rocks/damage"
)

// Properties are what a table tells of itself, as far as somebody here wants to know.
type Properties struct {
	FormatVersion  uint32
	Checksum       ChecksumType
	Comparator     string // empty in tables that don't say
	Compression    string // RocksDB's name of it; single blocks may be plain
	ColumnFamily   string
	Entries        uint64 // with deletions
	Deletions      uint64
	RangeDeletions uint64
	DataBlocks     uint64
	RawKeySize     uint64 // bytes, internal keys
	RawValueSize   uint64 // bytes
	CreationTime   uint64 // Unix seconds, 0 unknown

	indexType       uint32
	userKeyIndex    bool
	deltaHandles    bool
	external        bool
	externalVersion uint32
	globalSequence  uint64
}

// Values of the property rocksdb.block.based.table.index.type.
const (
	indexBinary uint32 = iota
	indexHash
	indexTwoLevel
	indexFirstKey
)

func (r *Reader) readProperties(ctx context.Context, f *fetcher, at handle) (Properties, error) {
	p := Properties{FormatVersion: r.footer.version, Checksum: r.footer.checksum}
	b, err := f.block(ctx, at)
	if err != nil {
		return p, err
	}
	var c cursor
	c.reset(b, coding{})
	numbers := map[string]*uint64{
		"rocksdb.num.entries":         &p.Entries,
		"rocksdb.deleted.keys":        &p.Deletions,
		"rocksdb.num.range-deletions": &p.RangeDeletions,
		"rocksdb.num.data.blocks":     &p.DataBlocks,
		"rocksdb.raw.key.size":        &p.RawKeySize,
		"rocksdb.raw.value.size":      &p.RawValueSize,
		"rocksdb.creation.time":       &p.CreationTime,
	}
	bools := map[string]*bool{
		"rocksdb.index.key.is.user.key":        &p.userKeyIndex,
		"rocksdb.index.value.is.delta.encoded": &p.deltaHandles,
	}
	texts := map[string]*string{
		"rocksdb.comparator":         &p.Comparator,
		"rocksdb.compression":        &p.Compression,
		"rocksdb.column.family.name": &p.ColumnFamily,
	}
	for c.step() {
		name := string(c.key)
		short := func(n int) error {
			return r.bad(at, damage.Properties, "%s has %d bytes, %d were expected", name, len(c.value), n)
		}
		number, isNumber := numbers[name]
		flag, isBool := bools[name]
		text, isText := texts[name]
		switch {
		case isNumber || isBool:
			v, n := binary.Uvarint(c.value)
			if n <= 0 {
				return p, r.bad(at, damage.Properties, "%s is no number", name)
			}
			if isNumber {
				*number = v
			} else {
				*flag = v != 0
			}
		case isText:
			*text = strings.Clone(string(c.value))
		case name == "rocksdb.block.based.table.index.type":
			if len(c.value) != 4 {
				return p, short(4)
			}
			p.indexType = binary.LittleEndian.Uint32(c.value)
		case name == "rocksdb.external_sst_file.version":
			if len(c.value) != 4 {
				return p, short(4)
			}
			p.external, p.externalVersion = true, binary.LittleEndian.Uint32(c.value)
		case name == "rocksdb.external_sst_file.global_seqno":
			if len(c.value) != 8 {
				return p, short(8)
			}
			p.globalSequence = binary.LittleEndian.Uint64(c.value)
		}
	}
	if c.err != nil {
		return p, r.badBlock(at, c.err)
	}
	return p, nil
}
