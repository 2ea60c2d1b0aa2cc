package bench

import (
	"context"
	"testing"

	"pegasus/client/clienttest"
	"pegasus/gen/rrdb"
	"pegasus/rpc"
)

// BenchmarkSet measures a set through client and network to a server that does nothing,
// all in one process: an upper bound of what the load generator costs.
func BenchmarkSet(b *testing.B) {
	k := clienttest.Start(b, 3)
	k.CreateTable("temp", 8, 3)
	res := &rrdb.UpdateResponse{Server: "127.0.0.1:34801"}
	k.SetHook(func(server int, r *rpc.Request) bool {
		if server >= 0 {
			r.Reply(res)
		}
		return server >= 0
	})
	o := options(k, "set")
	o.Clients, o.Outstanding, o.ValueSize, o.Count = 2, 50, 1024, int64(b.N)
	b.ReportAllocs()
	rep, err := Run(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(rep.ClientCPU, "cpu-µs/op")
}
