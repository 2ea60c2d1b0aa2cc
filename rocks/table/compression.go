package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is the byte after a block.
type Compression uint8

const (
	NoCompression Compression = 0
	Snappy        Compression = 1
	Zlib          Compression = 2
	bzip2         Compression = 3
	LZ4           Compression = 4
	LZ4HC         Compression = 5
	xpress        Compression = 6
	Zstd          Compression = 7
	zstdOld       Compression = 0x40 // zstd before its format was final; the frames say whether they are read
)

func (c Compression) String() string {
	switch c {
	case NoCompression:
		return "none"
	case Snappy:
		return "snappy"
	case Zlib:
		return "zlib"
	case bzip2:
		return "bzip2"
	case LZ4:
		return "LZ4"
	case LZ4HC:
		return "LZ4HC"
	case xpress:
		return "xpress"
	case Zstd, zstdOld:
		return "zstd"
	}
	return fmt.Sprintf("type %d", uint8(c))
}

// decompressor keeps what decoding a table's blocks needs. It is used by one goroutine at a time.
type decompressor struct {
	dict    []byte // of the table; nil for none
	limit   int    // of a block's raw size, in bytes
	inflate io.ReadCloser
	src     bytes.Reader
	zstd    *zstd.Decoder // with dict
}

// plainZstd decodes blocks without a dictionary, for all tables. A decoder is made when the first block needs it.
var plainZstd = sync.OnceValues(func() (*zstd.Decoder, error) { return newZstd(nil) })

func newZstd(dict []byte) (*zstd.Decoder, error) {
	opts := []zstd.DOption{zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxRaw)}
	switch {
	case len(dict) >= 8 && binary.LittleEndian.Uint32(dict) == 0xec30a437: // trained: has tables of its own
		opts = append(opts, zstd.WithDecoderDicts(dict))
	case len(dict) > 0:
		opts = append(opts, zstd.WithDecoderDictRaw(0, dict))
	}
	return zstd.NewReader(nil, opts...)
}

var errUnknownCompression = errors.New("unknown compression")

// growth is how many bytes a byte of a block can become at most; zstd has no such bound.
func growth(c Compression) uint64 {
	switch c {
	case LZ4, LZ4HC:
		return 255
	case Zlib:
		return 1032
	}
	return 1 << 20
}

// decompress returns the raw block, in buf's memory where it is large enough. The result must not be kept longer than buf.
func (d *decompressor) decompress(buf, b []byte, c Compression) ([]byte, error) {
	if c == Snappy {
		n, err := snappy.DecodedLen(b)
		if err != nil {
			return nil, err
		}
		if n > d.limit {
			return nil, fmt.Errorf("%d bytes decompressed, the most is %d", n, d.limit)
		}
		return snappy.Decode(grow(buf, n), b)
	}
	switch c {
	case Zlib, LZ4, LZ4HC, Zstd, zstdOld:
	default:
		return nil, fmt.Errorf("%w %s", errUnknownCompression, c)
	}
	raw, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, errors.New("the size before the compressed data can't be read")
	}
	b = b[n:]
	if raw > uint64(d.limit) {
		return nil, fmt.Errorf("%d bytes decompressed, the most is %d", raw, d.limit)
	}
	if raw > 64+uint64(len(b))*growth(c) {
		return nil, fmt.Errorf("%d bytes can't become %d", len(b), raw)
	}
	var out []byte
	var err error
	switch c {
	case LZ4, LZ4HC:
		out, err = d.lz4(grow(buf, int(raw)), b)
	case Zlib:
		out, err = d.zlib(grow(buf, int(raw)), b)
	default:
		out, err = d.zstandard(buf, b, int(raw))
	}
	if err != nil {
		return nil, err
	}
	if len(out) != int(raw) {
		return nil, fmt.Errorf("%d bytes decompressed, %d were expected", len(out), raw)
	}
	return out, nil
}

func grow(buf []byte, n int) []byte { return slices.Grow(buf[:0], n)[:n] }

func (d *decompressor) lz4(out, b []byte) ([]byte, error) {
	if len(out) == 0 {
		return out, nil
	}
	n, err := lz4.UncompressBlockWithDict(b, out, d.dict)
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}

// zlib reads raw deflate, which is what RocksDB writes with its default window_bits.
func (d *decompressor) zlib(out, b []byte) ([]byte, error) {
	d.src.Reset(b)
	if d.inflate == nil {
		d.inflate = flate.NewReaderDict(&d.src, d.dict)
	} else if err := d.inflate.(flate.Resetter).Reset(&d.src, d.dict); err != nil {
		return nil, err
	}
	n, err := io.ReadFull(d.inflate, out)
	if err != nil {
		return nil, err
	}
	return out[:n], nil
}

func (d *decompressor) zstandard(buf, b []byte, raw int) ([]byte, error) {
	z := d.zstd
	if z == nil {
		var err error
		if z, err = plainZstd(); err != nil {
			return nil, err
		}
		if d.dict != nil {
			if z, err = newZstd(d.dict); err != nil {
				return nil, fmt.Errorf("the dictionary: %w", err)
			}
		}
		d.zstd = z
	}
	var h zstd.Header
	if err := h.Decode(b); err == nil && h.HasFCS && h.FrameContentSize != uint64(raw) {
		return nil, fmt.Errorf("the frame has %d bytes, %d were expected", h.FrameContentSize, raw)
	}
	return z.DecodeAll(b, slices.Grow(buf[:0], raw)[:0])
}

func (d *decompressor) close() {
	if d.dict != nil && d.zstd != nil {
		d.zstd.Close()
	}
	d.zstd = nil
}
