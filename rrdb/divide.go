package rrdb

import (
	"errors"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
)

// ErrDivide: a request with writes of another cluster can't become one mutation of this partition. See
// Divide.
var ErrDivide = errors.New("the writes of the request don't fit into one mutation of this partition")

// divided bounds the rows in a part of a request, in bytes, unless it is a single one.
const divided = 4 << 20

// Part is a part of a request with writes of another cluster.
type Part struct {
	// Hash leads to the partition that the rows belong to.
	Hash      uint64
	Partition int32
	Request   *dupinternal.DuplicateRequest
	size      int
}

// Divide takes a request with writes of another cluster apart, into requests for one partition each, of a
// table with that many. Those for the same partition stand in the order of their writes. here is the
// partition that the request came to, which also gets what can't be applied: it says so. moved is how many
// writes have rows for other partitions.
//
// The sender's table may have another number of partitions, and it chooses the partition for a whole
// batch by its last write (upstream's pegasus_mutation_duplicator.cpp, duplicate). A multi_put has its
// hash key once, but each row of a store has it.
//
// The parts share the bytes of the argument. Error: it is malformed (base.ErrInvalidData).
func Divide(arg tbin.Reader, here, partitions int32) (parts []*Part, moved int, err error) {
	q := readDuplicates(&arg)
	if err := arg.Err(); err != nil {
		return nil, 0, malformed(base.RPCDuplicate, err)
	}
	v := divider{here: here, partitions: partitions, open: map[int32]*Part{}}
	var rows []sentRow
	for i := range q.Entries {
		w := &q.Entries[i]
		var problem string
		if rows, problem = decodeSent(w, rows[:0]); problem != "" || len(rows) == 0 {
			v.add(w, here, uint64(here), 0)
			continue
		}
		if v.divide(w, rows) {
			moved++
		}
	}
	return v.parts, moved, nil
}

type divider struct {
	here, partitions int32
	parts            []*Part
	open             map[int32]*Part // the last of each partition
}

// add appends a write to the last part of a partition, or to a new one if it would become too large.
func (v *divider) add(w *dupinternal.DuplicateEntry, partition int32, hash uint64, size int) {
	p := v.open[partition]
	if p == nil || p.size > 0 && p.size+size > divided {
		p = &Part{Hash: hash, Partition: partition, Request: &dupinternal.DuplicateRequest{Divided: base.Some(true)}}
		v.open[partition] = p
		v.parts = append(v.parts, p)
	}
	if p.size == 0 {
		p.Hash = hash // what can't be applied has none of its own
	}
	p.Request.Entries = append(p.Request.Entries, *w)
	p.size += size
}

// divide adds a write, cut where its rows take too much or belong to different partitions. moved tells
// that some don't belong here.
func (v *divider) divide(w *dupinternal.DuplicateEntry, rows []sentRow) (moved bool) {
	for from := 0; from < len(rows); {
		hash := rows[from].hash()
		partition, size, to := int32(hash%uint64(v.partitions)), 0, from
		for to < len(rows) && (to == from || size+rows[to].size() <= divided && (len(rows[to].hashKey) > 0 || base.InPartition(rows[to].hash(), partition, v.partitions))) {
			size += rows[to].size()
			to++
		}
		piece := *w
		if to-from < len(rows) {
			piece.RawMessage = base.Some(messageOf(rows[from:to]))
		}
		v.add(&piece, partition, hash, size)
		moved = moved || partition != v.here
		from = to
	}
	return moved
}

// messageOf is the argument of a multi_put or multi_remove with these rows of one.
func messageOf(rows []sentRow) []byte {
	b := tbin.AppendField(nil, tbin.Struct, 1)
	if rows[0].remove {
		q := idl.MultiRemoveRequest{HashKey: rows[0].hashKey, MaxCount: -1}
		for i := range rows {
			q.SortKeys = append(q.SortKeys, rows[i].rest)
		}
		return tbin.AppendStop(q.AppendThrift(b))
	}
	q := idl.MultiPutRequest{HashKey: rows[0].hashKey, ExpireTsSeconds: int32(rows[0].expireTS)}
	for i := range rows {
		q.Kvs = append(q.Kvs, idl.KeyValue{Key: rows[i].rest, Value: rows[i].value})
	}
	return tbin.AppendStop(q.AppendThrift(b))
}
