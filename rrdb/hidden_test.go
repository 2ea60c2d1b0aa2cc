package rrdb

import (
	"fmt"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// TestHidden: reads count what they found and didn't answer.
func TestHidden(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 10 {
		expire := uint32(0)
		if i%2 == 1 {
			expire = 50
		}
		h.put("h", fmt.Sprintf("%c%d", 'a'+i%3, i), "v", expire)
	}
	key := func(sortKey string) tbin.Encoder { return rowArg("h", sortKey) }
	for _, c := range []struct {
		name string
		code string
		arg  tbin.Encoder
		want Hidden
	}{
		{"a live row", base.RPCGet, key("a0"), Hidden{}},
		{"no row", base.RPCGet, key("nothing"), Hidden{}},
		{"an expired row", base.RPCGet, key("b1"), Hidden{Expired: 1}},
		{"its expiry", base.RPCTTL, key("b1"), Hidden{Expired: 1}},
		{"keys", base.RPCBatchGet, &idl.BatchGetRequest{Keys: []idl.FullKey{{HashKey: []byte("h"), SortKey: []byte("b1")}, {HashKey: []byte("h"), SortKey: []byte("a0")},
			{HashKey: []byte("h"), SortKey: []byte("a3")}}}, Hidden{Expired: 2}},
		{"sort keys", base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("b1"), []byte("a0")}}, Hidden{Expired: 1}},
		{"a range", base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("h"), SortKeyFilterType: idl.FT_MATCH_POSTFIX, SortKeyFilterPattern: []byte("4")},
			Hidden{Expired: 5, Filtered: 4}},
		{"a count", base.RPCSortkeyCount, blobArg("h"), Hidden{Expired: 5}},
		{"a scan", base.RPCGetScanner, &idl.GetScannerRequest{BatchSize: 100, SortKeyFilterType: idl.FT_MATCH_ANYWHERE, SortKeyFilterPattern: []byte("a"), HashKeyFilterType: idl.FT_NO_FILTER,
			StopKey: unorderedStop, ValidatePartitionHash: base.Some(false)}, Hidden{Expired: 5, Filtered: 3}},
	} {
		res, err := h.store.Read(&ReadRequest{Code: c.code, Arg: argReader(c.arg), Now: 100})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := res.Touched().Hidden; got != c.want {
			t.Errorf("%s: %+v, should be %+v", c.name, got, c.want)
		}
		res.Release()
	}
}
