package rrdb

import (
	"fmt"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// ReadRequest is one read. The caller has decided that it may be served.
type ReadRequest struct {
	Code string
	Arg  tbin.Reader // at the argument's value
	// PartitionHash is the header's. A scan of a whole partition has its number there, see choose.
	PartitionHash uint64
	// Listed: the client goes by the partitions that Listing says, or, if that is 0, by those that the table had before it was ever split.
	Listed  bool
	Listing base.Listing
	// Watch is told of scans. It may be nil.
	Watch ScanWatch
	// Now is the time that expiry is judged by, see ExpiryTime. 0 is the store's clock.
	Now uint32
	// Memory is what a large result is counted by while it is made. It may be nil.
	Memory Memory
}

// Memory bounds the memory of answers.
type Memory interface {
	// Reserve adds n bytes. It waits until they are available, and reports false if they don't become.
	Reserve(n int64) bool
	// Crowded tells whether requests take all the memory that they may.
	Crowded() bool
}

// Read answers a read. Release the result when it is encoded. The result is nil if the request has no
// answer (base.RPCClearScanner).
//
// Mistakes of the client and missing rows are part of the result. An error means that there is no result,
// and belongs in the answer's header: it wraps base.ErrInvalidData (malformed argument), base.ErrInvalidParameters (hash key too long),
// base.ErrParentPartitionMisused or base.ErrSplitting (a scan by a client that may not know how many partitions there are),
// base.ErrHandlerNotFound (no read), base.ErrInvalidState (store closed or failed), or
// base.ErrBusy (no memory for the rows).
func (s *reader) Read(req *ReadRequest) (*Result, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	if req.Now == 0 {
		req.Now = ExpiryTime(s.now())
	}
	res := newResult(s)
	res.memory, res.rpc = req.Memory, req.Code
	if err := s.read(req, res); err != nil || res.kind == kindNone {
		res.Release()
		return nil, err
	}
	return res, nil
}

func (s *reader) read(req *ReadRequest, res *Result) error {
	switch req.Code {
	case base.RPCGet, base.RPCTTL, base.RPCSortkeyCount:
		key := req.Arg.Bytes()
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		switch req.Code {
		case base.RPCGet:
			s.get(key, req.Now, res)
		case base.RPCTTL:
			s.ttl(key, req.Now, res)
		default:
			return s.sortkeyCount(key, req.Now, res)
		}
		return nil
	case base.RPCMultiGet:
		var arg idl.MultiGetRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.multiGet(&arg, req.Now, res)
	case base.RPCBatchGet:
		var arg idl.BatchGetRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.batchGet(&arg, req.Now, res)
	case base.RPCGetScanner:
		var arg idl.GetScannerRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.getScanner(req, &arg, res)
	case base.RPCScan:
		var arg idl.ScanRequest
		arg.ReadThrift(&req.Arg)
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		return s.scan(req, arg.ContextId, res)
	case base.RPCClearScanner:
		id := req.Arg.I64()
		if err := req.Arg.Err(); err != nil {
			return malformed(req.Code, err)
		}
		s.sessions.take(s, id)
		return nil
	}
	return fmt.Errorf("%s isn't a read: %w", req.Code, base.ErrHandlerNotFound)
}
