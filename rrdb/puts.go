package rrdb

import (
	"fmt"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// CheckKeyHash compares the partition hash of a request's header, if it has one, with that of the row key.
// Upstream's server ends its process when they differ.
func CheckKeyHash(key []byte, partitionHash uint64) error {
	if partitionHash != 0 && partitionHash != base.HashOfKey(key) {
		return fmt.Errorf("the header has partition hash %x, the key %x: %w",
			partitionHash, base.HashOfKey(key), base.ErrInvalidParameters)
	}
	return nil
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
		// A remove that an upstream server has rewritten for replication. Upstream itself treats
		// it as a put on secondaries, which leaves an empty row.
		if ok, err := e.fits(opSize(len(arg.Key), 0)); !ok {
			return err
		}
		e.addRemove(arg.Key)
		return nil
	}
	if ok, err := e.fits(opSize(len(arg.Key), len(arg.Value))); !ok {
		return err
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
	if ok, err := e.fits(opSize(len(key), 0)); !ok {
		return err
	}
	e.addRemove(key)
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
	size := 0
	for i := range arg.Kvs {
		size += opSize(2+len(arg.HashKey)+len(arg.Kvs[i].Key), len(arg.Kvs[i].Value))
	}
	if ok, err := e.fits(size); !ok {
		return err
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
	size := 0
	for _, k := range arg.SortKeys {
		size += opSize(2+len(arg.HashKey)+len(k), 0)
	}
	if ok, err := e.fits(size); !ok {
		return err
	}
	for _, k := range arg.SortKeys {
		e.addRowRemove(arg.HashKey, k)
	}
	e.reply.number = int64(len(arg.SortKeys))
	return nil
}
