package tbin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Type is a Thrift wire type byte.
type Type byte

// The wire types in use. U64 is an extension of the rDSN dialect.
const (
	Stop   Type = 0
	Bool   Type = 2
	Byte   Type = 3
	Double Type = 4
	I16    Type = 6
	I32    Type = 8
	U64    Type = 9
	I64    Type = 10
	String Type = 11
	Struct Type = 12
	Map    Type = 13
	Set    Type = 14
	List   Type = 15
)

// MaxDepth bounds how deep structs and containers may nest in one value.
const MaxDepth = 32

// Errors of a Reader. All of them wrap ErrMalformed.
var (
	ErrMalformed = errors.New("malformed thrift")
	errShort     = fmt.Errorf("%w: value runs past the end of the frame", ErrMalformed)
	errSize      = fmt.Errorf("%w: negative or impossible size", ErrMalformed)
	errDepth     = fmt.Errorf("%w: nested too deep", ErrMalformed)
	errType      = fmt.Errorf("%w: unknown type", ErrMalformed)
)

// Encoder is a value that can append its own Thrift binary form.
type Encoder interface {
	AppendThrift(b []byte) []byte
}

// Decoder is a value that can fill itself from a Reader; errors stay in the Reader.
type Decoder interface {
	ReadThrift(r *Reader)
}

// AppendBool appends a bool value.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendByte appends an i8.
func AppendByte(b []byte, v int8) []byte { return append(b, byte(v)) }

// AppendI16 appends an i16.
func AppendI16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

// AppendI32 appends an i32.
func AppendI32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendI64 appends an i64.
func AppendI64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendDouble appends a double.
func AppendDouble(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendBytes appends i32 length and the bytes.
func AppendBytes(b, v []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

// AppendString appends i32 length and the bytes.
func AppendString(b []byte, v string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

// AppendField appends a field header: type byte and id.
func AppendField(b []byte, t Type, id int16) []byte {
	return append(b, byte(t), byte(uint16(id)>>8), byte(id))
}

// AppendStop appends the end of a struct.
func AppendStop(b []byte) []byte { return append(b, byte(Stop)) }

// AppendList appends the header of a list or set.
func AppendList(b []byte, elem Type, n int) []byte {
	b = append(b, byte(elem))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// AppendMap appends the header of a map.
func AppendMap(b []byte, key, val Type, n int) []byte {
	b = append(b, byte(key), byte(val))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// Reader reads one frame. The zero value reads nothing; use NewReader or Reset.
type Reader struct {
	b     []byte
	off   int
	depth int
	err   error
}

// NewReader returns a Reader over b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Reset makes the Reader start over on b.
func (r *Reader) Reset(b []byte) { *r = Reader{b: b} }

// Err returns the first error, nil if there was none.
func (r *Reader) Err() error { return r.err }

// Fail records err unless one is recorded already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.b) - r.off }

// Offset returns how many bytes were read.
func (r *Reader) Offset() int { return r.off }

// Rest returns the unread bytes, without consuming them.
func (r *Reader) Rest() []byte { return r.b[r.off:] }

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.off {
		r.err = errShort
		return nil
	}
	v := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return v
}

// Bool reads a bool.
func (r *Reader) Bool() bool {
	v := r.take(1)
	return v != nil && v[0] != 0
}

// Byte reads an i8.
func (r *Reader) Byte() int8 {
	v := r.take(1)
	if v == nil {
		return 0
	}
	return int8(v[0])
}

// I16 reads an i16.
func (r *Reader) I16() int16 {
	v := r.take(2)
	if v == nil {
		return 0
	}
	return int16(binary.BigEndian.Uint16(v))
}

// I32 reads an i32.
func (r *Reader) I32() int32 {
	v := r.take(4)
	if v == nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(v))
}

// I64 reads an i64.
func (r *Reader) I64() int64 {
	v := r.take(8)
	if v == nil {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

// Double reads a double.
func (r *Reader) Double() float64 { return math.Float64frombits(uint64(r.I64())) }

// Bytes reads a length-prefixed byte string. The result aliases the frame and is nil
// only on error: an empty string is an empty, non-nil slice.
func (r *Reader) Bytes() []byte {
	n := r.I32()
	if r.err != nil {
		return nil
	}
	if n < 0 {
		r.err = errSize
		return nil
	}
	return r.take(int(n))
}

// String reads a length-prefixed string, copying it.
func (r *Reader) String() string { return string(r.Bytes()) }

// Field reads a field header. At the end of the struct, and on error, t is Stop.
func (r *Reader) Field() (t Type, id int16) {
	v := r.take(1)
	if v == nil || Type(v[0]) == Stop {
		return Stop, 0
	}
	id = r.I16()
	if r.err != nil {
		return Stop, 0
	}
	return Type(v[0]), id
}

// Begin enters a struct or container; End leaves it. Begin reports false, with the
// error recorded, when the nesting is too deep.
func (r *Reader) Begin() bool {
	r.depth++
	if r.depth > MaxDepth {
		r.Fail(errDepth)
	}
	return r.err == nil
}

// End leaves what the last Begin entered.
func (r *Reader) End() { r.depth-- }

// ListHeader reads the header of a list or set. minElem is the least number of bytes an
// element takes; a count that can't fit what is left is an error, so a caller may
// allocate n elements.
func (r *Reader) ListHeader(minElem int) (elem Type, n int) {
	t := r.take(1)
	c := r.I32()
	if r.err != nil {
		return Stop, 0
	}
	return Type(t[0]), r.count(c, minElem)
}

// MapHeader reads the header of a map; minPair is as minElem in ListHeader.
func (r *Reader) MapHeader(minPair int) (key, val Type, n int) {
	t := r.take(2)
	c := r.I32()
	if r.err != nil {
		return Stop, Stop, 0
	}
	return Type(t[0]), Type(t[1]), r.count(c, minPair)
}

func (r *Reader) count(c int32, least int) int {
	if least < 1 {
		least = 1
	}
	if c < 0 || int(c) > r.Len()/least {
		r.Fail(errSize)
		return 0
	}
	return int(c)
}

// Skip passes over one value of type t. It can't pass over rDSN's hand-written types
// (blob, gpid, addresses, codes), whose bytes are no Thrift struct.
func (r *Reader) Skip(t Type) {
	switch t {
	case Bool, Byte:
		r.take(1)
	case I16:
		r.take(2)
	case I32:
		r.take(4)
	case I64, U64, Double:
		r.take(8)
	case String:
		r.Bytes()
	case Struct:
		if r.Begin() {
			for {
				ft, _ := r.Field()
				if ft == Stop {
					break
				}
				r.Skip(ft)
			}
		}
		r.End()
	case List, Set:
		if r.Begin() {
			et, n := r.ListHeader(1)
			for i := 0; i < n && r.err == nil; i++ {
				r.Skip(et)
			}
		}
		r.End()
	case Map:
		if r.Begin() {
			kt, vt, n := r.MapHeader(2)
			for i := 0; i < n && r.err == nil; i++ {
				r.Skip(kt)
				r.Skip(vt)
			}
		}
		r.End()
	default:
		r.Fail(errType)
	}
}
