package rrdb

import (
	"bytes"
	"fmt"
	"testing"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
)

// filled is a store with n rows of 100 bytes, ten a hash key, flushed.
func filled(t testing.TB, n int) *harness {
	h := newHarness(t, func(c *testConfig) { c.MemtableBytes, c.Engine.BlockCacheBytes = 16<<20, 256<<20 })
	v := bytes.Repeat([]byte("v"), 100)
	for i := range n {
		h.payload = AppendOp(h.payload, Op{Key: benchKey(i), Value: v})
		if i%100 == 99 {
			h.propose()
			h.apply()
		}
	}
	h.propose()
	h.apply()
	h.flush()
	if err := h.store.db.Compact(t.Context(), []byte{0}, []byte{0xff, 0xff, 0xff}, false); err != nil {
		t.Fatal(err)
	}
	return h
}

func benchKey(i int) []byte { return rowKey(fmt.Sprintf("user%08d", i/10), fmt.Sprint(i%10)) }

func BenchmarkGet(b *testing.B) {
	h := filled(b, 100000)
	args := make([][]byte, 4096)
	for i := range args {
		args[i] = blobArg(benchKey(i * 23 % 100000)).AppendThrift(nil)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var buf []byte
		for i := 0; pb.Next(); i++ {
			var req ReadRequest
			req.Code = base.RPCGet
			req.Now = 1000
			req.Arg.Reset(args[i%len(args)])
			res, err := h.store.Read(&req)
			if err != nil {
				b.Fatal(err)
			}
			buf = res.AppendThrift(buf[:0])
			res.Release()
		}
	})
}

func BenchmarkGetAbsent(b *testing.B) {
	h := filled(b, 100000)
	arg := blobArg(rowKey("nobody", "")).AppendThrift(nil)
	b.ReportAllocs()
	for b.Loop() {
		var req ReadRequest
		req.Code = base.RPCGet
		req.Arg.Reset(arg)
		res, err := h.store.Read(&req)
		if err != nil {
			b.Fatal(err)
		}
		res.Release()
	}
}

// BenchmarkApply applies mutations of one put, and of a hundred.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := filled(b, 1000)
			v := bytes.Repeat([]byte("v"), 100)
			payloads := make([][]byte, 256)
			for i := range payloads {
				for j := range n {
					payloads[i] = AppendOp(payloads[i], Op{Key: benchKey(i*n + j), Value: v})
				}
			}
			d := h.store.LastApplied()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				d++
				if err := h.store.Apply(d, d, payloads[i%256]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	h := filled(b, 10000)
	put := (&idl.UpdateRequest{Key: benchKey(7), Value: make([]byte, 100)}).AppendThrift(nil)
	incr := (&idl.IncrRequest{Key: rowKey("counter", ""), Increment: 1}).AppendThrift(nil)
	for _, c := range []struct {
		code string
		arg  []byte
	}{{base.RPCPut, put}, {base.RPCIncr, incr}} {
		b.Run(c.code, func(b *testing.B) {
			payload := make([]byte, 0, 256<<10)
			b.ReportAllocs()
			for b.Loop() {
				if len(payload) > 200<<10 {
					payload = payload[:0]
					h.ov.Discard()
				}
				w := WriteRequest{Code: c.code, Now: 1000}
				w.Arg.Reset(c.arg)
				var err error
				if payload, _, _, err = h.store.Evaluate(&w, h.ov, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMultiGet(b *testing.B) {
	h := filled(b, 100000)
	args := make([][]byte, 1024)
	for i := range args {
		key, _, _ := base.SplitKey(benchKey(i * 91 % 100000))
		args[i] = (&idl.MultiGetRequest{HashKey: key, StartInclusive: true}).AppendThrift(nil)
	}
	var buf []byte
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		var req ReadRequest
		req.Code = base.RPCMultiGet
		req.Arg.Reset(args[i%len(args)])
		res, err := h.store.Read(&req)
		if err != nil || res.count != 10 {
			b.Fatal(err, res.count)
		}
		buf = res.AppendThrift(buf[:0])
		res.Release()
	}
}

// BenchmarkScan reads pages of 100 rows.
func BenchmarkScan(b *testing.B) {
	h := filled(b, 100000)
	first := (&idl.GetScannerRequest{StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, BatchSize: 100}).AppendThrift(nil)
	req := ReadRequest{Code: base.RPCGetScanner}
	arg := first
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		req.Arg.Reset(arg)
		res, err := h.store.Read(&req)
		if err != nil || res.Touched().Status != codeOK {
			b.Fatal(err)
		}
		buf = res.AppendThrift(buf[:0])
		if res.number > 0 {
			req.Code, arg = base.RPCScan, (&idl.ScanRequest{ContextId: res.number}).AppendThrift(nil)
		} else {
			req.Code, arg = base.RPCGetScanner, first
		}
		res.Release()
	}
}
