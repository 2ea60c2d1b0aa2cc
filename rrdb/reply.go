package rrdb

import "pegasus/base/tbin"

type replyKind uint8

const (
	replyUpdate replyKind = iota // put, remove, multi_put
	replyMultiRemove
	replyIncr
	replyCheck // check_and_set, check_and_mutate
	replyDuplicate
)

// Reply is the answer to a write. It is kept until the write is applied. After SetDecree, AppendThrift
// encodes the response struct of the request.
type Reply struct {
	kind          replyKind
	refused       bool
	checkReturned bool
	checkExist    bool
	tooLarge      bool
	code          int32
	number        int64 // count of multi_remove, new value of incr
	decree        int64
	checkValue    []byte
	hint          string
	id            *identity
}

// Refused tells that the write has no effect: nothing is to be committed, and the reply can be sent at
// once, with decree -1.
func (r *Reply) Refused() bool { return r.refused }

// BadArgument tells whether the write was refused because of an invalid argument.
func (r *Reply) BadArgument() bool { return r.code == codeInvalidArgument }

// TooLarge tells whether the write was refused because it could add more than WriteRequest.MaxBytes.
func (r *Reply) TooLarge() bool { return r.tooLarge }

// SetDecree sets the decree of the committed write.
func (r *Reply) SetDecree(decree int64) { r.decree = decree }

// AppendThrift appends the response struct of the request. All default fields are
// written, zero ones too, as the C++ server does.
func (r *Reply) AppendThrift(b []byte) []byte {
	b = tbin.AppendField(b, tbin.I32, 1)
	b = tbin.AppendI32(b, r.code)
	next := int16(2)
	switch r.kind {
	case replyDuplicate:
		if r.hint != "" {
			b = tbin.AppendField(b, tbin.String, 2)
			b = tbin.AppendString(b, r.hint)
		}
		return tbin.AppendStop(b)
	case replyMultiRemove, replyIncr:
		b = tbin.AppendField(b, tbin.I64, 2)
		b = tbin.AppendI64(b, r.number)
		next = 3
	case replyCheck:
		b = tbin.AppendField(b, tbin.Bool, 2)
		b = tbin.AppendBool(b, r.checkReturned)
		b = tbin.AppendField(b, tbin.Bool, 3)
		b = tbin.AppendBool(b, r.checkExist)
		b = tbin.AppendField(b, tbin.Struct, 4)
		b = tbin.AppendBytes(b, r.checkValue)
		next = 5
	}
	b = r.id.append(b, next)
	b = tbin.AppendField(b, tbin.I64, next+2)
	b = tbin.AppendI64(b, r.decree)
	b = tbin.AppendField(b, tbin.String, next+3)
	b = tbin.AppendString(b, r.id.server)
	return tbin.AppendStop(b)
}
