package rrdb

import (
	"io"
	"sync"

	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

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

// Result is the answer to a read: AppendThrift appends the body of its response struct. A single value stays
// in Pebble's memory, so that it is copied only once, into the answer. So a Result must be encoded and
// released soon; it keeps the store open until then.
type Result struct {
	store   *reader
	kind    resultKind
	reverse bool // rows are to be answered last first
	counted bool // scan: answer the number of rows, not the rows
	code    int32
	number  int64 // ttl, count, or context id
	value   []byte
	closer  io.Closer

	rpc   string        // of the request
	asked []byte        // the row key of a get or ttl, the hash key of a count or multi_get
	keys  []idl.FullKey // of a batch_get

	rows    []byte // encoded list elements
	starts  []int  // where each begins; of reverse only
	count   int    // rows found
	size    int    // bytes of keys and values answered
	seen    int    // rows that a range read looked at
	hidden  Hidden
	memory  Memory // nil: rows aren't counted
	charged int    // bytes that memory was asked for
	scratch []byte
}

var results = sync.Pool{New: func() any { return new(Result) }}

// keptBuffer is the largest buffer that is used again.
const keptBuffer = 256 << 10

// newResult returns a result of a store that the caller has entered.
func newResult(s *reader) *Result {
	r := results.Get().(*Result)
	r.store = s
	return r
}

// Release frees Pebble's memory and the result. The result must not be used afterwards.
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

// Single returns the size of a single value, for which no memory was reserved; 0 for other answers.
func (r *Result) Single() int { return len(r.value) }

// countHidden counts a row that a lookup left out.
func (r *Result) countHidden(x row) {
	if x.expired {
		r.hidden.Expired++
	}
}

// fail turns r into an error answer without rows.
func (r *Result) fail(code int32) {
	r.code = code
	r.rows, r.starts = r.rows[:0], r.starts[:0]
	r.count, r.size = 0, 0
}

const (
	// FreeResult is the size of rows up to which a result reserves no memory.
	FreeResult = 64 << 10
	// maxGrowth bounds the memory that a result adds at once.
	maxGrowth = 4 << 20
	// encodedRow is more than the encoding of a row adds to its keys and value.
	encodedRow = 64
)

// room makes room for n more bytes of rows. It waits for memory, and reports false if it doesn't get any.
// Rows count twice, because they are copied into the answer.
func (r *Result) room(n int) bool {
	need, have := len(r.rows)+n, cap(r.rows)
	if r.memory == nil || need <= FreeResult {
		return true
	}
	want := have
	if need > have {
		want = max(need, min(2*have, have+maxGrowth))
	}
	if d := 2*want - r.charged; d > 0 {
		if !r.memory.Reserve(int64(d)) {
			return false
		}
		r.charged += d
	}
	if want > have {
		r.rows = append(make([]byte, 0, want), r.rows...)
	}
	return true
}

// crowded tells whether memory is short, so that r should end early if it can continue later.
func (r *Result) crowded() bool {
	return r.memory != nil && len(r.rows) > FreeResult && r.memory.Crowded()
}

// addRow appends a key_value. It reports false if there is no memory for it.
func (r *Result) addRow(key, value []byte) bool {
	if !r.room(len(key) + len(value) + encodedRow) {
		return false
	}
	if r.reverse {
		r.starts = append(r.starts, len(r.rows))
	}
	r.rows = appendRow(r.rows, key, value)
	r.rows = tbin.AppendStop(r.rows)
	return true
}

// addRowExpiry is addRow with the row's expiry.
func (r *Result) addRowExpiry(key, value []byte, expireTS uint32) bool {
	if !r.room(len(key) + len(value) + encodedRow) {
		return false
	}
	r.rows = appendRow(r.rows, key, value)
	r.rows = tbin.AppendField(r.rows, tbin.I32, 3)
	r.rows = tbin.AppendI32(r.rows, int32(expireTS))
	r.rows = tbin.AppendStop(r.rows)
	return true
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
