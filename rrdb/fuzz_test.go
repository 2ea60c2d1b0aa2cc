package rrdb

import (
	"bytes"
	"errors"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/dupinternal"
	idl "pegasus/gen/rrdb"
)

// FuzzOps: a payload is refused or read to its end, and what was read encodes to a payload
// that reads the same.
func FuzzOps(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(AppendOp(AppendOp(nil, Op{Key: rowKey("h", "s"), Value: []byte("v")}), Op{Key: rowKey("", "x"), Delete: true}))
	f.Add(AppendOp(nil, Op{Key: rowKey("h", "s"), Value: []byte("v"), ExpireTS: 1 << 31}))
	f.Add([]byte{2, 1, 'k', 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var ops []Op
		var op Op
		r := NewOpReader(payload)
		for r.Next(&op) {
			ops = append(ops, op)
		}
		if err := r.Err(); err != nil {
			if !errors.Is(err, base.ErrInvalidData) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		if r.Offset() != len(payload) {
			t.Fatalf("read %d of %d bytes", r.Offset(), len(payload))
		}
		var again []byte
		for _, op := range ops {
			again = AppendOp(again, op)
		}
		r = NewOpReader(again)
		for i := range ops {
			if !r.Next(&op) || !bytes.Equal(op.Key, ops[i].Key) || !bytes.Equal(op.Value, ops[i].Value) ||
				op.ExpireTS != ops[i].ExpireTS || op.Delete != ops[i].Delete {
				t.Fatalf("op %d is %+v, was %+v: %v", i, op, ops[i], r.Err())
			}
		}
		if r.Next(&op) || r.Err() != nil {
			t.Fatalf("more than %d ops: %v", len(ops), r.Err())
		}
	})
}

func fuzzStore(f *testing.F) *harness {
	h := newHarness(f, func(c *testConfig) { c.Limits.ScanRows, c.Limits.MultiGetRows = 4, 4 })
	for _, k := range walkSortKeys {
		h.put("", k, "1", 0)
		h.put("h", k, "22", 5000)
		h.put("hh", k, "", 1)
	}
	h.store.SetPartitionCount(8)
	return h
}

var readCodes = []string{base.RPCGet, base.RPCTTL, base.RPCMultiGet, base.RPCBatchGet, base.RPCSortkeyCount, base.RPCGetScanner, base.RPCScan, base.RPCClearScanner, "RPC_NO_SUCH"}

// FuzzRead: any argument gets an answer that decodes, or an error of a known kind.
func FuzzRead(f *testing.F) {
	h := fuzzStore(f)
	for code, arg := range map[uint8]tbin.Encoder{
		0: rowArg("h", "a"), 1: rowArg("", ""), 4: blobArg("h"), 7: bytesArg{0, 0, 0, 0, 0, 0, 0, 1},
		2: &idl.MultiGetRequest{HashKey: []byte("h"), StartSortkey: []byte("a"), SortKeyFilterType: 2, SortKeyFilterPattern: []byte("a"), Reverse: true},
		3: &idl.BatchGetRequest{Keys: []idl.FullKey{{HashKey: []byte("h"), SortKey: []byte("a")}}},
		5: &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 2, FullScan: base.Some(true)},
		6: &idl.ScanRequest{ContextId: 1},
	} {
		f.Add(code, arg.AppendThrift(nil))
	}
	f.Add(uint8(2), (&idl.MultiGetRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("a"), nil}}).AppendThrift(nil))
	f.Add(uint8(5), (&idl.GetScannerRequest{StartKey: rowKey("h", "a"), StopKey: rowKey("h", "b"), HashKeyFilterType: 2,
		HashKeyFilterPattern: []byte("zz"), OnlyReturnCount: base.Some(true)}).AppendThrift(nil))
	f.Fuzz(func(t *testing.T, code uint8, arg []byte) {
		name := readCodes[int(code)%len(readCodes)]
		for name != "" {
			res, err := h.store.Read(&ReadRequest{Code: name, Arg: *tbin.NewReader(arg)})
			if text := Describe(name, *tbin.NewReader(arg), func([]byte) string { return "key" }); text == "" {
				t.Fatal("a request is described by nothing")
			}
			name = ""
			if err != nil {
				if !errors.Is(err, base.ErrInvalidData) && !errors.Is(err, base.ErrInvalidParameters) && !errors.Is(err, base.ErrHandlerNotFound) {
					t.Fatalf("error is %v", err)
				}
				return
			}
			if res == nil {
				return
			}
			answers := map[resultKind]tbin.Decoder{kindGet: &idl.ReadResponse{}, kindTTL: &idl.TtlResponse{}, kindCount: &idl.CountResponse{},
				kindMultiGet: &idl.MultiGetResponse{}, kindBatchGet: &idl.BatchGetResponse{}, kindScan: &idl.ScanResponse{}}
			answer := answers[res.kind]
			rd := tbin.NewReader(res.AppendThrift(nil))
			touched := res.Touched()
			if touched.HashKeys(func(h []byte, rows int) {
				if len(h) > len(arg) || rows < 1 {
					t.Fatalf("%d rows of a hash key of %d bytes, the request has %d", rows, len(h), len(arg))
				}
			}); touched.Seen < touched.Rows {
				t.Fatalf("told is %+v", touched)
			}
			res.Release()
			answer.ReadThrift(rd)
			if rd.Err() != nil || rd.Len() != 0 {
				t.Fatalf("answer %T: %v, %d bytes left", answer, rd.Err(), rd.Len())
			}
			if s, ok := answer.(*idl.ScanResponse); ok && s.ContextId > 0 {
				name, arg = base.RPCScan, (&idl.ScanRequest{ContextId: s.ContextId}).AppendThrift(nil)
			}
		}
		waitFor(t, "all calls to have ended", func() bool { return h.store.refs.Load() == 0 })
		if h.store.Failed() != nil || len(h.errs) > 0 {
			t.Fatalf("the store met an error: %v", h.store.Failed())
		}
	})
}

var writeCodes = []string{base.RPCPut, base.RPCRemove, base.RPCMultiPut, base.RPCMultiRemove, base.RPCIncr, base.RPCCheckAndSet, base.RPCCheckAndMutate, "RPC_NO_SUCH"}

// FuzzEvaluate: any argument gets an error of a known kind, a refusal without ops, or ops
// that can be applied.
func FuzzEvaluate(f *testing.F) {
	h := fuzzStore(f)
	for code, arg := range map[uint8]tbin.Encoder{
		0: &idl.UpdateRequest{Key: rowKey("h", "a"), Value: []byte("v"), ExpireTsSeconds: -1},
		1: rowArg("h", "a"),
		2: &idl.MultiPutRequest{HashKey: []byte("h"), Kvs: []idl.KeyValue{{Key: []byte("a")}}},
		3: &idl.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("a")}},
		4: &idl.IncrRequest{Key: rowKey("h", "a"), Increment: -1 << 63},
		5: &idl.CheckAndSetRequest{HashKey: []byte("h"), CheckSortKey: []byte("a"), CheckType: 13, CheckOperand: []byte("0x17"), ReturnCheckValue: true},
		6: &idl.CheckAndMutateRequest{HashKey: []byte("h"), MutateList: []idl.Mutate{{Operation: 1, SortKey: []byte("a")}, {SortKey: []byte("b")}}},
	} {
		f.Add(code, arg.AppendThrift(nil))
	}
	f.Fuzz(func(t *testing.T, code uint8, arg []byte) {
		before := AppendOp(nil, Op{Key: rowKey("h", "a"), Value: []byte("7")})
		n := len(before)
		const most = 1000
		payload, reply, touched, err := h.store.Evaluate(&WriteRequest{Code: writeCodes[int(code)%len(writeCodes)], Arg: *tbin.NewReader(arg), MaxBytes: most}, nil, before)
		if len(payload)-n > most {
			t.Fatalf("%d bytes of ops", len(payload)-n)
		}
		if err != nil {
			if !errors.Is(err, base.ErrInvalidData) && !errors.Is(err, base.ErrInvalidParameters) && !errors.Is(err, base.ErrHandlerNotFound) {
				t.Fatalf("error is %v", err)
			}
			if len(payload) != n {
				t.Fatal("an error, and the payload has grown")
			}
			return
		}
		if reply.Refused() != (len(payload) == n) || reply.Refused() != (reply.code != 0) {
			t.Fatalf("refused %t, code %d, %d bytes of ops", reply.Refused(), reply.code, len(payload)-n)
		}
		rows, hashKey := 0, []byte(nil)
		for rd, o := NewOpReader(payload[n:]), (Op{}); rd.Next(&o); rows++ {
			hashKey, _, _ = base.SplitKey(o.Key)
			if !bytes.Equal(hashKey, touched.HashKey) {
				t.Fatalf("a row of hash key %q, told is %q", hashKey, touched.HashKey)
			}
		}
		if rows != touched.Rows || touched.Status != reply.code {
			t.Fatalf("%d rows and code %d, told is %+v", rows, reply.code, touched)
		}
		var answer tbin.Decoder
		switch reply.kind {
		case replyUpdate:
			answer = &idl.UpdateResponse{}
		case replyMultiRemove:
			answer = &idl.MultiRemoveResponse{}
		case replyIncr:
			answer = &idl.IncrResponse{}
		default:
			answer = &idl.CheckAndSetResponse{}
		}
		rd := tbin.NewReader(reply.AppendThrift(nil))
		answer.ReadThrift(rd)
		if rd.Err() != nil || rd.Len() != 0 {
			t.Fatalf("answer %T: %v, %d bytes left", answer, rd.Err(), rd.Len())
		}
		b := h.store.db.NewBatch()
		defer b.Close()
		if _, err := h.store.fillBatch(b, &Mutation{Payload: payload}); err != nil {
			t.Fatalf("ops can't be applied: %v", err)
		}
	})
}

// FuzzReceive: a request with writes of other clusters is an error or is answered with success; what it
// adds can be applied, and carries the timetags of those clusters.
func FuzzReceive(f *testing.F) {
	h := fuzzStore(f)
	h.store.SetPartitionCount(0) // rows of all partitions are taken
	f.Add([]byte{0})
	one := sentPut(9, 3, "a", "v")
	f.Add(one.AppendThrift(nil))
	f.Add((&dupinternal.DuplicateRequest{Entries: []dupinternal.DuplicateEntry{
		verified(one), sentRemove(1<<55, 127, "b"), sentPut(-1, 3, "c", "v"), sentPut(1, 2, "c", "v"), sent(base.RPCIncr, 1, 3, &idl.IncrRequest{}),
		sent(base.RPCMultiPut, 1, 4, &idl.MultiPutRequest{HashKey: []byte("h"), Kvs: make([]idl.KeyValue, 2)}),
		sent(base.RPCMultiRemove, 1, 4, &idl.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: make([][]byte, 2)}),
	}}).AppendThrift(nil))
	f.Fuzz(func(t *testing.T, arg []byte) {
		before := AppendOp(nil, Op{Key: rowKey("h", "a"), Value: []byte("7")})
		n := len(before)
		payload, reply, touched, err := h.store.Evaluate(&WriteRequest{Code: base.RPCDuplicate, Arg: *tbin.NewReader(arg), MaxBytes: 1000, Cluster: 2}, nil, before)
		if err != nil {
			if !errors.Is(err, base.ErrInvalidData) && !errors.Is(err, ErrDivide) && !errors.Is(err, base.ErrInconsistentState) || len(payload) != n {
				t.Fatalf("error is %v, %d bytes of ops", err, len(payload)-n)
			}
			return
		}
		if reply.Refused() != (len(payload) == n) || reply.code != 0 || touched.Dup == nil {
			t.Fatalf("refused %t, code %d, %d bytes of ops, %+v", reply.Refused(), reply.code, len(payload)-n, touched.Dup)
		}
		rows := 0
		for rd, o := NewOpReader(payload[n:]), (Op{}); rd.Next(&o); rows++ {
			if _, cluster, _ := SplitTimetag(o.Timetag); cluster == 2 || !touched.Dup.From(cluster) {
				t.Fatalf("a row of cluster %d", cluster)
			}
		}
		if d := touched.Dup; rows != touched.Rows || d.Own+d.Lost+d.Future > 2*d.Writes || len(d.TimestampsUS) > d.Writes {
			t.Fatalf("%d rows, told is %+v, %+v", rows, touched, d)
		}
		var answer dupinternal.DuplicateResponse
		rd := tbin.NewReader(reply.AppendThrift(nil))
		answer.ReadThrift(rd)
		if rd.Err() != nil || rd.Len() != 0 || answer.Error.V != 0 {
			t.Fatalf("answer %+v: %v, %d bytes left", answer, rd.Err(), rd.Len())
		}
		b := h.store.db.NewBatch()
		defer b.Close()
		if _, err := h.store.fillBatch(b, &Mutation{Payload: payload}); err != nil {
			t.Fatalf("ops can't be applied: %v", err)
		}
	})
}
