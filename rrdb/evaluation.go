package rrdb

import (
	"slices"

	"pegasus/base/tbin"
)

// evaluation is one call of Evaluate. It copies the request's fields: with a pointer to the request the
// compiler would allocate it on the heap.
type evaluation struct {
	s        *reader
	code     string
	arg      tbin.Reader
	hash     uint64
	now      uint32
	ov       *Overlay
	payload  []byte
	before   int // length of payload at the start
	maxBytes int
	room     int
	cluster  uint8
	removed  uint64 // timetag of the removes of a client: see Tombstone
	count    int32
	reply    Reply
	touched  Touched
}

// refuse turns the answer into a refusal.
func (e *evaluation) refuse(code int32) error {
	e.payload = e.payload[:e.before]
	e.reply.refused = true
	e.reply.code = code
	return nil
}

// fits tells whether rows of up to n bytes may be added. If not, the write is refused, or err says that it
// doesn't fit into this payload. Each write calls it before it appends ops.
func (e *evaluation) fits(n int) (ok bool, err error) {
	if e.maxBytes > 0 && n > e.maxBytes {
		e.reply.tooLarge = true
		return false, e.refuse(codeInvalidArgument)
	}
	err = e.reserve(n)
	return err == nil, err
}

// reserve makes room for ops of up to n bytes, the first of which begin the payload.
func (e *evaluation) reserve(n int) error {
	begins := e.cluster != 0 && len(e.payload) == 0
	if begins {
		n += clusterSize
	}
	if e.room > 0 && n > e.room {
		return ErrNoRoom
	}
	if n > cap(e.payload)-len(e.payload) {
		e.payload = slices.Grow(e.payload, n)
	}
	if begins {
		e.payload = appendCluster(e.payload, e.cluster)
	}
	return nil
}

// opSize returns the largest size of an op with a row key and a value of these lengths.
func opSize(key, value int) int { return maxOpOverhead + key + value }

// argErr returns the error of decoding the argument.
func (e *evaluation) argErr() error {
	if err := e.arg.Err(); err != nil {
		return malformed(e.code, err)
	}
	return nil
}

// addPut appends the put of a row. Without an expiry of the client the table's default TTL applies.
func (e *evaluation) addPut(key, value []byte, expireTS uint32) {
	e.wroteKey(key, len(key)+len(value))
	e.payload = AppendOp(e.payload, Op{Key: key, Value: value, ExpireTS: e.s.expiry(expireTS, e.now)})
}

func (e *evaluation) addRowPut(hashKey, sortKey, value []byte, expireTS uint32) {
	e.wrote(hashKey, len(hashKey)+len(sortKey)+len(value))
	e.payload = appendRowOp(e.payload, hashKey, sortKey,
		Op{Value: value, ExpireTS: e.s.expiry(expireTS, e.now)})
}

// addRemove appends the removal of a row.
func (e *evaluation) addRemove(key []byte) {
	e.wroteKey(key, len(key))
	e.payload = AppendOp(e.payload, Op{Key: key, Delete: true, Timetag: e.removed})
}

func (e *evaluation) addRowRemove(hashKey, sortKey []byte) {
	e.wrote(hashKey, len(hashKey)+len(sortKey))
	e.payload = appendRowOp(e.payload, hashKey, sortKey, Op{Delete: true, Timetag: e.removed})
}
