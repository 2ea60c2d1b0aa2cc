package rrdb

import (
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// RPC names of the writes that a Store evaluates.
const (
	CodePut            = "RPC_RRDB_RRDB_PUT"
	CodeRemove         = "RPC_RRDB_RRDB_REMOVE"
	CodeMultiPut       = "RPC_RRDB_RRDB_MULTI_PUT"
	CodeMultiRemove    = "RPC_RRDB_RRDB_MULTI_REMOVE"
	CodeIncr           = "RPC_RRDB_RRDB_INCR"
	CodeCheckAndSet    = "RPC_RRDB_RRDB_CHECK_AND_SET"
	CodeCheckAndMutate = "RPC_RRDB_RRDB_CHECK_AND_MUTATE"
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
}

// CheckKeyHash compares the partition hash of a request's header, if it has one, with the
// row key's. Upstream's server ends its process when they differ.
func CheckKeyHash(key []byte, partitionHash uint64) error {
	if partitionHash != 0 && partitionHash != base.HashOfKey(key) {
		return fmt.Errorf("header has partition hash %x, the key %x: %w",
			partitionHash, base.HashOfKey(key), base.ErrInvalidParameters)
	}
	return nil
}

// Evaluate turns a client's write into ops, which it appends to payload, and into the
// answer for when they are applied. What it reads is the row as ov and payload will leave
// it, else the committed one; so several writes may be evaluated into one payload, each
// seeing those before. ov may be nil if nothing is in flight.
//
// A refusal (check failed, bad argument) appends nothing; its Reply is Refused and can be
// sent at once. On error payload is returned as it was and there is no reply: the error is
// for the answer's header and wraps base.ErrInvalidData (malformed argument),
// base.ErrInvalidParameters (hash key too long, partition hash doesn't fit the key),
// base.ErrHandlerNotFound (no write), or base.ErrInvalidState (store closed or failed).
func (s *Store) Evaluate(w *WriteRequest, ov *Overlay, payload []byte) ([]byte, Reply, error) {
	if err := s.begin(); err != nil {
		return payload, Reply{}, err
	}
	defer s.leave()
	e := evaluation{s: s, code: w.Code, arg: w.Arg, hash: w.PartitionHash, now: w.Now, ov: ov, payload: payload, before: len(payload)}
	if e.now == 0 {
		e.now = ExpiryTime(s.now())
	}
	if err := e.run(); err != nil {
		return payload, Reply{}, err
	}
	e.reply.id = &s.id
	e.reply.decree = -1
	return e.payload, e.reply, nil
}

// evaluation is one call of Evaluate. It has the request's fields, not a pointer to it:
// the compiler would think that the request is part of what is returned.
type evaluation struct {
	s       *Store
	code    string
	arg     tbin.Reader
	hash    uint64
	now     uint32
	ov      *Overlay
	payload []byte
	before  int // length of payload at the start
	reply   Reply
}

func (e *evaluation) run() error {
	switch e.code {
	case CodePut:
		return e.put()
	case CodeRemove:
		return e.remove()
	case CodeMultiPut:
		return e.multiPut()
	case CodeMultiRemove:
		return e.multiRemove()
	case CodeIncr:
		return e.incr()
	case CodeCheckAndSet:
		return e.checkAndSet()
	case CodeCheckAndMutate:
		return e.checkAndMutate()
	}
	return fmt.Errorf("%s is no write: %w", e.code, base.ErrHandlerNotFound)
}

// refuse makes the answer one without effect.
func (e *evaluation) refuse(code int32) error {
	e.payload = e.payload[:e.before]
	e.reply.refused = true
	e.reply.code = code
	return nil
}

// arg decodes the argument's end: whether it was whole.
func (e *evaluation) argErr() error {
	if err := e.arg.Err(); err != nil {
		return malformed(e.code, err)
	}
	return nil
}

// addPut appends the put of a row; the expiry is the client's, so that the table's default
// applies to none.
func (e *evaluation) addPut(key, value []byte, expireTS uint32) {
	e.payload = AppendOp(e.payload, Op{Key: key, Value: value, ExpireTS: e.s.expiry(expireTS, e.now)})
}

func (e *evaluation) addRowPut(hashKey, sortKey, value []byte, expireTS uint32) {
	e.payload = appendRowOp(e.payload, hashKey, sortKey,
		Op{Value: value, ExpireTS: e.s.expiry(expireTS, e.now)})
}

func (e *evaluation) put() error {
	e.reply.kind = replyUpdate
	var arg idl.UpdateRequest
	arg.ReadThrift(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	if !validKey(arg.Key) {
		return e.refuse(codeInvalidArgument)
	}
	if err := CheckKeyHash(arg.Key, e.hash); err != nil {
		return err
	}
	if arg.Type.Or(idl.UT_PUT) == idl.UT_CHECK_AND_MUTATE_REMOVE {
		// A remove that an upstream server rewrote for replication. As a put, which is
		// what upstream itself makes of it on secondaries, it would leave an empty row.
		e.payload = AppendOp(e.payload, Op{Key: arg.Key, Delete: true})
		return nil
	}
	e.addPut(arg.Key, arg.Value, uint32(arg.ExpireTsSeconds))
	return nil
}

func (e *evaluation) remove() error {
	e.reply.kind = replyUpdate
	key := e.arg.Bytes()
	if err := e.argErr(); err != nil {
		return err
	}
	if !validKey(key) {
		return e.refuse(codeInvalidArgument)
	}
	if err := CheckKeyHash(key, e.hash); err != nil {
		return err
	}
	e.payload = AppendOp(e.payload, Op{Key: key, Delete: true})
	return nil
}

func (e *evaluation) multiPut() error {
	e.reply.kind = replyUpdate
	var arg idl.MultiPutRequest
	arg.ReadThrift(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	if err := base.CheckHashKey(arg.HashKey); err != nil {
		return err
	}
	if len(arg.Kvs) == 0 {
		return e.refuse(codeInvalidArgument)
	}
	for i := range arg.Kvs {
		e.addRowPut(arg.HashKey, arg.Kvs[i].Key, arg.Kvs[i].Value, uint32(arg.ExpireTsSeconds))
	}
	return nil
}

func (e *evaluation) multiRemove() error {
	e.reply.kind = replyMultiRemove
	var arg idl.MultiRemoveRequest
	arg.ReadThrift(&e.arg)
	if err := e.argErr(); err != nil {
		return err
	}
	if err := base.CheckHashKey(arg.HashKey); err != nil {
		return err
	}
	if len(arg.SortKeys) == 0 {
		return e.refuse(codeInvalidArgument)
	}
	for _, k := range arg.SortKeys {
		e.payload = appendRowOp(e.payload, arg.HashKey, k, Op{Delete: true})
	}
	e.reply.number = int64(len(arg.SortKeys))
	return nil
}
