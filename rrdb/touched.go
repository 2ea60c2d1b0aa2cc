package rrdb

import (
	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// Touched is what a request did: what others count and show of it, so that nobody else decodes a request
// or a mutation. Its slices are the request's: they are valid until it is answered.
type Touched struct {
	// Code is the RPC of the request.
	Code string
	// Status is the answer's error field, one of RocksDB's codes: 0 is success, 1 not found, 4 invalid
	// argument, 7 incomplete, 13 check failed.
	Status int32
	// HashKey is that of all rows. It is nil if the request has none (scans), several (batch_get), or
	// is a write that was refused before its key was used.
	HashKey []byte
	keys    []idl.FullKey // of batch_get
	// In is the bytes that the request brought. A write: the keys and values of the rows that it
	// writes, the hash key with each. A get, ttl or sortkey_count: the key that it asks for.
	In int
	// Out is the bytes of keys and values in the answer to a read.
	Out int
	// Checked is the size of the sort key that a check_and_set or check_and_mutate compares.
	Checked int
	// Rows is how many rows a read found, or a write writes or removes. Seen is how many a read
	// looked at, including those of Hidden.
	Rows, Seen int
	Hidden     Hidden
	// Dup is what came of writes of other clusters, nil of other requests. AfterUS, unless it is 0, is a
	// time that the timestamp of the mutation must be later than, microseconds since 1970; that of a
	// write that was refused, too.
	Dup     *Duplicated
	AfterUS int64
}

// Hidden counts the rows that a read found and left out.
type Hidden struct {
	Expired  int // expired
	Filtered int // a filter of the request doesn't match
}

// HashKeys calls f for each hash key of a read, with the number of rows that it stands for: at least 1.
func (t *Touched) HashKeys(f func(hashKey []byte, rows int)) {
	if t.HashKey != nil {
		f(t.HashKey, max(t.Rows, 1))
	}
	for i := range t.keys {
		f(t.keys[i].HashKey, 1)
	}
}

// Touched returns what the read did. It is valid until the result is released.
func (r *Result) Touched() Touched {
	t := Touched{Code: r.rpc, Status: r.code, keys: r.keys, Out: r.size, Rows: r.count, Seen: max(r.seen, r.count), Hidden: r.hidden}
	switch r.kind {
	case kindGet, kindTTL:
		t.In = len(r.asked)
		t.HashKey, _, _ = base.SplitKey(r.asked)
	case kindCount:
		t.In, t.HashKey = len(r.asked), r.asked
	case kindMultiGet:
		t.HashKey = r.asked
	}
	return t
}

// wrote notes a row that the write adds to the payload.
func (e *evaluation) wrote(hashKey []byte, bytes int) {
	e.touched.HashKey = hashKey
	e.touched.In += bytes
	e.touched.Rows++
}

// wroteKey is wrote for a row key.
func (e *evaluation) wroteKey(key []byte, bytes int) {
	hashKey, _, _ := base.SplitKey(key)
	e.wrote(hashKey, bytes)
}
