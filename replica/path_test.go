package replica

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	idl "pegasus/gen/rrdb"
	"pegasus/gen/value"
	"pegasus/rpc"
)

// rawClient sends ready-made frames over one connection and passes over the answers: what a
// benchmark with it counts is the servers' doing.
type rawClient struct {
	conn   net.Conn
	frames [][]byte
	out    []byte
	in     []byte
}

// frameOf returns a THFT v0 frame; upstream's src/rpc/thrift_message_parser.cpp has the format.
func frameOf(code string, g base.Gpid, arg value.Value) []byte {
	be := binary.BigEndian
	body := be.AppendUint32(nil, 0x80010001)
	body = tbin.AppendString(body, code)
	body = tbin.AppendI32(body, 1)
	body = rpc.AppendBodyOf(body, tbin.Struct, 1, arg)
	b := append([]byte("THFT"), 0, 0, 0, 0)
	b = be.AppendUint32(b, 48)
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(len(body)))
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, uint32(g.AppID))
	b = be.AppendUint32(b, uint32(g.PartitionIndex))
	b = be.AppendUint32(b, 10_000)
	b = be.AppendUint64(b, 0)
	b = append(b, 0, 0, 0, 0)
	return append(b, body...)
}

func newRawClient(t testing.TB, g *group, code string, args []value.Value) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", g.nodes[0].srv.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &rawClient{conn: conn, in: make([]byte, 64<<10)}
	for _, a := range args {
		c.frames = append(c.frames, frameOf(code, g.gpid, a))
	}
	return c
}

// do sends n requests, width at a time, and waits for their answers.
func (c *rawClient) do(t testing.TB, n, width int) {
	t.Helper()
	for n > 0 {
		k := min(n, width)
		c.out = c.out[:0]
		for i := range k {
			c.out = append(c.out, c.frames[(n+i)%len(c.frames)]...)
		}
		if _, err := c.conn.Write(c.out); err != nil {
			t.Fatal(err)
		}
		for range k {
			if _, err := io.ReadFull(c.conn, c.in[:4]); err != nil {
				t.Fatal(err)
			}
			size := int(binary.BigEndian.Uint32(c.in))
			if _, err := io.ReadFull(c.conn, c.in[4:size]); err != nil {
				t.Fatal(err)
			}
			if e := int(binary.BigEndian.Uint32(c.in[4:])); string(c.in[8:8+e]) != "ERR_OK" {
				t.Fatalf("answer %q", c.in[8:8+e])
			}
		}
		n -= k
	}
}

func pathGroup(t testing.TB) *group {
	return newGroupWith(t, 3, func(c *config.Config) { c.WAL.Sync = "os" })
}

func putArgs() []value.Value {
	var args []value.Value
	for i := range 100 {
		args = append(args, &idl.UpdateRequest{Key: rowKey(fmt.Sprintf("k%06d", i)), Value: make([]byte, 1024)})
	}
	return args
}

func getArgs() []value.Value {
	var args []value.Value
	for i := range 100 {
		k := value.Blob(rowKey(fmt.Sprintf("k%06d", i)))
		args = append(args, &k)
	}
	return args
}

// BenchmarkPath is the servers' own path, without a client's: a put of 1 KB on three
// replicas, all their allocations together, and a get.
func BenchmarkPath(b *testing.B) {
	for _, width := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("put/outstanding=%d", width), func(b *testing.B) {
			c := newRawClient(b, pathGroup(b), base.RPCPut, putArgs())
			c.do(b, 1000, width)
			b.ReportAllocs()
			b.ResetTimer()
			c.do(b, b.N, width)
		})
	}
	for _, width := range []int{1, 16} {
		b.Run(fmt.Sprintf("get/outstanding=%d", width), func(b *testing.B) {
			g := pathGroup(b)
			newRawClient(b, g, base.RPCPut, putArgs()).do(b, 1000, 64)
			c := newRawClient(b, g, base.RPCGet, getArgs())
			c.do(b, 1000, width)
			b.ReportAllocs()
			b.ResetTimer()
			c.do(b, b.N, width)
		})
	}
}

// TestAllocations holds the servers to the bound of the issue: at most 2 allocations a get,
// and 6 a put, for which three servers work.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("counts allocations of some thousand requests")
	}
	g := pathGroup(t)
	put := newRawClient(t, g, base.RPCPut, putArgs())
	get := newRawClient(t, g, base.RPCGet, getArgs())
	for _, c := range []struct {
		name  string
		c     *rawClient
		width int
		most  float64
	}{{"put", put, 1, 6}, {"put", put, 16, 6}, {"get", get, 1, 2}, {"get", get, 16, 2}} {
		n := 4000
		if raceEnabled { // counts nothing then
			n = 200
		}
		c.c.do(t, n, c.width)
		// Heartbeats, timers and whoever else works in this process allocate too, the more
		// the longer a slow machine takes: what they allocate while nobody asks is subtracted, and
		// the least of a few runs is the requests' own.
		got := math.Inf(1)
		for try := 0; try < 5 && got > c.most; try++ {
			const idle = 500 * time.Millisecond
			others, rested := allocations(func() { <-time.After(idle) })
			all, took := allocations(func() { c.c.do(t, n, c.width) })
			got = min(got, (all-others*took.Seconds()/rested.Seconds())/float64(n))
		}
		t.Logf("%s, %d under way: %.2f allocations", c.name, c.width, got)
		if got > c.most && !raceEnabled {
			t.Errorf("%s, %d under way: %.2f allocations, the bound is %v", c.name, c.width, got, c.most)
		}
	}
}

// allocations counts those of the whole process while f runs.
func allocations(f func()) (n float64, took time.Duration) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	f()
	took = time.Since(began)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs), took
}
