package rrdb

import (
	"fmt"
	"slices"
	"testing"

	"pegasus/base"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
)

// told is Touched without what is compared apart.
func told(t Touched) string {
	var keys []string
	t.HashKeys(func(h []byte, rows int) { keys = append(keys, fmt.Sprintf("%s:%d", h, rows)) })
	return fmt.Sprintf("status %d, keys %v, in %d, out %d, checked %d, rows %d, seen %d, hidden %d", t.Status, keys, t.In, t.Out, t.Checked, t.Rows, t.Seen, t.Hidden.Expired+t.Hidden.Filtered)
}

// TestTouchedByReads: what a read tells of itself is what it asked for and what it answers.
func TestTouchedByReads(t *testing.T) {
	h := newHarness(t, nil)
	for i, s := range []string{"a", "b", "c"} {
		h.put("hash", s, "12345", uint32(i%2*50)) // b has expired at 100
	}
	hash := []byte("hash")
	keys := []idl.FullKey{{HashKey: hash, SortKey: []byte("a")}, {HashKey: []byte("other"), SortKey: []byte("x")}, {HashKey: hash, SortKey: []byte("b")}}
	for _, c := range []struct {
		code string
		arg  tbin.Encoder
		want string
	}{
		{base.RPCGet, rowArg("hash", "a"), "status 0, keys [hash:1], in 7, out 12, checked 0, rows 0, seen 1, hidden 0"},
		{base.RPCGet, rowArg("hash", "b"), "status 1, keys [hash:1], in 7, out 0, checked 0, rows 0, seen 0, hidden 1"},
		{base.RPCGet, blobArg("x"), "status 1, keys [], in 1, out 0, checked 0, rows 0, seen 0, hidden 0"},
		{base.RPCTTL, rowArg("hash", "a"), "status 0, keys [hash:1], in 7, out 0, checked 0, rows 0, seen 0, hidden 0"},
		{base.RPCSortkeyCount, blobArg("hash"), "status 0, keys [hash:1], in 4, out 0, checked 0, rows 0, seen 3, hidden 1"},
		{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: hash}, "status 0, keys [hash:2], in 0, out 12, checked 0, rows 2, seen 3, hidden 1"},
		{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: hash, NoValue: true}, "status 0, keys [hash:2], in 0, out 2, checked 0, rows 2, seen 3, hidden 1"},
		{base.RPCMultiGet, &idl.MultiGetRequest{HashKey: []byte("none")}, "status 0, keys [none:1], in 0, out 0, checked 0, rows 0, seen 0, hidden 0"},
		{base.RPCBatchGet, &idl.BatchGetRequest{Keys: keys}, "status 0, keys [hash:1 other:1 hash:1], in 0, out 10, checked 0, rows 1, seen 1, hidden 1"},
		{base.RPCGetScanner, &idl.GetScannerRequest{StopKey: unorderedStop, BatchSize: 10, ValidatePartitionHash: base.Some(false)},
			"status 0, keys [], in 0, out 24, checked 0, rows 2, seen 3, hidden 1"},
		{base.RPCScan, &idl.ScanRequest{ContextId: 7}, "status 1, keys [], in 0, out 0, checked 0, rows 0, seen 0, hidden 0"},
	} {
		res, err := h.store.Read(&ReadRequest{Code: c.code, Arg: argReader(c.arg), Now: 100})
		if err != nil {
			t.Fatal(err)
		}
		touched := res.Touched()
		if got := told(touched); got != c.want || touched.Code != c.code {
			t.Errorf("%s tells %s of %s, want %s", c.code, got, touched.Code, c.want)
		}
		res.Release()
	}
}

// TestTouchedByWrites: the rows of a write, each with its hash key; of one without effect none.
func TestTouchedByWrites(t *testing.T) {
	h := newHarness(t, nil)
	h.put("hash", "a", "x", 0)
	hash, key := []byte("hash"), rowKey("hash", "b")
	set := func(kind idl.CasCheckType) tbin.Encoder {
		return &idl.CheckAndSetRequest{HashKey: hash, CheckSortKey: []byte("a"), CheckType: kind, SetDiffSortKey: true, SetSortKey: []byte("bc"), SetValue: []byte("123")}
	}
	for _, c := range []struct {
		code string
		arg  tbin.Encoder
		want string
	}{
		{base.RPCPut, &idl.UpdateRequest{Key: key, Value: []byte("123")}, "status 0, keys [hash:1], in 10, out 0, checked 0, rows 1, seen 0, hidden 0"},
		{base.RPCPut, &idl.UpdateRequest{Key: []byte("x"), Value: []byte("123")}, "status 4, keys [], in 0, out 0, checked 0, rows 0, seen 0, hidden 0"},
		{base.RPCPut, &idl.UpdateRequest{Key: key, Type: base.Some(idl.UT_CHECK_AND_MUTATE_REMOVE)}, "status 0, keys [hash:1], in 7, out 0, checked 0, rows 1, seen 0, hidden 0"},
		{base.RPCRemove, blobArg(key), "status 0, keys [hash:1], in 7, out 0, checked 0, rows 1, seen 0, hidden 0"},
		{base.RPCMultiPut, &idl.MultiPutRequest{HashKey: hash, Kvs: []idl.KeyValue{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b")}}},
			"status 0, keys [hash:2], in 11, out 0, checked 0, rows 2, seen 0, hidden 0"},
		{base.RPCMultiRemove, &idl.MultiRemoveRequest{HashKey: hash, SortKeys: [][]byte{[]byte("a"), []byte("bc")}},
			"status 0, keys [hash:2], in 11, out 0, checked 0, rows 2, seen 0, hidden 0"},
		{base.RPCIncr, &idl.IncrRequest{Key: key, Increment: 42}, "status 0, keys [hash:1], in 9, out 0, checked 0, rows 1, seen 0, hidden 0"},
		{base.RPCIncr, &idl.IncrRequest{Key: rowKey("hash", "a"), Increment: 42}, "status 4, keys [], in 0, out 0, checked 0, rows 0, seen 0, hidden 0"},
		{base.RPCCheckAndSet, set(idl.CT_VALUE_EXIST), "status 0, keys [hash:1], in 9, out 0, checked 1, rows 1, seen 0, hidden 0"},
		{base.RPCCheckAndSet, set(idl.CT_VALUE_NOT_EXIST), "status 13, keys [hash:1], in 0, out 0, checked 1, rows 0, seen 0, hidden 0"},
		{base.RPCCheckAndMutate, &idl.CheckAndMutateRequest{HashKey: hash, CheckSortKey: []byte("aa"), MutateList: []idl.Mutate{
			{Operation: idl.MO_PUT, SortKey: []byte("x"), Value: []byte("1")}, {Operation: idl.MO_DELETE, SortKey: []byte("y")}}},
			"status 0, keys [hash:2], in 11, out 0, checked 2, rows 2, seen 0, hidden 0"},
	} {
		payload, _, touched, err := h.store.Evaluate(&WriteRequest{Code: c.code, Arg: argReader(c.arg), Now: 100}, nil, []byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		if got := told(touched); got != c.want || touched.Code != c.code {
			t.Errorf("%s tells %s of %s, want %s", c.code, got, touched.Code, c.want)
		}
		if (touched.Rows > 0) != (len(payload) > len("before")) {
			t.Errorf("%s: %d bytes of ops, %d rows are told", c.code, len(payload), touched.Rows)
		}
	}
}

// TestDescribe: keys are written by the one who asks, and by nobody else.
func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		code string
		arg  tbin.Encoder
		want string
		keys []string
	}{
		{base.RPCGet, rowArg("h", "s"), "# : #", []string{"h", "s"}},
		{base.RPCTTL, blobArg("x"), "#", []string{"x"}},
		{base.RPCSortkeyCount, blobArg("h"), "hash key #", []string{"h"}},
		{base.RPCBatchGet, &idl.BatchGetRequest{}, "0 keys", nil},
		{base.RPCScan, &idl.ScanRequest{ContextId: 7}, "context 7", nil},
		{base.RPCGet, bytesArg{1}, "invalid arguments", nil},
		{base.RPCPut, blobArg("h"), "invalid arguments", nil},
	} {
		var keys []string
		got := Describe(c.code, argReader(c.arg), func(k []byte) string {
			if len(k) > 0 {
				keys = append(keys, string(k))
			}
			return "#"
		})
		if got != c.want || !slices.Equal(keys, c.keys) {
			t.Errorf("%s: %q with keys %q, want %q with %q", c.code, got, keys, c.want, c.keys)
		}
	}
}
