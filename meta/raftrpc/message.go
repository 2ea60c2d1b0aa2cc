package raftrpc

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"pegasus/base"
	"pegasus/base/tbin"
)

// request is the body of each RPC between meta servers.
type request struct {
	cluster string
	quorum  string // "": the sender doesn't know yet
	message []byte // msgpack; of a snapshot only with the first chunk

	// A chunk of a snapshot.
	session int64
	offset  int64
	data    []byte
	last    bool
}

// response answers it. If err isn't empty, raft refused.
type response struct {
	err     string
	message []byte
}

// AppendThrift appends the struct.
func (q *request) AppendThrift(b []byte) []byte {
	b = tbin.AppendString(tbin.AppendField(b, tbin.String, 1), q.cluster)
	if q.message != nil {
		b = tbin.AppendBytes(tbin.AppendField(b, tbin.String, 2), q.message)
	}
	if q.quorum != "" {
		b = tbin.AppendString(tbin.AppendField(b, tbin.String, 7), q.quorum)
	}
	if q.session != 0 {
		b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 3), q.session)
		b = tbin.AppendI64(tbin.AppendField(b, tbin.I64, 4), q.offset)
		b = tbin.AppendBytes(tbin.AppendField(b, tbin.String, 5), q.data)
		b = tbin.AppendBool(tbin.AppendField(b, tbin.Bool, 6), q.last)
	}
	return tbin.AppendStop(b)
}

// ReadThrift reads the struct; message and data alias the frame.
func (q *request) ReadThrift(r *tbin.Reader) {
	*q = request{}
	r.Begin()
	for t, id := r.Field(); t != tbin.Stop; t, id = r.Field() {
		switch {
		case id == 1 && t == tbin.String:
			q.cluster = r.String()
		case id == 2 && t == tbin.String:
			q.message = r.Bytes()
		case id == 3 && t == tbin.I64:
			q.session = r.I64()
		case id == 4 && t == tbin.I64:
			q.offset = r.I64()
		case id == 5 && t == tbin.String:
			q.data = r.Bytes()
		case id == 6 && t == tbin.Bool:
			q.last = r.Bool()
		case id == 7 && t == tbin.String:
			q.quorum = r.String()
		default:
			r.Skip(t)
		}
	}
	r.End()
}

// AppendThrift appends the struct.
func (s *response) AppendThrift(b []byte) []byte {
	if s.err != "" {
		b = tbin.AppendString(tbin.AppendField(b, tbin.String, 1), s.err)
	}
	if s.message != nil {
		b = tbin.AppendBytes(tbin.AppendField(b, tbin.String, 2), s.message)
	}
	return tbin.AppendStop(b)
}

// ReadThrift reads the struct; message aliases the frame.
func (s *response) ReadThrift(r *tbin.Reader) {
	*s = response{}
	r.Begin()
	for t, id := r.Field(); t != tbin.Stop; t, id = r.Field() {
		switch {
		case id == 1 && t == tbin.String:
			s.err = r.String()
		case id == 2 && t == tbin.String:
			s.message = r.Bytes()
		default:
			r.Skip(t)
		}
	}
	r.End()
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	if err := codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(v); err != nil {
		return nil, fmt.Errorf("encode raft's %T: %w", v, err)
	}
	return b.Bytes(), nil
}

// maxPrealloc bounds what a length in a message makes the decoder allocate before the
// elements are there.
const maxPrealloc = 1024

func decode(b []byte, v any) (err error) {
	defer func() { // the decoder panics on some malformed input
		if p := recover(); p != nil {
			err = fmt.Errorf("decode raft's %T: %v: %w", v, p, base.ErrInvalidData)
		}
	}()
	h := &codec.MsgpackHandle{}
	h.MaxInitLen = maxPrealloc
	if err := codec.NewDecoderBytes(b, h).Decode(v); err != nil {
		return fmt.Errorf("decode raft's %T: %w: %w", v, base.ErrInvalidData, err)
	}
	return nil
}

// result turns a response into what raft wants to have.
func (s *response) result(into any) error {
	if s.err != "" {
		return errors.New(s.err)
	}
	return decode(s.message, into)
}
