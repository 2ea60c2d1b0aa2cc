package rrdb

import (
	"bytes"
	"hash/maphash"
)

// Overlay holds the writes of a primary that are in flight: proposed or about to be, and not applied yet.
// An atomic write is evaluated on the rows as these writes will leave them. They are the mutations that
// were proposed (Add), and the one being filled, which is the payload that Evaluate gets.
//
// The order of calls is: Evaluate with a growing payload; Add(decree, timestamp, payload) when it is proposed, or
// Discard if it won't be; Remove(decree) after Apply(decree). Payloads must not change until then. A
// primary starts with the mutations that it has prepared and not applied.
//
// Most tables have only puts and removes, which look up nothing. So rows are indexed at the first lookup,
// and Add and Remove cost almost nothing without one.
//
// An Overlay isn't safe for concurrent use: the caller holds a lock while it evaluates.
type Overlay struct {
	seed      maphash.Seed
	mutations []flight // oldest first
	pending   []byte   // the payload being filled, as of the last call
	next      int64    // sequence number of pending; mutations have smaller ones

	index   map[uint64]place // by hash of the key; the newest op only
	indexed int              // number of mutations in index
	scanned int              // bytes of pending in index
}

type flight struct {
	seq         int64
	decree      int64
	timestampUS int64
	payload     []byte
	scanned     int // bytes in the index
}

// place is the position of an op.
type place struct {
	seq    int64
	offset int
}

// NewOverlay returns an empty overlay.
func NewOverlay() *Overlay {
	return &Overlay{seed: maphash.MakeSeed(), index: map[uint64]place{}}
}

// Add adds the payload being filled as a proposed mutation. Decrees increase.
// timestampUS is the mutation's.
func (o *Overlay) Add(decree, timestampUS int64, payload []byte) {
	o.sync(payload)
	m := flight{o.next, decree, timestampUS, payload, o.scanned}
	if o.scanned == len(payload) && o.indexed == len(o.mutations) {
		o.indexed++
	}
	o.mutations = append(o.mutations, m)
	o.next++
	o.pending, o.scanned = nil, 0
}

// Discard drops the payload being filled.
func (o *Overlay) Discard() {
	if o.scanned > 0 {
		// Its entries have replaced those of older ops on the same keys: index all again.
		clear(o.index)
		o.indexed = 0
		for i := range o.mutations {
			o.mutations[i].scanned = 0
		}
	}
	o.pending, o.scanned = nil, 0
}

// Remove drops the mutations up to decree, which the store has applied.
func (o *Overlay) Remove(decree int64) {
	n := 0
	for n < len(o.mutations) && o.mutations[n].decree <= decree {
		m := &o.mutations[n]
		o.unindex(m.seq, m.payload[:m.scanned])
		n++
	}
	if n == 0 {
		return
	}
	left := copy(o.mutations, o.mutations[n:])
	clear(o.mutations[left:])
	o.mutations = o.mutations[:left]
	o.indexed = max(o.indexed-n, 0)
}

// Reset drops everything.
func (o *Overlay) Reset() {
	clear(o.mutations)
	clear(o.index)
	o.mutations, o.indexed = o.mutations[:0], 0
	o.pending, o.scanned = nil, 0
}

// Len returns the number of mutations that were added and not removed.
func (o *Overlay) Len() int { return len(o.mutations) }

// Lookup returns the newest op in flight on a key. payload is the mutation being filled. The op's slices
// are slices of payloads.
func (o *Overlay) Lookup(key, payload []byte) (Op, bool) {
	op, _, ok := o.find(key, payload)
	return op, ok
}

// find is Lookup, and returns the timestamp of the op's mutation: 0 for the one being filled.
func (o *Overlay) find(key, payload []byte) (_ Op, timestampUS int64, _ bool) {
	o.sync(payload)
	o.reindex()
	p, ok := o.index[maphash.Bytes(o.seed, key)]
	if !ok {
		return Op{}, 0, false
	}
	if p.seq != o.next {
		timestampUS = o.mutation(p.seq).timestampUS
	}
	if op, ok := opAt(o.payload(p.seq), p.offset); ok && bytes.Equal(op.Key, key) {
		return op, timestampUS, true
	}
	return o.search(key) // another key has the same hash
}

// sync sets the payload being filled. If it is shorter than before, it is a new one.
func (o *Overlay) sync(payload []byte) {
	if len(payload) < len(o.pending) {
		o.Discard()
	}
	o.pending = payload
}

// reindex adds the ops that aren't in the index, oldest first.
func (o *Overlay) reindex() {
	for ; o.indexed < len(o.mutations); o.indexed++ {
		m := &o.mutations[o.indexed]
		o.enter(m.seq, m.payload, m.scanned)
		m.scanned = len(m.payload)
	}
	o.enter(o.next, o.pending, o.scanned)
	o.scanned = len(o.pending)
}

func (o *Overlay) enter(seq int64, payload []byte, from int) {
	var op Op
	r := OpReader{b: payload, off: from}
	for at := from; r.Next(&op); at = r.Offset() {
		o.index[maphash.Bytes(o.seed, op.Key)] = place{seq, at}
	}
}

// unindex removes the entries of a payload.
func (o *Overlay) unindex(seq int64, payload []byte) {
	var op Op
	r := NewOpReader(payload)
	for r.Next(&op) {
		h := maphash.Bytes(o.seed, op.Key)
		if p, ok := o.index[h]; ok && p.seq == seq {
			delete(o.index, h)
		}
	}
}

func (o *Overlay) payload(seq int64) []byte {
	if seq == o.next {
		return o.pending
	}
	return o.mutation(seq).payload
}

// mutation returns one that was proposed; the zero flight if it isn't there.
func (o *Overlay) mutation(seq int64) flight {
	// Sequence numbers of mutations are consecutive.
	if len(o.mutations) == 0 {
		return flight{}
	}
	i := seq - o.mutations[0].seq
	if i < 0 || i >= int64(len(o.mutations)) {
		return flight{}
	}
	return o.mutations[i]
}

func (o *Overlay) search(key []byte) (_ Op, timestampUS int64, _ bool) {
	if op, ok := lastOp(o.pending, key); ok {
		return op, 0, true
	}
	for i := len(o.mutations) - 1; i >= 0; i-- {
		if op, ok := lastOp(o.mutations[i].payload, key); ok {
			return op, o.mutations[i].timestampUS, true
		}
	}
	return Op{}, 0, false
}

func opAt(payload []byte, offset int) (Op, bool) {
	var op Op
	r := OpReader{b: payload, off: offset}
	return op, offset <= len(payload) && r.Next(&op)
}

// lastOp finds the last op on a key in one payload.
func lastOp(payload, key []byte) (found Op, ok bool) {
	var op Op
	r := NewOpReader(payload)
	for r.Next(&op) {
		if bytes.Equal(op.Key, key) {
			found, ok = op, true
		}
	}
	return found, ok
}
