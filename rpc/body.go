package rpc

import (
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
)

// AppendBody appends v as a message body: one pseudo field of type STRUCT with id 0, then
// STOP. It is the form of every response and of every RDSN request.
func AppendBody(b []byte, v tbin.Encoder) []byte { return AppendBodyOf(b, tbin.Struct, 0, v) }

// AppendBodyOf is AppendBody with another type byte (0 means STRUCT) or field id; THFT
// requests have id 1.
func AppendBodyOf(b []byte, t tbin.Type, id int16, v tbin.Encoder) []byte {
	if t == tbin.Stop {
		t = tbin.Struct
	}
	b = tbin.AppendField(b, t, id)
	b = v.AppendThrift(b)
	return tbin.AppendStop(b)
}

// DecodeBody reads a message body into d: one pseudo field whose type and id are not
// compared, and the field header after it. d may keep slices of body. The error wraps
// base.ErrInvalidData.
func DecodeBody(body []byte, d tbin.Decoder) error {
	return decodeBody(tbin.NewReader(body), d)
}

// decodeBody is DecodeBody on a Reader of the caller's, which need not be allocated.
func decodeBody(r *tbin.Reader, d tbin.Decoder) error {
	if t, _ := r.Field(); t == tbin.Stop && r.Err() == nil {
		return fmt.Errorf("%w: body without a value", base.ErrInvalidData)
	}
	d.ReadThrift(r)
	r.Field()
	if err := r.Err(); err != nil {
		return fmt.Errorf("%w: %w", base.ErrInvalidData, err)
	}
	return nil
}

// I64 is a bare i64 as an argument or a result (tbin.I64), as RPC_RRDB_RRDB_CLEAR_SCANNER
// takes it.
type I64 int64

// AppendThrift appends the value.
func (v I64) AppendThrift(b []byte) []byte { return tbin.AppendI64(b, int64(v)) }

// ReadThrift reads the value.
func (v *I64) ReadThrift(r *tbin.Reader) { *v = I64(r.I64()) }

// Str is a bare string as a result (tbin.String), as RPC_CLI_CLI_CALL answers it.
type Str string

// AppendThrift appends the value.
func (v Str) AppendThrift(b []byte) []byte { return tbin.AppendString(b, string(v)) }

// ReadThrift reads the value.
func (v *Str) ReadThrift(r *tbin.Reader) { *v = Str(r.String()) }

// Blob is a bare byte string (upstream's dsn.blob) as an argument, for example the key of
// RPC_RRDB_RRDB_GET. Its type byte is STRUCT.
type Blob []byte

// AppendThrift appends the value.
func (v Blob) AppendThrift(b []byte) []byte { return tbin.AppendBytes(b, v) }

// ReadThrift reads the value, which aliases the frame.
func (v *Blob) ReadThrift(r *tbin.Reader) { *v = r.Bytes() }
