package value

import "pegasus/base/tbin"

// Value is what stands in the single field of an RPC body: a generated struct, a base
// type, or one of this package's.
type Value interface {
	tbin.Encoder
	tbin.Decoder
}

// Blob is a bare byte string: the argument of get, remove, ttl and sortkey_count. It
// aliases the frame it was decoded from.
type Blob []byte

// AppendThrift appends the raw body.
func (v *Blob) AppendThrift(b []byte) []byte { return tbin.AppendBytes(b, *v) }

// ReadThrift reads the raw body.
func (v *Blob) ReadThrift(r *tbin.Reader) { *v = r.Bytes() }

// I64 is a bare number: the argument of clear_scanner.
type I64 int64

// AppendThrift appends the number.
func (v *I64) AppendThrift(b []byte) []byte { return tbin.AppendI64(b, int64(*v)) }

// ReadThrift reads the number.
func (v *I64) ReadThrift(r *tbin.Reader) { *v = I64(r.I64()) }

// Text is a bare string: the result of a remote command.
type Text string

// AppendThrift appends the string.
func (v *Text) AppendThrift(b []byte) []byte { return tbin.AppendString(b, string(*v)) }

// ReadThrift reads the string.
func (v *Text) ReadThrift(r *tbin.Reader) { *v = Text(r.String()) }

// TypeOf is the wire type that a field holding v is announced with.
func TypeOf(v tbin.Encoder) tbin.Type {
	switch v.(type) {
	case *I64:
		return tbin.I64
	case *Text:
		return tbin.String
	}
	return tbin.Struct
}

// AppendField appends an RPC body: v in the field id (1 in a THFT request, else 0), and
// the end of the pseudo struct around it.
func AppendField(b []byte, id int16, v tbin.Encoder) []byte {
	b = tbin.AppendField(b, TypeOf(v), id)
	b = v.AppendThrift(b)
	return tbin.AppendStop(b)
}

// ReadField reads an RPC body into v and returns the field's id. Type byte and id are not
// compared with anything, as upstream doesn't either.
func ReadField(r *tbin.Reader, v tbin.Decoder) (id int16) {
	_, id = r.Field()
	v.ReadThrift(r)
	r.Field()
	return id
}
