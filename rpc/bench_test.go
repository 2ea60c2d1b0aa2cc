package rpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
)

// The load of the loopback benchmarks: 4 connections with 16 requests open on each.
const (
	benchConns = 4
	benchDepth = 16
)

// getKey answers like a small GET: the value is made up, the argument is decoded.
func getKey(r *Request) {
	rd := r.ArgReader()
	if key := rd.Bytes(); rd.Err() != nil || len(key) == 0 {
		r.ReplyError(base.ErrInvalidData)
		return
	}
	r.Reply(benchValue)
}

var benchValue tbin.Encoder = rawValue(exampleDValue)

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs f and reports the CPU time of the whole process an operation, both ends
// and the kernel's share included.
func measure(b *testing.B, f func()) {
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	f()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkFrame parses a request and encodes its answer, without a connection.
func BenchmarkFrame(b *testing.B) {
	for _, f := range []Framing{THFT0, THFT1, RDSN} {
		b.Run(f.String(), func(b *testing.B) {
			o := &Outgoing{Code: codeGet, Gpid: base.Gpid{AppID: 2, PartitionIndex: 4}, Arg: Blob("\x00\x01as"), Framing: f}
			frameLen, parse := thftFrameLen, parseTHFTRequest
			in := appendTHFTRequest(nil, 1, o)
			if f == RDSN {
				frameLen, parse, in = rdsnFrameLen, parseRDSNRequest, appendRDSNRequest(nil, 1, o)
			}
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				if n, err := frameLen(in); err != nil || n != int64(len(in)) {
					b.Fatal(n, err)
				}
				r := newRequest()
				if err := parse(r, in); err != nil {
					b.Fatal(err)
				}
				rd := r.ArgReader()
				if len(rd.Bytes()) != 4 {
					b.Fatal("wrong key")
				}
				out, _ = appendAnswer(out[:0], r, &answer{code: base.ErrOK, typ: 12, val: benchValue}, 1, 1<<20)
				r.claim()
				r.recycle()
			}
		})
	}
}

// pipelined sends n frames over one connection, benchDepth of them open, and reads as many
// answers of a fixed length.
func pipelined(c net.Conn, in []byte, answerLen, n int) error {
	batch := make([]byte, 0, len(in)*benchDepth)
	got := make([]byte, answerLen*benchDepth)
	for n > 0 {
		k := min(n, benchDepth)
		batch = batch[:0]
		for i := 0; i < k; i++ {
			batch = append(batch, in...)
		}
		if _, err := c.Write(batch); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, got[:k*answerLen]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

func loadRaw(b *testing.B, addr string, in []byte, answerLen int) {
	var wg sync.WaitGroup
	conns := make([]net.Conn, benchConns)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		if err := pipelined(c, in, answerLen, benchDepth); err != nil {
			b.Fatal(err)
		}
		conns[i] = c
	}
	measure(b, func() {
		for i, c := range conns {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err := pipelined(c, in, answerLen, (b.N+i)/benchConns); err != nil {
					b.Error(err)
				}
			}()
		}
		wg.Wait()
	})
}

// BenchmarkServer is the server's share: the client does nothing but write ready-made
// batches and read answers. "floor" is a server that gives the bytes back as they come.
func BenchmarkServer(b *testing.B) {
	o := &Outgoing{Code: codeGet, Gpid: base.Gpid{AppID: 2, PartitionIndex: 4}, Arg: Blob("\x00\x01as"), Framing: THFT1}
	thft := appendTHFTRequest(nil, 1, o)
	b.Run("floor", func(b *testing.B) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buf := make([]byte, 64<<10)
					for {
						n, err := c.Read(buf)
						if err != nil {
							return
						}
						if _, err := c.Write(buf[:n]); err != nil {
							return
						}
					}
				}()
			}
		}()
		loadRaw(b, l.Addr().String(), thft, len(thft))
	})
	for _, f := range []Framing{THFT1, RDSN} {
		in, answerLen := thft, len(exampleD)
		if f == RDSN {
			in, answerLen = appendRDSNRequest(nil, 1, o), rdsnHeader+len(exampleDValue)+4
		}
		b.Run(f.String(), func(b *testing.B) {
			loadRaw(b, benchServer(b, HandlerFunc(getKey)), in, answerLen)
		})
		b.Run(f.String()+" async", func(b *testing.B) {
			loadRaw(b, benchServer(b, asyncHandler(b, getKey)), in, answerLen)
		})
	}
}

func benchServer(b *testing.B, h Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	mux := NewMux(nil)
	mux.Handle(codeGet, h)
	s := NewServer(ServerOptions{}, mux, nil, nil)
	go s.Serve(l)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
	})
	return l.Addr().String()
}

// asyncHandler answers from one other goroutine, as a replica's log writer does.
func asyncHandler(b *testing.B, h HandlerFunc) Handler {
	ch := make(chan *Request, 1024)
	b.Cleanup(func() { close(ch) })
	go func() {
		for r := range ch {
			h(r)
		}
	}()
	return HandlerFunc(func(r *Request) { ch <- r })
}

// BenchmarkPool is both ends: our client against our server.
func BenchmarkPool(b *testing.B) {
	for _, f := range []Framing{THFT0, RDSN} {
		out := func(i int) Outgoing {
			return Outgoing{Code: codeGet, Gpid: base.Gpid{AppID: 2, PartitionIndex: int32(i % benchConns)}, Arg: benchKey, Framing: f}
		}
		b.Run(fmt.Sprint("Go ", f), func(b *testing.B) {
			addr := benchServer(b, HandlerFunc(getKey))
			p := testPool(b, PoolOptions{ConnsPerAddr: benchConns})
			slots := make(chan struct{}, benchConns*benchDepth)
			done := func(body []byte, err error) {
				if err != nil {
					b.Error(err)
				}
				<-slots
			}
			measure(b, func() {
				for i := 0; i < b.N; i++ {
					slots <- struct{}{}
					p.Go(addr, patience, out(i), done)
				}
				for i := 0; i < cap(slots); i++ {
					slots <- struct{}{}
				}
			})
		})
		for _, callers := range []int{1, benchConns * benchDepth} {
			b.Run(fmt.Sprint("Call ", f, " callers=", callers), func(b *testing.B) {
				addr := benchServer(b, HandlerFunc(getKey))
				p := testPool(b, PoolOptions{ConnsPerAddr: benchConns})
				var wg sync.WaitGroup
				measure(b, func() {
					for w := 0; w < callers; w++ {
						wg.Add(1)
						go func() {
							defer wg.Done()
							for i := 0; i < (b.N+w)/callers; i++ {
								if err := p.Call(context.Background(), addr, out(w), nil); err != nil {
									b.Error(err)
									return
								}
							}
						}()
					}
					wg.Wait()
				})
			})
		}
	}
}

var benchKey tbin.Encoder = rawValue(hx(`00 00 00 04 00 01 61 73`))

// TestNoAllocations holds a server to what doc.go says of its steady state: a request
// answered at once allocates nothing.
func TestNoAllocations(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(getKey), nil, nil)
	for _, f := range []Framing{THFT0, THFT1, RDSN} {
		o := &Outgoing{Code: codeGet, Gpid: base.Gpid{AppID: 2, PartitionIndex: 4}, Arg: Blob("\x00\x01as"), Framing: f}
		in, answerLen := appendTHFTRequest(nil, 1, o), len(exampleD)
		if f == RDSN {
			in, answerLen = appendRDSNRequest(nil, 1, o), rdsnHeader+len(exampleDValue)+4
		}
		c := s.dial()
		if err := pipelined(c, in, answerLen, 1000); err != nil {
			t.Fatal(err)
		}
		const n = 20000
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		if err := pipelined(c, in, answerLen, n); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&m1)
		per := float64(m1.Mallocs-m0.Mallocs) / n
		limit := 0.02
		if raceEnabled { // then sync.Pool forgets at random
			limit = 10
		}
		if per > limit {
			t.Errorf("%v: %.3f allocations a request", f, per)
		}
	}
}
