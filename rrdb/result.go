package rrdb

import (
	"io"
	"sync"

	"pegasus/base/tbin"
)

// row is a live row in the engine's memory.
type row struct {
	data     []byte
	expireTS uint32
	timetag  uint64
	closer   io.Closer
	expired  bool // there is a row, whose time is over; nothing else of it is told
}

type resultKind uint8

const (
	kindNone resultKind = iota
	kindGet
	kindTTL
	kindCount
	kindMultiGet
	kindBatchGet
	kindScan
)

// Result is the answer to a read: AppendThrift appends the body of its response struct.
// A single value is still in the engine's memory, so that it is copied once, into the
// answer; hence a Result must be encoded and released soon, and holds the store open until
// then.
type Result struct {
	store   *Store
	kind    resultKind
	reverse bool // rows are to be answered last first
	counted bool // scan: answer the number of rows, not the rows
	code    int32
	number  int64 // ttl, count, or context id
	value   []byte
	closer  io.Closer

	rows    []byte // encoded list elements
	starts  []int  // where each begins; of reverse only
	count   int    // rows found
	size    int    // bytes of keys and values answered
	seen    int    // rows that a range read looked at
	hidden  Hidden
	memory  Memory // nil: rows aren't counted
	charged int    // bytes of rows that memory was told of
	scratch []byte
}

var results = sync.Pool{New: func() any { return new(Result) }}

// keptBuffer is how large a buffer may be to be used again.
const keptBuffer = 256 << 10

// newResult returns a result of a store that the caller has entered.
func newResult(s *Store) *Result {
	r := results.Get().(*Result)
	r.store = s
	return r
}

// Release gives the engine's memory and the result back. The result must not be used
// afterwards.
func (r *Result) Release() {
	s := r.store
	if r.closer != nil {
		if err := r.closer.Close(); err != nil {
			s.readFailed(err)
		}
	}
	rows, starts, scratch := r.rows[:0], r.starts[:0], r.scratch[:0]
	if cap(rows) > keptBuffer {
		rows = nil
	}
	if cap(starts) > keptBuffer/8 {
		starts = nil
	}
	if cap(scratch) > keptBuffer {
		scratch = nil
	}
	*r = Result{rows: rows, starts: starts, scratch: scratch}
	results.Put(r)
	s.leave()
}

// Code returns the answer's error field, one of RocksDB's codes: 0 is success, 1 not
// found, 4 invalid argument, 7 incomplete.
func (r *Result) Code() int32 { return r.code }

// Size returns how many bytes of keys and values are answered, and how many rows were found.
func (r *Result) Size() (bytes, rows int) { return r.size, r.count }

// Hidden counts the rows that a read found and didn't answer.
type Hidden struct {
	Expired  int // their time is over
	Filtered int // a filter of the request doesn't match
}

// Hidden returns how many rows were looked at and not answered.
func (r *Result) Hidden() Hidden { return r.hidden }

// Seen returns how many rows were looked at, hidden ones included.
func (r *Result) Seen() int { return max(r.seen, r.count) }

// hides counts a row that a lookup didn't give.
func (r *Result) hides(x row) {
	if x.expired {
		r.hidden.Expired++
	}
}

// fail makes r an answer without rows.
func (r *Result) fail(code int32) {
	r.code = code
	r.rows, r.starts = r.rows[:0], r.starts[:0]
	r.count, r.size = 0, 0
}

// freeResult is how many bytes of rows aren't counted.
const freeResult = 64 << 10

// charge counts the memory of rows.
func (r *Result) charge() {
	if r.memory != nil && len(r.rows) > max(r.charged, freeResult) {
		r.memory.Charge(int64(cap(r.rows) - r.charged))
		r.charged = cap(r.rows)
	}
}

// crowded tells that r should end early, if it can go on later.
func (r *Result) crowded() bool {
	return r.memory != nil && len(r.rows) > freeResult && r.memory.Crowded()
}

// addRow appends a key_value.
func (r *Result) addRow(key, value []byte) {
	if r.reverse {
		r.starts = append(r.starts, len(r.rows))
	}
	r.rows = appendRow(r.rows, key, value)
	r.rows = tbin.AppendStop(r.rows)
	r.charge()
}

// addRowExpiry appends a key_value that tells its expiry.
func (r *Result) addRowExpiry(key, value []byte, expireTS uint32) {
	r.rows = appendRow(r.rows, key, value)
	r.rows = tbin.AppendField(r.rows, tbin.I32, 3)
	r.rows = tbin.AppendI32(r.rows, int32(expireTS))
	r.rows = tbin.AppendStop(r.rows)
	r.charge()
}

func appendRow(b, key, value []byte) []byte {
	b = tbin.AppendField(b, tbin.Struct, 1)
	b = tbin.AppendBytes(b, key)
	b = tbin.AppendField(b, tbin.Struct, 2)
	return tbin.AppendBytes(b, value)
}

// AppendThrift appends the response struct of the request. All default fields are
// written, zero ones too, as the C++ server does.
func (r *Result) AppendThrift(b []byte) []byte {
	b = tbin.AppendField(b, tbin.I32, 1)
	b = tbin.AppendI32(b, r.code)
	switch r.kind {
	case kindGet:
		b = tbin.AppendField(b, tbin.Struct, 2)
		b = tbin.AppendBytes(b, r.value)
	case kindTTL:
		b = tbin.AppendField(b, tbin.I32, 2)
		b = tbin.AppendI32(b, int32(r.number))
	case kindCount:
		b = tbin.AppendField(b, tbin.I64, 2)
		b = tbin.AppendI64(b, r.number)
	case kindMultiGet, kindBatchGet:
		b = r.appendRows(b)
	case kindScan:
		return r.appendScan(b)
	}
	b = r.store.id.append(b, 3)
	b = tbin.AppendField(b, tbin.String, 6)
	b = tbin.AppendString(b, r.store.id.server)
	return tbin.AppendStop(b)
}

func (r *Result) appendScan(b []byte) []byte {
	b = r.appendRows(b)
	b = tbin.AppendField(b, tbin.I64, 3)
	b = tbin.AppendI64(b, r.number)
	b = r.store.id.append(b, 4)
	b = tbin.AppendField(b, tbin.String, 6)
	b = tbin.AppendString(b, r.store.id.server)
	if r.counted {
		b = tbin.AppendField(b, tbin.I32, 7)
		b = tbin.AppendI32(b, int32(r.count))
	}
	return tbin.AppendStop(b)
}

func (r *Result) appendRows(b []byte) []byte {
	b = tbin.AppendField(b, tbin.List, 2)
	if r.counted {
		return tbin.AppendList(b, tbin.Struct, 0)
	}
	b = tbin.AppendList(b, tbin.Struct, r.count)
	if !r.reverse {
		return append(b, r.rows...)
	}
	end := len(r.rows)
	for i := len(r.starts) - 1; i >= 0; i-- {
		b = append(b, r.rows[r.starts[i]:end]...)
		end = r.starts[i]
	}
	return b
}

// append appends the fields app_id and partition_index, the first with that id.
func (id *identity) append(b []byte, first int16) []byte {
	b = tbin.AppendField(b, tbin.I32, first)
	b = tbin.AppendI32(b, id.appID)
	b = tbin.AppendField(b, tbin.I32, first+1)
	return tbin.AppendI32(b, id.partition)
}
