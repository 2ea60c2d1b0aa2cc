//go:build !race

// The race detector makes sync.Pool forget at random.

package rrdb

import (
	"testing"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// TestAllocations holds the hot paths to what the serving side may spend: two a get, two
// a put.
func TestAllocations(t *testing.T) {
	h := filled(t, 5000)
	h.put("h", "in memtable", "v", 0)
	var buf []byte
	var touched Touched
	get := func(key []byte, want int32) func() {
		arg := blobArg(key).AppendThrift(nil)
		return func() {
			var req ReadRequest
			req.Code = base.RPCGet
			req.Arg.Reset(arg)
			res, err := h.store.Read(&req)
			if err != nil {
				t.Fatal(err)
			}
			if touched = res.Touched(); touched.Status != want {
				t.Fatal(touched.Status)
			}
			buf = res.AppendThrift(buf[:0])
			res.Release()
		}
	}
	put := (&idl.UpdateRequest{Key: benchKey(7), Value: make([]byte, 100)}).AppendThrift(nil)
	var payload []byte
	var reply Reply
	evaluate := func() {
		var w WriteRequest
		w.Code = base.RPCPut
		w.Arg.Reset(put)
		var err error
		if payload, reply, touched, err = h.store.Evaluate(&w, h.ov, payload[:0]); err != nil {
			t.Fatal(err)
		}
		reply.SetDecree(1)
		buf = reply.AppendThrift(buf[:0])
	}
	apply := func() {
		if err := h.store.Apply(h.store.LastApplied()+1, 1, payload); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		what string
		most float64
		f    func()
	}{
		{"get from a table", 1, get(benchKey(77), codeOK)},
		{"get from the memtable", 1, get(rowKey("h", "in memtable"), codeOK)},
		{"get of nothing", 1, get(rowKey("nobody", ""), codeNotFound)},
		{"evaluate a put", 1, evaluate},
		{"apply a put", 2, apply},
	} {
		c.f() // fills the pools
		if n := testing.AllocsPerRun(200, c.f); n > c.most {
			t.Errorf("%s: %.1f allocations, should be at most %.0f", c.what, n, c.most)
		} else {
			t.Logf("%s: %.1f allocations", c.what, n)
		}
	}
}
