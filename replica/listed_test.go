package replica

import (
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// The hash that a request lacks is that of its row, whatever it asks for; that of a scan of a whole partition is the partition's number.
func TestHashIn(t *testing.T) {
	key, want := base.AppendKey(nil, []byte("hash"), []byte("sort")), base.CRC64([]byte("hash"))
	for _, x := range []struct {
		code string
		arg  tbin.Encoder
		want uint64
	}{
		{base.RPCGet, rpc.Blob(key), want},
		{base.RPCTTL, rpc.Blob(key), want},
		{base.RPCRemove, rpc.Blob(key), want},
		{base.RPCSortkeyCount, rpc.Blob("hash"), want},
		{base.RPCPut, &rrdb.UpdateRequest{Key: key, Value: []byte("v")}, want},
		{base.RPCIncr, &rrdb.IncrRequest{Key: key, Increment: 1}, want},
		{base.RPCMultiPut, &rrdb.MultiPutRequest{HashKey: []byte("hash")}, want},
		{base.RPCMultiGet, &rrdb.MultiGetRequest{HashKey: []byte("hash")}, want},
		{base.RPCMultiRemove, &rrdb.MultiRemoveRequest{HashKey: []byte("hash")}, want},
		{base.RPCCheckAndSet, &rrdb.CheckAndSetRequest{HashKey: []byte("hash")}, want},
		{base.RPCCheckAndMutate, &rrdb.CheckAndMutateRequest{HashKey: []byte("hash")}, want},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: key, StopKey: base.AppendKey(nil, []byte("hash"), []byte("z"))}, want},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}}, 6},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: key, StopKey: []byte{0xff, 0xff}}, 6},
		{base.RPCGetScanner, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xc3, 0xbf, 0xc3, 0xbf}}, 6},
		{base.RPCScan, &rrdb.ScanRequest{ContextId: 5}, 6},
		{base.RPCGet, rpc.Blob(""), 0},
		{base.RPCMultiGet, &rrdb.MultiGetRequest{}, 0},
		{base.RPCCLICall, rpc.Blob(key), 0},
	} {
		req := &rpc.Request{Code: x.code, Gpid: base.Gpid{AppID: 1, PartitionIndex: 6}, Body: rpc.AppendBody(nil, x.arg)}
		if got := hashIn(req); got != x.want {
			t.Errorf("%s: %x, want %x", x.code, got, x.want)
		}
	}
	if hashIn(&rpc.Request{Code: base.RPCPut}) != 0 {
		t.Error("a request without an argument has a hash")
	}
}

func FuzzHashIn(f *testing.F) {
	f.Add(uint8(0), rpc.AppendBody(nil, rpc.Blob("\x00\x04hashsort")))
	f.Add(uint8(4), rpc.AppendBody(nil, &rrdb.MultiPutRequest{HashKey: []byte("hash")}))
	f.Add(uint8(9), rpc.AppendBody(nil, &rrdb.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}}))
	codes := []string{base.RPCGet, base.RPCSortkeyCount, base.RPCPut, base.RPCIncr, base.RPCMultiPut, base.RPCMultiGet, base.RPCMultiRemove, base.RPCCheckAndSet,
		base.RPCCheckAndMutate, base.RPCGetScanner, base.RPCScan}
	f.Fuzz(func(_ *testing.T, code uint8, body []byte) {
		hashIn(&rpc.Request{Code: codes[int(code)%len(codes)], Body: body})
	})
}
