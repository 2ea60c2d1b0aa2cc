package rrdb

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// RPC names of the reads that a Store answers.
const (
	CodeGet          = "RPC_RRDB_RRDB_GET"
	CodeTTL          = "RPC_RRDB_RRDB_TTL"
	CodeMultiGet     = "RPC_RRDB_RRDB_MULTI_GET"
	CodeBatchGet     = "RPC_RRDB_RRDB_BATCH_GET"
	CodeSortkeyCount = "RPC_RRDB_RRDB_SORTKEY_COUNT"
	CodeGetScanner   = "RPC_RRDB_RRDB_GET_SCANNER"
	CodeScan         = "RPC_RRDB_RRDB_SCAN"
	CodeClearScanner = "RPC_RRDB_RRDB_CLEAR_SCANNER"
)

// ReadRequest is one read. The caller has decided that it may be served.
type ReadRequest struct {
	Code string
	Arg  tbin.Reader // at the argument's value
	// Now is the time that expiry is judged by, see ExpiryTime. 0 is the store's clock.
	Now uint32
	// Memory is what a large result is counted by while it is made. It may be nil.
	Memory Memory
}

// Memory counts what is needed to answer a request.
type Memory interface {
	// Charge counts n bytes more.
	Charge(n int64)
	// Crowded tells that the server's requests take all the memory they may.
	Crowded() bool
}

// Read answers a read. Release the result when it is encoded; it is nil when the request
// has no answer (CodeClearScanner).
//
// What the client did wrong, and rows that aren't there, stand in the result. An error
// means that there is no result, and is for the answer's header: it wraps
// base.ErrInvalidData (malformed argument), base.ErrInvalidParameters (hash key too long),
// base.ErrHandlerNotFound (no read), or base.ErrInvalidState (store closed or failed).
func (s *Store) Read(req *ReadRequest) (*Result, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	if req.Now == 0 {
		req.Now = ExpiryTime(s.now())
	}
	res := newResult(s)
	res.memory = req.Memory
	if err := s.read(req, res); err != nil || res.kind == kindNone {
		res.Release()
		return nil, err
	}
	return res, nil
}

func (s *Store) read(req *ReadRequest, res *Result) error {
	switch req.Code {
	case CodeGet, CodeTTL, CodeSortkeyCount:
		key := req.Arg.Bytes()
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		switch req.Code {
		case CodeGet:
			s.get(key, req.Now, res)
		case CodeTTL:
			s.ttl(key, req.Now, res)
		default:
			return s.sortkeyCount(key, req.Now, res)
		}
		return nil
	case CodeMultiGet:
		var arg idl.MultiGetRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.multiGet(&arg, req.Now, res)
	case CodeBatchGet:
		var arg idl.BatchGetRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.batchGet(&arg, req.Now, res)
	case CodeGetScanner:
		var arg idl.GetScannerRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.getScanner(&arg, req.Now, res)
	case CodeScan:
		var arg idl.ScanRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		s.scan(arg.ContextId, req.Now, res)
		return nil
	case CodeClearScanner:
		id := req.Arg.I64()
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		s.shared.sessions.take(s, id)
		return nil
	}
	return fmt.Errorf("%s is no read: %w", req.Code, base.ErrHandlerNotFound)
}

func malformed(code string, err error) error {
	return fmt.Errorf("argument of %s: %w: %w", code, base.ErrInvalidData, err)
}

// lookup finds a live row. data is the engine's memory and valid until closer is closed;
// closer is nil unless code is codeOK.
func (s *Store) lookup(key []byte, now uint32) (row row, code int32) {
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

func badValue(key, v []byte) error {
	return fmt.Errorf("value of key %x has %d bytes: %w", key, len(v), ErrCorrupt)
}

func (s *Store) get(key []byte, now uint32, res *Result) {
	res.kind = kindGet
	var r row
	r, res.code = s.lookup(key, now)
	if res.code != codeOK {
		res.hides(r)
		return
	}
	res.value, res.closer, res.seen = r.data, r.closer, 1
	res.size = len(key) + len(r.data)
}

func (s *Store) ttl(key []byte, now uint32, res *Result) {
	res.kind = kindTTL
	var r row
	r, res.code = s.lookup(key, now)
	if res.code != codeOK {
		res.hides(r)
		return
	}
	res.number = -1
	if r.expireTS > 0 {
		res.number = int64(int32(r.expireTS - now))
	}
	res.closer = r.closer // nothing of it is needed any more; Release closes it
}

// batchGet answers the live ones of the keys asked for, in their order.
func (s *Store) batchGet(arg *idl.BatchGetRequest, now uint32, res *Result) error {
	res.kind = kindBatchGet
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
			res.hides(r)
			continue
		}
		if code == codeOK {
			full := idl.FullData{HashKey: k.HashKey, SortKey: k.SortKey, Value: r.data}
			res.rows = full.AppendThrift(res.rows)
			res.charge()
			res.count++
			res.size += len(k.HashKey) + len(k.SortKey) + len(r.data)
			if err := r.closer.Close(); err != nil {
				code = s.readFailed(err)
			} else if res.size > 2*s.rangeBytes() {
				// Upstream has no limit here; a few keys asked for again and
				// again could fill any memory.
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
