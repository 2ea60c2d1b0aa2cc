package rrdb

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// TestAnswersAreWhole compares the hand-written encodings with the generated ones, which
// write every default field.
func TestAnswersAreWhole(t *testing.T) {
	h := newHarness(t, nil)
	h.put("h", "a", "10", 5000)
	h.put("h", "b", "", 0)
	const node = "node:34801"
	bytesOf := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		code string
		arg  tbin.Encoder
		want tbin.Encoder
	}{
		{base.RPCGet, rowArg("h", "a"), &idl.ReadResponse{Value: bytesOf("10"), AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCGet, rowArg("h", "x"), &idl.ReadResponse{Error: 1, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCTTL, rowArg("h", "a"), &idl.TtlResponse{TtlSeconds: 4000, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCSortkeyCount, blobArg("h"), &idl.CountResponse{Count: 2, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: bytesOf("h"), StartInclusive: true}, &idl.MultiGetResponse{
			Kvs: []idl.KeyValue{{Key: bytesOf("a"), Value: bytesOf("10")}, {Key: bytesOf("b")}}, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: bytesOf("h"), Reverse: true, MaxKvCount: 1}, &idl.MultiGetResponse{
			Error: 7, Kvs: []idl.KeyValue{{Key: bytesOf("b")}}, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: bytesOf("none")}, &idl.MultiGetResponse{AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCBatchGet, &idl.BatchGetRequest{Keys: []idl.FullKey{{HashKey: bytesOf("h"), SortKey: bytesOf("b")}}}, &idl.BatchGetResponse{
			Data: []idl.FullData{{HashKey: bytesOf("h"), SortKey: bytesOf("b")}}, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCGetScanner, &idl.GetScannerRequest{StartKey: rowKey("h", ""), StopKey: rowKey("h", "b"), ReturnExpireTs: base.Some(true)}, &idl.ScanResponse{
			Kvs:       []idl.KeyValue{{Key: rowKey("h", "a"), Value: bytesOf("10"), ExpireTsSeconds: base.Some[int32](5000)}},
			ContextId: -1, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCGetScanner, &idl.GetScannerRequest{StartKey: rowKey("h", ""), StopKey: rowKey("h", "b"), NoValue: true, ReturnTimetag: base.Some(true)}, &idl.ScanResponse{
			Kvs:       []idl.KeyValue{{Key: rowKey("h", "a"), Value: binary.BigEndian.AppendUint64(nil, MakeTimetag(h.timestamp(1), 0, false))}},
			ContextId: -1, AppId: 1, PartitionIndex: 2, Server: node}},
		{base.RPCGetScanner, &idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, OnlyReturnCount: base.Some(true)}, &idl.ScanResponse{
			ContextId: -1, AppId: 1, PartitionIndex: 2, Server: node, KvCount: base.Some[int32](2)}},
		{base.RPCScan, &idl.ScanRequest{ContextId: 5}, &idl.ScanResponse{Error: 1, AppId: 1, PartitionIndex: 2, Server: node}},
	} {
		res, err := h.store.Read(&ReadRequest{Code: c.code, Arg: argReader(c.arg)})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := res.AppendThrift(nil), c.want.AppendThrift(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.code, got, want)
		}
		res.Release()
	}
	for _, c := range []struct {
		code string
		arg  tbin.Encoder
		want tbin.Encoder
	}{
		{base.RPCPut, &idl.UpdateRequest{Key: rowKey("h", "c")}, &idl.UpdateResponse{AppId: 1, PartitionIndex: 2, Decree: 77, Server: node}},
		{base.RPCMultiPut, &idl.MultiPutRequest{}, &idl.UpdateResponse{Error: 4, AppId: 1, PartitionIndex: 2, Decree: -1, Server: node}},
		{base.RPCMultiRemove, &idl.MultiRemoveRequest{SortKeys: [][]byte{nil, nil}}, &idl.MultiRemoveResponse{Count: 2, AppId: 1, PartitionIndex: 2, Decree: 77, Server: node}},
		{base.RPCIncr, &idl.IncrRequest{Key: rowKey("h", "a"), Increment: 5}, &idl.IncrResponse{NewValue: 15, AppId: 1, PartitionIndex: 2, Decree: 77, Server: node}},
		{base.RPCCheckAndSet, &idl.CheckAndSetRequest{HashKey: bytesOf("h"), CheckSortKey: bytesOf("a"), CheckType: 1, ReturnCheckValue: true},
			&idl.CheckAndSetResponse{Error: 13, CheckValueReturned: true, CheckValueExist: true, CheckValue: bytesOf("10"),
				AppId: 1, PartitionIndex: 2, Decree: -1, Server: node}},
		{base.RPCCheckAndMutate, &idl.CheckAndMutateRequest{HashKey: bytesOf("h"), MutateList: []idl.Mutate{{}}},
			&idl.CheckAndMutateResponse{AppId: 1, PartitionIndex: 2, Decree: 77, Server: node}},
	} {
		_, reply, _, err := h.store.Evaluate(&WriteRequest{Code: c.code, Arg: argReader(c.arg)}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reply.Refused() {
			reply.SetDecree(77)
		}
		if got, want := reply.AppendThrift(nil), c.want.AppendThrift(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.code, got, want)
		}
	}
}
