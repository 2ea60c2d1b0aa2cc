package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
)

// Writer writes a table that belongs to no database yet, which RocksDB takes into one (IngestExternalFile): what its SstFileWriter writes,
// in format version 2 with CRC32c, which all releases of Pegasus read. It belongs to one goroutine. After an error it only fails.
type Writer struct {
	w                                                io.Writer
	o                                                WriterOptions
	zstd                                             *zstd.Encoder
	at                                               uint64
	data                                             blockBuilder
	index                                            blockBuilder
	last                                             []byte // internal key of the last entry
	user                                             []byte // its user key
	packed                                           []byte
	entries, blocks, keyBytes, valueBytes, dataBytes uint64
	err                                              error
}

// WriterOptions say how a table is written.
type WriterOptions struct {
	Compression Compression // NoCompression, Snappy or Zstd
	BlockSize   int         // of data before compression, in bytes; 0 for 4 KiB, which is RocksDB's default
}

const (
	defaultBlock    = 4 << 10
	restartInterval = 16
	writtenVersion  = 2
	externalVersion = 2
)

// maxEntry keeps an entry within a block that a reader accepts.
const maxEntry = maxRaw / 2

// NewWriter begins a table.
func NewWriter(w io.Writer, o WriterOptions) (*Writer, error) {
	if o.BlockSize <= 0 {
		o.BlockSize = defaultBlock
	}
	t := &Writer{w: w, o: o, data: blockBuilder{every: restartInterval}, index: blockBuilder{every: 1}}
	switch o.Compression {
	case NoCompression, Snappy:
	case Zstd:
		var err error
		if t.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithSingleSegment(true)); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("tables aren't written with compression %s", o.Compression)
	}
	return t, nil
}

// Size is how many bytes were written, and wait to be.
func (t *Writer) Size() int64 { return int64(t.at) + int64(t.data.size()) }

// Add writes a row. Keys must rise.
func (t *Writer) Add(key, value []byte) error {
	if t.err == nil {
		t.err = t.add(key, value)
	}
	return t.err
}

func (t *Writer) add(key, value []byte) error {
	switch {
	case t.entries > 0 && bytes.Compare(t.user, key) >= 0:
		return fmt.Errorf("key %x comes after %x", key, t.user)
	case len(key)+len(value) > maxEntry:
		return fmt.Errorf("a row of %d bytes, the most is %d", len(key)+len(value), maxEntry)
	}
	t.user = append(t.user[:0], key...)
	t.last = AppendKey(t.last[:0], Key{User: key, Type: Value})
	t.data.add(t.last, value)
	t.entries++
	t.keyBytes += uint64(len(t.last))
	t.valueBytes += uint64(len(value))
	if t.data.size() >= t.o.BlockSize {
		return t.flush()
	}
	return nil
}

// flush ends the data block.
func (t *Writer) flush() error {
	if t.data.empty() {
		return nil
	}
	h, err := t.block(t.data.finish(), t.o.Compression)
	if err != nil {
		return err
	}
	t.data.reset()
	t.blocks++
	t.dataBytes += h.size + trailerBytes
	t.index.add(t.last, appendHandle(nil, h))
	return nil
}

// block writes a block, compressed if that makes it smaller.
func (t *Writer) block(b []byte, c Compression) (handle, error) {
	out := b
	switch c {
	case Snappy:
		out = snappy.Encode(t.packed[:cap(t.packed)], b)
		t.packed = out
	case Zstd: // RocksDB has the size before compression in front of the frame
		out = t.zstd.EncodeAll(b, binary.AppendUvarint(t.packed[:0], uint64(len(b))))
		t.packed = out
	}
	if len(out) >= len(b)-len(b)/8 {
		out, c = b, NoCompression
	}
	h := handle{t.at, uint64(len(out))}
	trailer := [trailerBytes]byte{byte(c)}
	sum := crc32.Update(crc32.Checksum(out, castagnoli), castagnoli, trailer[:1])
	binary.LittleEndian.PutUint32(trailer[1:], MaskCRC(sum))
	if err := t.write(out); err != nil {
		return h, err
	}
	return h, t.write(trailer[:])
}

func (t *Writer) write(b []byte) error {
	n, err := t.w.Write(b)
	t.at += uint64(n)
	return err
}

// Close writes what follows the data. What it writes to stays the caller's.
func (t *Writer) Close() error {
	if t.err == nil {
		t.err = t.close()
	}
	err := t.err
	if err == nil {
		t.err = fmt.Errorf("the table is written already")
	}
	return err
}

func (t *Writer) close() error {
	if t.entries == 0 {
		return fmt.Errorf("the table has no rows: RocksDB takes none like that")
	}
	if err := t.flush(); err != nil {
		return err
	}
	index, err := t.block(t.index.finish(), NoCompression)
	if err != nil {
		return err
	}
	properties, err := t.block(t.properties(index), NoCompression)
	if err != nil {
		return err
	}
	meta := blockBuilder{every: 1}
	meta.add([]byte("rocksdb.properties"), appendHandle(nil, properties))
	metaindex, err := t.block(meta.finish(), NoCompression)
	if err != nil {
		return err
	}
	var footer [footerSize]byte
	footer[0] = byte(CRC32c)
	copy(footer[1:41], appendHandle(appendHandle(nil, metaindex), index))
	binary.LittleEndian.PutUint32(footer[41:], writtenVersion)
	binary.LittleEndian.PutUint64(footer[45:], magic)
	return t.write(footer[:])
}

// properties is the block of the table's properties. RocksDB refuses a table without the two of external_sst_file.
func (t *Writer) properties(index handle) []byte {
	compression := map[Compression]string{NoCompression: "NoCompression", Snappy: "Snappy", Zstd: "ZSTD"}[t.o.Compression]
	values := map[string][]byte{
		"rocksdb.comparator":     []byte(bytewise),
		"rocksdb.compression":    []byte(compression),
		"rocksdb.merge.operator": []byte("nullptr"),

		"rocksdb.block.based.table.index.type":          binary.LittleEndian.AppendUint32(nil, indexBinary),
		"rocksdb.block.based.table.prefix.filtering":    []byte("0"),
		"rocksdb.block.based.table.whole.key.filtering": []byte("1"),
		"rocksdb.external_sst_file.version":             binary.LittleEndian.AppendUint32(nil, externalVersion),
		"rocksdb.external_sst_file.global_seqno":        make([]byte, 8),
	}
	for name, n := range map[string]uint64{
		"rocksdb.column.family.id":    math.MaxInt32, // unknown
		"rocksdb.data.size":           t.dataBytes,
		"rocksdb.deleted.keys":        0,
		"rocksdb.filter.size":         0,
		"rocksdb.fixed.key.length":    0,
		"rocksdb.format.version":      0, // of the layout of keys in plain tables
		"rocksdb.index.size":          index.size + trailerBytes,
		"rocksdb.merge.operands":      0,
		"rocksdb.num.data.blocks":     t.blocks,
		"rocksdb.num.entries":         t.entries,
		"rocksdb.num.range-deletions": 0,
		"rocksdb.raw.key.size":        t.keyBytes,
		"rocksdb.raw.value.size":      t.valueBytes,
	} {
		values[name] = binary.AppendUvarint(nil, n)
	}
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	b := blockBuilder{every: 1}
	for _, n := range names {
		b.add([]byte(n), values[n])
	}
	return b.finish()
}

func appendHandle(b []byte, h handle) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, h.offset), h.size)
}

// blockBuilder makes a block.
type blockBuilder struct {
	every    int // entries between restart points
	b        []byte
	restarts []uint32
	since    int
	last     []byte
}

func (b *blockBuilder) add(key, value []byte) {
	shared := 0
	if len(b.restarts) == 0 || b.since == b.every {
		b.restarts = append(b.restarts, uint32(len(b.b)))
		b.since = 0
	} else {
		for shared < len(key) && shared < len(b.last) && key[shared] == b.last[shared] {
			shared++
		}
	}
	b.b = binary.AppendUvarint(b.b, uint64(shared))
	b.b = binary.AppendUvarint(b.b, uint64(len(key)-shared))
	b.b = binary.AppendUvarint(b.b, uint64(len(value)))
	b.b = append(append(b.b, key[shared:]...), value...)
	b.last = append(b.last[:0], key...)
	b.since++
}

func (b *blockBuilder) empty() bool { return len(b.restarts) == 0 }

func (b *blockBuilder) size() int {
	if b.empty() {
		return 0
	}
	return len(b.b) + 4*len(b.restarts) + 4
}

// finish returns the block, which is good until reset.
func (b *blockBuilder) finish() []byte {
	for _, r := range b.restarts {
		b.b = binary.LittleEndian.AppendUint32(b.b, r)
	}
	b.b = binary.LittleEndian.AppendUint32(b.b, uint32(len(b.restarts)))
	return b.b
}

func (b *blockBuilder) reset() {
	b.b, b.restarts, b.since, b.last = b.b[:0], b.restarts[:0], 0, b.last[:0]
}
