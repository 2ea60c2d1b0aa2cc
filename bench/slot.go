package bench

import (
	"bytes"
	"fmt"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/client"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// slot is one operation in flight at a time, with everything it needs, used again and
// again: the engine itself allocates nothing for an operation.
type slot struct {
	l    *loader
	pick *chooser

	kind    kind
	row     int64
	due     time.Time // from when latency counts
	rmwRead bool      // the first half of a read-modify-write is done
	cb      func([]byte, error)

	key    []byte
	value  []byte
	put    rrdb.UpdateRequest
	incr   rrdb.IncrRequest
	mput   rrdb.MultiPutRequest
	mget   rrdb.MultiGetRequest
	scan   rrdb.GetScannerRequest
	stop   []byte
	arena  []byte // values and sort keys of multi-set
	answer answer
}

// answer is what all of rrdb's responses have in common: the error, and for some a value.
type answer struct {
	code  int32
	value []byte
	rows  int
}

// ReadThrift reads field 1, field 2 if it is bytes, and the length of a list in field 2.
func (a *answer) ReadThrift(r *tbin.Reader) {
	*a = answer{}
	for {
		t, id := r.Field()
		switch {
		case t == tbin.Stop:
			return
		case id == 1 && t == tbin.I32:
			a.code = r.I32()
		case id == 2 && t == tbin.Struct:
			// A blob: announced as a struct, but only bytes.
			a.value = r.Bytes()
		case id == 2 && t == tbin.List:
			et, n := r.ListHeader(1)
			a.rows = n
			for range n {
				if et != tbin.Struct || r.Err() != nil {
					r.Fail(base.ErrInvalidData)
					return
				}
				a.row(r)
			}
		default:
			r.Skip(t)
		}
	}
}

// row passes over a key_value: two blobs and a number.
func (a *answer) row(r *tbin.Reader) {
	for {
		t, _ := r.Field()
		switch t {
		case tbin.Stop:
			return
		case tbin.Struct:
			a.value = r.Bytes()
		default:
			r.Skip(t)
		}
	}
}

func newSlot(l *loader, id uint64) *slot {
	step := int64(1)
	if l.w.many {
		step = int64(l.o.RowsPerHash)
	}
	s := &slot{l: l, pick: newChooser(&l.o, id, step)}
	s.cb = s.done
	return s
}

// begin starts operation number seq, due at the given time. It leaves with b, if there is one.
func (s *slot) begin(seq int64, due time.Time, b *rpc.Burst) {
	l := s.l
	s.due, s.rmwRead = due, false
	s.kind = l.kindFor(s.pick.rng.Float64() * 100)
	switch {
	case l.pending != nil:
		s.row = l.pending[seq]
	case s.kind == kindInsert:
		s.row = l.last.Add(1)
	default:
		s.row = s.pick.pick(seq, l.last.Load())
	}
	s.send(b)
}

func (s *slot) send(b *rpc.Burst) {
	l := s.l
	var hash uint64
	s.key, hash = l.rows.appendKey(s.key[:0], s.row)
	op := client.Op{Hash: hash, Burst: b}
	k := s.kind
	if k == kindRMW {
		if k = kindGet; s.rmwRead {
			k = kindSet
		}
	}
	switch k {
	case kindGet:
		op.Code, op.Arg = base.RPCGet, (*blob)(&s.key)
	case kindTTL:
		op.Code, op.Arg = base.RPCTTL, (*blob)(&s.key)
	case kindDel:
		op.Code, op.Arg, op.Write = base.RPCRemove, (*blob)(&s.key), true
	case kindSet, kindInsert:
		s.value = l.rows.appendValue(s.value[:0], s.row)
		s.put.Key, s.put.Value = s.key, s.value
		op.Code, op.Arg, op.Write = base.RPCPut, &s.put, true
	case kindIncr:
		s.incr.Key, s.incr.Increment = s.key, 1
		op.Code, op.Arg, op.Write, op.Once = base.RPCIncr, &s.incr, true, true
	case kindMultiSet:
		s.fillMultiSet()
		op.Code, op.Arg, op.Write = base.RPCMultiPut, &s.mput, true
	case kindMultiGet:
		s.mget.HashKey, s.mget.StartInclusive = s.hashKey(), true
		op.Code, op.Arg = base.RPCMultiGet, &s.mget
	case kindScan:
		h := s.key[:2+len(s.hashKey())]
		s.stop = base.NextKey(s.stop[:0], h)
		s.scan.StartKey, s.scan.StopKey, s.scan.StartInclusive, s.scan.BatchSize = h, s.stop, true, int32(l.rows.perHash)
		s.scan.ValidatePartitionHash, s.scan.FullScan = base.Some(false), base.Some(false)
		op.Code, op.Arg = base.RPCGetScanner, &s.scan
	}
	l.table.Go(op, l.o.Timeout, s.cb)
}

type blob []byte

// AppendThrift appends the bytes with their length.
func (b *blob) AppendThrift(to []byte) []byte { return tbin.AppendBytes(to, *b) }

func (s *slot) hashKey() []byte {
	h, _, _ := base.SplitKey(s.key)
	return h
}

func (s *slot) fillMultiSet() {
	r := &s.l.rows
	n := int(r.perHash)
	s.mput.HashKey = s.hashKey()
	if cap(s.mput.Kvs) < n {
		s.mput.Kvs = make([]rrdb.KeyValue, n)
		s.arena = make([]byte, 0, n*(r.size+8+6))
	}
	s.mput.Kvs, s.arena = s.mput.Kvs[:n], s.arena[:0]
	first := s.row - s.row%r.perHash
	for i := range s.mput.Kvs {
		kv := &s.mput.Kvs[i]
		at := len(s.arena)
		s.arena = r.appendSortKey(s.arena, first+int64(i))
		kv.Key = s.arena[at:]
		at = len(s.arena)
		s.arena = r.appendValue(s.arena, first+int64(i))
		kv.Value = s.arena[at:]
	}
}

// done takes an answer and goes on. It runs on a connection's reader goroutine.
func (s *slot) done(body []byte, err error) {
	l := s.l
	if err == nil {
		if err = rpc.DecodeBody(body, &s.answer); err == nil && s.answer.code != 0 {
			if s.answer.code != client.CodeNotFound && !(s.answer.code == client.CodeIncomplete && s.kind == kindMultiGet) {
				err = &client.StoreError{Op: s.kind.String(), Code: s.answer.code}
			}
		}
	}
	if err != nil {
		l.fail(s, err)
		return
	}
	if s.kind == kindRMW && !s.rmwRead {
		s.rmwRead = true
		s.send(nil)
		return
	}
	size, missed := 0, false
	switch s.kind {
	case kindGet:
		missed = s.answer.code == client.CodeNotFound
		size = len(s.answer.value)
		if l.o.Check {
			if missed {
				l.wrong(s.row, "it is missing")
			} else if s.value = l.rows.appendValue(s.value[:0], s.row); !bytes.Equal(s.value, s.answer.value) {
				l.wrong(s.row, fmt.Sprintf("it has a wrong value of %d bytes", size))
			}
		}
	case kindSet, kindInsert, kindRMW:
		size = l.rows.size
		if l.acked != nil {
			l.acked.set(s.row)
		}
	case kindMultiSet:
		size = l.rows.size * int(l.rows.perHash)
		if l.acked != nil {
			first := s.row - s.row%l.rows.perHash
			for i := range l.rows.perHash {
				l.acked.set(first + i)
			}
		}
	case kindMultiGet, kindScan:
		size, missed = s.answer.rows*l.rows.size, s.answer.rows == 0
	}
	l.tally.ok(s.kind, time.Since(s.due), size, missed)
	l.next(s)
}
