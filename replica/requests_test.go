package replica

import (
	"bytes"
	"fmt"
	"runtime/metrics"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/rpc"
)

// TestLargeReadsStayWithinMemory: many reads with large answers are asked for at once. What they
// take is had before they begin, and while they grow; all are answered, and other requests too.
func TestLargeReadsStayWithinMemory(t *testing.T) {
	const limit, rows, size, patience = 16 << 20, 10, 900 << 10, 5 * time.Minute
	reads := 60
	if raceEnabled { // each takes many times as long
		reads = 20
	}
	g := newGroupWith(t, 1, func(c *config.Config) { c.RPC.MaxInFlightBytes, c.Replica.MinReplicas = limit, 1 })
	for i := range rows {
		var res idl.UpdateResponse
		key := append([]byte{0, 3}, fmt.Sprintf("big%d", i)...)
		if err := g.call(0, base.RPCPut, &idl.UpdateRequest{Key: key, Value: bytes.Repeat([]byte{byte(i)}, size)}, &res); err != nil || res.Error != 0 {
			t.Fatal(err, res.Error)
		}
	}
	g.mustPut(0, "small", "v")
	srv := g.nodes[0].srv
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heapNow := func() int64 {
		metrics.Read(heap)
		return int64(heap[0].Value.Uint64())
	}
	before := heapNow()
	ends := make(chan error, reads+20)
	for range reads {
		g.pool.Go(srv.Addr().String(), patience, rpc.Outgoing{Code: base.RPCMultiGet, Gpid: g.gpid,
			Arg: &idl.MultiGetRequest{HashKey: []byte("big"), StartInclusive: true}}, func(b []byte, err error) {
			if err == nil && len(b) < rows*size {
				err = fmt.Errorf("an answer of %d bytes", len(b))
			}
			ends <- err
		})
	}
	for range 20 { // single values that are large pass through the same gate
		g.pool.Go(srv.Addr().String(), patience, rpc.Outgoing{Code: base.RPCGet, Gpid: g.gpid, Arg: rpc.Blob("\x00\x03big1")}, func(b []byte, err error) {
			if err == nil && len(b) < size {
				err = fmt.Errorf("a value of %d bytes", len(b))
			}
			ends <- err
		})
	}
	var most, maxHeap int64
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; n < reads+20; {
		select {
		case err := <-ends:
			if err != nil {
				t.Error(err)
			}
			n++
		case <-tick.C:
			most, maxHeap = max(most, srv.rpc.Stats().InFlightBytes), max(maxHeap, heapNow())
		}
	}
	if most > 4*limit {
		t.Errorf("%d bytes were in flight, with a limit of %d", most, limit)
	}
	if grown := maxHeap - before; grown > 300<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	t.Logf("%d MB in flight, %d MB of heap more", most>>20, (maxHeap-before)>>20)
	g.wantGet(0, "small", "v")
	until(t, "all memory is given back", func() bool { return srv.rpc.Stats().InFlightBytes == 0 })
}
