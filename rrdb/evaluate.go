package rrdb

import (
	"errors"
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
)

// WriteRequest is one write of a client. The caller has decided that it may be served.
type WriteRequest struct {
	Code string
	Arg  tbin.Reader // at the argument's value
	// PartitionHash is the header's. Unless it is 0 the key of a put or remove is
	// compared with it, see CheckKeyHash.
	PartitionHash uint64
	// Now is the time that expiry is judged by and default TTLs count from, see
	// ExpiryTime. 0 is the store's clock.
	Now uint32
	// MaxBytes bounds what the write may add to the payload: a write that could add more is refused
	// as an invalid argument before it is evaluated. Room is the space left in the payload, see
	// ErrNoRoom. 0 is no bound.
	//
	// A request has its hash key once, the payload has it with each row. So a write may add many
	// times the size of its request.
	MaxBytes, Room int
	// Cluster is the number of this cluster, which its writes carry from then on; 0: it has none.
	Cluster uint8
	// Tombstones: removes leave tombstones, since other clusters send writes of this table.
	Tombstones bool
	// Count is by how many partitions rows are looked at, whether they are this one's: base.ErrParentPartitionMisused if
	// one isn't. 0: they aren't looked at.
	Count int32
}

// ErrNoRoom: the write doesn't fit into this payload, but fits into an empty one.
var ErrNoRoom = errors.New("no room for the write in this mutation")

// Evaluate turns a client's write into ops, which it appends to payload, and into the answer for when they
// are applied; it also returns what the write touched. It reads rows as ov and payload will leave them, otherwise the committed ones. So several
// writes may be evaluated into one payload, each seeing those before. ov may be nil if no write is in
// flight.
//
// A refusal (failed check, invalid argument) appends nothing; its Reply is Refused and can be sent at once.
// On error payload is returned unchanged and there is no reply. The error belongs in the answer's header
// and wraps base.ErrInvalidData (malformed argument), base.ErrInvalidParameters (hash key too long,
// partition hash doesn't match the key), base.ErrHandlerNotFound (not a write) or base.ErrInvalidState
// (store closed or failed); or it is ErrNoRoom, which the caller handles.
func (s *reader) Evaluate(w *WriteRequest, ov *Overlay, payload []byte) ([]byte, Reply, Touched, error) {
	if err := s.begin(); err != nil {
		return payload, Reply{}, Touched{}, err
	}
	defer s.leave()
	e := evaluation{s: s, code: w.Code, arg: w.Arg, hash: w.PartitionHash, now: w.Now, ov: ov, payload: payload, before: len(payload),
		maxBytes: w.MaxBytes, room: w.Room, cluster: w.Cluster, count: w.Count}
	if w.Tombstones {
		e.removed = Tombstone(w.Cluster)
	}
	if e.now == 0 {
		e.now = ExpiryTime(s.now())
	}
	if err := e.run(); err != nil {
		return payload, Reply{}, Touched{}, err
	}
	if w.Count > 0 && CutOff(e.payload[e.before:], s.id.partition, w.Count) {
		return payload, Reply{}, Touched{}, fmt.Errorf("a row of another partition: the table has more of them now: %w", base.ErrParentPartitionMisused)
	}
	e.reply.id = &s.id
	e.reply.decree = -1
	e.touched.Code, e.touched.Status = e.code, e.reply.code
	return e.payload, e.reply, e.touched, nil
}

func (e *evaluation) run() error {
	switch e.code {
	case base.RPCPut:
		return e.put()
	case base.RPCRemove:
		return e.remove()
	case base.RPCMultiPut:
		return e.multiPut()
	case base.RPCMultiRemove:
		return e.multiRemove()
	case base.RPCIncr:
		return e.incr()
	case base.RPCCheckAndSet:
		return e.checkAndSet()
	case base.RPCCheckAndMutate:
		return e.checkAndMutate()
	case base.RPCDuplicate:
		return e.duplicate()
	}
	return fmt.Errorf("%s isn't a write: %w", e.code, base.ErrHandlerNotFound)
}
