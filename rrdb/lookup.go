package rrdb

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// row is a live row in Pebble's memory.
type row struct {
	data     []byte
	expireTS uint32
	timetag  uint64
	closer   io.Closer
	expired  bool // the row has expired; the other fields are zero
}

// lookup finds a live row. Its data is Pebble's memory and valid until its closer is closed; the closer
// is nil unless code is codeOK.
func (s *reader) lookup(key []byte, now uint32) (row row, code int32) {
	if !validKey(key) {
		return row, codeNotFound
	}
	v, closer, err := s.db.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return row, codeNotFound
		}
		return row, s.readFailed(err)
	}
	expireTS, timetag, data, ok := splitValue(v)
	if !ok {
		_ = closer.Close()
		return row, s.readFailed(badValue(key, v))
	}
	if expired(expireTS, now) {
		if err := closer.Close(); err != nil {
			return row, s.readFailed(err)
		}
		row.expired = true
		return row, codeNotFound
	}
	row.data, row.expireTS, row.timetag, row.closer = data, expireTS, timetag, closer
	return row, codeOK
}

// writtenAt returns the timetag of a record, also of one that has expired: found is false if there is none.
func (s *reader) writtenAt(key []byte) (timetag uint64, found bool, code int32) {
	v, closer, err := s.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, false, codeOK
	case err != nil:
		return 0, false, s.readFailed(err)
	}
	_, timetag, _, ok := splitValue(v)
	if !ok {
		err = badValue(key, v)
	}
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return 0, false, s.readFailed(err)
	}
	return timetag, true, codeOK
}

// rowValue returns the value that an iterator is at; data is Pebble's memory, valid
// until the iterator moves.
func rowValue(it *pebble.Iterator) (expireTS uint32, data []byte, err error) {
	expireTS, _, data, err = taggedValue(it)
	return expireTS, data, err
}

// taggedValue is rowValue with the timetag.
func taggedValue(it *pebble.Iterator) (expireTS uint32, timetag uint64, data []byte, err error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return 0, 0, nil, err
	}
	expireTS, timetag, data, ok := splitValue(v)
	if !ok {
		return 0, 0, nil, badValue(it.Key(), v)
	}
	return expireTS, timetag, data, nil
}

func (s *reader) get(key []byte, now uint32, res *Result) {
	res.kind, res.asked = kindGet, key
	var r row
	r, res.code = s.lookup(key, now)
	if res.code != codeOK {
		res.countHidden(r)
		return
	}
	res.value, res.closer, res.seen = r.data, r.closer, 1
	res.size = len(key) + len(r.data)
}

func (s *reader) ttl(key []byte, now uint32, res *Result) {
	res.kind, res.asked = kindTTL, key
	var r row
	r, res.code = s.lookup(key, now)
	if res.code != codeOK {
		res.countHidden(r)
		return
	}
	res.number = -1
	if r.expireTS > 0 {
		res.number = int64(int32(r.expireTS - now))
	}
	res.closer = r.closer // Release closes it
}

// batchGet answers the live rows among the keys of the request, in their order.
func (s *reader) batchGet(arg *idl.BatchGetRequest, now uint32, res *Result) error {
	res.kind, res.keys = kindBatchGet, arg.Keys
	if len(arg.Keys) == 0 {
		res.code = codeInvalidArgument
		return nil
	}
	for i := range arg.Keys {
		k := &arg.Keys[i]
		if err := base.CheckHashKey(k.HashKey); err != nil {
			return err
		}
		res.scratch = base.AppendKey(res.scratch[:0], k.HashKey, k.SortKey)
		r, code := s.lookup(res.scratch, now)
		if code == codeNotFound {
			res.countHidden(r)
			continue
		}
		if code == codeOK {
			if !res.room(len(k.HashKey) + len(k.SortKey) + len(r.data) + encodedRow) {
				_ = r.closer.Close()
				return errNoMemory
			}
			full := idl.FullData{HashKey: k.HashKey, SortKey: k.SortKey, Value: r.data}
			res.rows = full.AppendThrift(res.rows)
			res.count++
			res.size += len(k.HashKey) + len(k.SortKey) + len(r.data)
			if err := r.closer.Close(); err != nil {
				code = s.readFailed(err)
			} else if res.size > 2*s.maxAnswerBytes() {
				// Upstream has no limit here. A few keys, repeated often enough, could fill
				// any memory.
				code = codeIncomplete
			}
		}
		if code != codeOK {
			res.fail(code)
			return nil
		}
	}
	return nil
}
