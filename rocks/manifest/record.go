package manifest

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"pegasus/rocks/damage"
	"pegasus/rocks/table"
)

// A file of records is cut into blocks of 32 KiB. A record is one chunk or several; a chunk doesn't reach into the next
// block. Before each: masked CRC32c of type and data, u16 length, type. Less than 7 bytes at the end of a block are left empty.
const (
	blockSize   = 32 << 10
	chunkHeader = 7

	chunkFull   = 1
	chunkFirst  = 2
	chunkMiddle = 3
	chunkLast   = 4
)

// errHeadless is about what follows a place that can't be read.
var errHeadless = errors.New("without the beginning of its record")

// errAnother is about a record that is cut off by the beginning of the next one.
var errAnother = errors.New("another record begins in the middle of it")

// maxRecord is the longest record that is accepted, in bytes: an edit has a few hundred per table.
const maxRecord = 256 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// records reads records.
type records struct {
	name string
	r    io.Reader
	buf  [blockSize]byte
	n    int   // bytes of buf
	i    int   // next chunk in buf
	at   int64 // of buf in the file
	end  bool  // buf is the last block

	trust bool // leaves checksums out, for fuzzing what lies behind them
}

func newRecords(name string, r io.Reader) *records { return &records{name: name, r: r} }

func (r *records) bad(at int64, kind damage.Kind, format string, args ...any) error {
	return damage.Newf(r.name, at, kind, format, args...)
}

// next returns the next record, appended to b, and where it begins. io.EOF is the end of a file that ends with a whole record.
func (r *records) next(b []byte) ([]byte, int64, error) {
	begin, inside := int64(-1), false
	for {
		data, kind, at, err := r.chunk()
		if err != nil {
			if err == io.EOF && inside {
				return nil, 0, r.bad(begin, damage.Record, "the record is cut off")
			}
			return nil, 0, err
		}
		if first := kind == chunkFull || kind == chunkFirst; first && inside {
			r.i = int(at - r.at) // it is the beginning of another record
			return nil, 0, r.bad(begin, damage.Record, "%w, with a chunk of type %d at %d", errAnother, kind, at)
		} else if !first && !inside {
			return nil, 0, r.bad(at, damage.Record, "a chunk of type %d, %w", kind, errHeadless)
		}
		if !inside {
			begin, inside = at, true
		}
		if len(b)+len(data) > maxRecord {
			return nil, 0, r.bad(begin, damage.Record, "the record has more than %d bytes", maxRecord)
		}
		b = append(b, data...)
		if kind == chunkFull || kind == chunkLast {
			return b, begin, nil
		}
	}
}

func (r *records) chunk() (data []byte, kind byte, at int64, err error) {
	for r.n-r.i < chunkHeader {
		if r.end {
			if r.i < r.n {
				return nil, 0, 0, r.bad(r.at+int64(r.i), damage.Record, "%d bytes are left, too few for a record", r.n-r.i)
			}
			return nil, 0, 0, io.EOF
		}
		r.at += int64(r.n)
		r.n, err = io.ReadFull(r.r, r.buf[:])
		r.i = 0
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			r.end = true
		case err != nil:
			return nil, 0, 0, err
		}
	}
	h := r.buf[r.i:r.n]
	at = r.at + int64(r.i)
	size, kind := int(binary.LittleEndian.Uint16(h[4:])), h[6]
	if kind < chunkFull || kind > chunkLast {
		return nil, 0, 0, r.bad(at, damage.Record, "a chunk of type %d", kind)
	}
	if size > len(h)-chunkHeader {
		return nil, 0, 0, r.bad(at, damage.Record, "the record is cut off: %d bytes of %d", len(h)-chunkHeader, size)
	}
	want := binary.LittleEndian.Uint32(h)
	if got := table.MaskCRC(crc32.Checksum(h[6:chunkHeader+size], castagnoli)); got != want && !r.trust {
		return nil, 0, 0, r.bad(at, damage.Checksum, "CRC32c of a record is %#x, the file has %#x", got, want)
	}
	r.i += chunkHeader + size
	return h[chunkHeader : chunkHeader+size], kind, at, nil
}

// Scan calls fn with each record of a manifest and where it begins, and where there is none that can be read, with an error: then it goes on at the next
// record, if need be in the next block of 32 KiB. name is for errors. An error of reading r, or of fn, ends it. A record is good until the next one.
func Scan(name string, r io.Reader, fn func(at int64, record []byte, err error) error) error {
	rs := newRecords(name, r)
	var buf []byte
	lost := false // what comes next may be the rest of what was told
	for {
		rec, at, err := rs.next(buf[:0])
		var d *damage.Error
		switch {
		case err == nil:
			buf, lost = rec, false
			err = fn(at, rec, nil)
		case err == io.EOF:
			return nil
		case errors.As(err, &d) && errors.Is(err, errHeadless):
			if lost {
				continue
			}
			lost = true
			err = fn(d.Offset, nil, err)
		case errors.As(err, &d):
			lost = true
			if !errors.Is(err, errAnother) {
				rs.i = rs.n // where the next chunk of this block begins isn't known
			}
			err = fn(d.Offset, nil, err)
		}
		if err != nil {
			return err
		}
	}
}
