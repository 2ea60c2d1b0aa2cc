package replica

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// drive keeps width calls under way until n are answered.
func drive(b *testing.B, g *group, width int, code string, arg func(i int) value.Value) {
	b.Helper()
	addr := g.nodes[0].srv.Addr().String()
	var mu sync.Mutex
	next, left := 0, b.N
	done := make(chan struct{})
	var one func()
	one = func() {
		mu.Lock()
		i := next
		next++
		mu.Unlock()
		if i >= b.N {
			return
		}
		g.pool.Go(addr, 20*time.Second, rpc.Outgoing{Code: code, Gpid: g.gpid, Arg: arg(i)}, func(_ []byte, err error) {
			if err != nil {
				b.Error(err)
			}
			mu.Lock()
			left--
			last := left == 0
			mu.Unlock()
			if last {
				close(done)
				return
			}
			one()
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range min(width, b.N) {
		one()
	}
	<-done
}

// BenchmarkPut measures writes of 1 KB to one partition of three replicas, all servers and
// the client in this process, over loopback.
func BenchmarkPut(b *testing.B) {
	for _, width := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("outstanding=%d", width), func(b *testing.B) {
			g := newGroup(b, 3)
			v := make([]byte, 1024)
			drive(b, g, width, base.RPCPut, func(i int) value.Value {
				return &idl.UpdateRequest{Key: rowKey(fmt.Sprintf("k%06d", i%100000)), Value: v}
			})
		})
	}
}

// BenchmarkGet measures reads of 1 KB from one partition.
func BenchmarkGet(b *testing.B) {
	g := newGroup(b, 2)
	v := string(make([]byte, 1024))
	for i := range 100 {
		if err := g.put(0, fmt.Sprintf("k%d", i), v); err != nil {
			b.Fatal(err)
		}
	}
	drive(b, g, 64, base.RPCGet, func(i int) value.Value {
		k := value.Blob(rowKey(fmt.Sprintf("k%d", i%100)))
		return &k
	})
}
