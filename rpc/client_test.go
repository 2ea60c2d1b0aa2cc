package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pegasus/base"
)

func get(key string) Outgoing { return Outgoing{Code: codeGet, Arg: Blob(key)} }

// freeAddr returns an address that nobody listens on.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestCallRefused(t *testing.T) {
	p := testPool(t, PoolOptions{})
	addr := freeAddr(t)
	for i := 0; i < 3; i++ { // the second and third while it waits to dial again
		start := time.Now()
		err := p.Call(context.Background(), addr, get("k"), nil)
		if !errors.Is(err, base.ErrNetworkFailure) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("call %d: %v", i, err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("call %d took %v", i, d)
		}
	}
	got := make(chan error, 1)
	p.Go(addr, time.Second, get("k"), func(_ []byte, err error) { got <- err })
	if err := <-got; !errors.Is(err, base.ErrNetworkFailure) || !strings.Contains(err.Error(), addr) {
		t.Errorf("Go: %v", err)
	}
}

func TestCallFramings(t *testing.T) {
	var seen atomic.Int32
	h := HandlerFunc(func(r *Request) {
		seen.Or(1 << r.Framing)
		if want := (base.Gpid{AppID: 3, PartitionIndex: 5}); r.Gpid != want || r.PartitionHash != 99 ||
			r.TimeoutMS != 1234 || r.IsBackup != (r.Framing != THFT0) || r.ThreadHash != want.ThreadHash() {
			t.Errorf("%+v", r)
		}
		echo(r)
	})
	s := startServer(t, ServerOptions{}, h, nil, nil)
	p := testPool(t, PoolOptions{})
	for _, f := range []Framing{RDSN, THFT0, THFT1, THFT0} {
		var res Blob
		err := p.Call(context.Background(), s.addr, Outgoing{
			Code: codeGet, Gpid: base.Gpid{AppID: 3, PartitionIndex: 5}, PartitionHash: 99, TimeoutMS: 1234,
			IsBackup: true, Framing: f, Arg: Blob("key"),
		}, &res)
		if err != nil || string(res) != "key" {
			t.Errorf("%v: %q, %v", f, res, err)
		}
		err = p.Call(context.Background(), s.addr, Outgoing{
			Code: codeGet, Gpid: base.Gpid{AppID: 3, PartitionIndex: 5}, PartitionHash: 99, TimeoutMS: 1234,
			IsBackup: true, Framing: f, Body: AppendBody(nil, Blob("raw")),
		}, &res)
		if err != nil || string(res) != "raw" {
			t.Errorf("%v: %q, %v", f, res, err)
		}
	}
	if seen.Load() != 7 {
		t.Errorf("framings seen: %b", seen.Load())
	}
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("%d connections for one address and two kinds of framing", n)
	}
}

func TestCallErrors(t *testing.T) {
	mux := NewMux(nil)
	mux.HandleFunc(codeGet, func(r *Request) { r.ReplyError(base.ErrInvalidState) })
	mux.HandleFunc("RPC_CM_LIST_APPS", func(r *Request) {
		r.ReplyErrorWith(base.ErrForwardToOthers, base.RPCAddress(0x7F00000187290001))
	})
	mux.HandleFunc("RPC_CM_LIST_NODES", func(r *Request) { r.ReplyBody(base.ErrOK, []byte{12, 0, 0, 0, 0, 9}) })
	mux.HandleFunc(codePut, func(r *Request) { r.Drop() })
	s := startServer(t, ServerOptions{}, mux, nil, nil)
	p := testPool(t, PoolOptions{})
	for _, f := range []Framing{RDSN, THFT0} {
		call := func(ctx context.Context, code string) error {
			var res Blob
			return p.Call(ctx, s.addr, Outgoing{Code: code, Framing: f, Arg: Blob("x")}, &res)
		}
		var he *HeaderError
		err := call(context.Background(), codeGet)
		if !errors.As(err, &he) || base.CodeOf(err) != base.ErrInvalidState || he.Addr != s.addr || he.RPC != codeGet {
			t.Errorf("header error: %v", err)
		}
		err = call(context.Background(), "RPC_CM_LIST_APPS")
		if !errors.As(err, &he) || he.Code != base.ErrForwardToOthers || he.Leader.String() != "127.0.0.1:34601" {
			t.Errorf("forward: %v", err)
		}
		if err = call(context.Background(), "RPC_CM_LIST_NODES"); !errors.Is(err, base.ErrInvalidData) {
			t.Errorf("answer of wrong shape: %v", err)
		}
		if err = call(context.Background(), "RPC_WHAT"); !errors.Is(err, base.ErrHandlerNotFound) {
			t.Errorf("unknown: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		if err = call(ctx, codePut); !errors.Is(err, base.ErrTimeout) {
			t.Errorf("deadline: %v", err)
		}
		if err = call(ctx, codePut); !errors.Is(err, base.ErrTimeout) {
			t.Errorf("deadline passed before: %v", err)
		}
		cancel()
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		if err = call(ctx, codePut); !errors.Is(err, context.Canceled) || errors.Is(err, base.ErrTimeout) {
			t.Errorf("cancelled: %v", err)
		}
		got := make(chan error, 2)
		start := time.Now()
		p.Go(s.addr, 40*time.Millisecond, Outgoing{Code: codePut, Framing: f, Arg: Blob("x")}, func(_ []byte, err error) { got <- err })
		if err := <-got; !errors.Is(err, base.ErrTimeout) || time.Since(start) < 39*time.Millisecond {
			t.Errorf("Go with a deadline: %v after %v", err, time.Since(start))
		}
	}
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("errors and timeouts cost connections: %d", n)
	}
	for _, c := range p.all() {
		if len(c.open) != 0 {
			t.Errorf("%d calls still registered", len(c.open))
		}
	}
}

// TestDefaultTimeout has no deadline but the pool's own.
func TestDefaultTimeout(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc((*Request).Drop), nil, nil)
	p := testPool(t, PoolOptions{DefaultTimeout: 30 * time.Millisecond})
	if err := p.Call(context.Background(), s.addr, get("k"), nil); !errors.Is(err, base.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

// TestConcurrentCalls has many goroutines and callbacks share one connection.
func TestConcurrentCalls(t *testing.T) {
	h := HandlerFunc(func(r *Request) {
		if r.PartitionHash%3 == 0 {
			go echo(r)
		} else {
			echo(r)
		}
	})
	s := startServer(t, ServerOptions{}, h, nil, nil)
	p := testPool(t, PoolOptions{})
	const workers, each = 16, 300
	var wg sync.WaitGroup
	for w := 0; w < workers; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < each; i++ {
				key := fmt.Sprintf("%d/%d", w, i)
				out := get(key)
				out.PartitionHash = uint64(w + i)
				out.Framing = Framing(w % 3)
				if i%2 == 0 {
					var res Blob
					if err := p.Call(context.Background(), s.addr, out, &res); err != nil || string(res) != key {
						t.Errorf("%s: %q, %v", key, res, err)
						return
					}
					continue
				}
				wg.Add(1)
				p.Go(s.addr, patience, out, func(body []byte, err error) {
					defer wg.Done()
					if want := AppendBody(nil, Blob(key)); err != nil || !bytes.Equal(body, want) {
						t.Errorf("%s: %x, %v", key, body, err)
					}
				})
			}
		}()
	}
	wg.Wait()
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestOrder checks that requests of one partition arrive in the order they were sent.
func TestOrder(t *testing.T) {
	const n = 2000
	var bad atomic.Int32
	var last [4]uint64
	h := HandlerFunc(func(r *Request) {
		if prev := atomic.SwapUint64(&last[r.Gpid.PartitionIndex], r.PartitionHash); r.PartitionHash != prev+1 {
			bad.Add(1)
		}
		r.Reply(Blob("x"))
	})
	s := startServer(t, ServerOptions{}, h, nil, nil)
	p := testPool(t, PoolOptions{ConnsPerAddr: 2})
	var wg sync.WaitGroup
	for part := int32(0); part < 4; part++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := uint64(1); i <= n; i++ {
				wg.Add(1)
				out := get("k")
				out.Gpid, out.PartitionHash = base.Gpid{AppID: 1, PartitionIndex: part}, i
				p.Go(s.addr, patience, out, func(_ []byte, err error) {
					if err != nil {
						t.Errorf("%v", err)
					}
					wg.Done()
				})
			}
		}()
	}
	wg.Wait()
	if n := bad.Load(); n != 0 {
		t.Errorf("%d requests out of order", n)
	}
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestOneWay(t *testing.T) {
	var got atomic.Int64
	h := HandlerFunc(func(r *Request) {
		var v I64
		if err := r.DecodeArg(&v); err != nil {
			t.Error(err)
		}
		got.Add(int64(v))
		r.Drop()
	})
	s := startServer(t, ServerOptions{}, h, nil, nil)
	p := testPool(t, PoolOptions{})
	out := Outgoing{Code: "RPC_RRDB_RRDB_CLEAR_SCANNER", Arg: I64(1), ArgType: 10, OneWay: true}
	queued := make(chan error, 1)
	p.Go(s.addr, time.Second, out, func(b []byte, err error) { queued <- err })
	if err := <-queued; err != nil {
		t.Error(err)
	}
	p.Go(s.addr, time.Second, out, nil)
	out.Framing = THFT0
	if err := p.Call(context.Background(), s.addr, out, nil); err != nil {
		t.Error(err)
	}
	eventually(t, "all three", func() bool { return got.Load() == 3 })
}

// TestReconnect stops a server under a client and starts another on its port.
func TestReconnect(t *testing.T) {
	var pk parked
	s := startServer(t, ServerOptions{}, &pk, nil, nil)
	p := testPool(t, PoolOptions{BackoffMax: 30 * time.Millisecond})
	got := make(chan error, 10)
	for i := 0; i < 5; i++ {
		p.Go(s.addr, patience, get("k"), func(_ []byte, err error) { got <- err })
	}
	eventually(t, "the requests", func() bool { return pk.count() == 5 })
	s.stop()
	for i := 0; i < 5; i++ {
		if err := <-got; !errors.Is(err, base.ErrNetworkFailure) {
			t.Errorf("open call: %v", err)
		}
	}
	if err := p.Call(context.Background(), s.addr, get("k"), nil); !errors.Is(err, base.ErrNetworkFailure) {
		t.Errorf("call to a stopped server: %v", err)
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Skipf("port was taken meanwhile: %v", err)
	}
	again := startServerOn(t, l, ServerOptions{}, HandlerFunc(echo), nil, nil)
	eventually(t, "a connection to the new server", func() bool {
		return p.Call(context.Background(), again.addr, get("k"), nil) == nil
	})
}

// TestStalledPeer has a peer that goes silent: the connection is replaced.
func TestStalledPeer(t *testing.T) {
	var silent atomic.Bool
	h := HandlerFunc(func(r *Request) {
		if silent.Load() {
			r.Drop()
		} else {
			echo(r)
		}
	})
	s := startServer(t, ServerOptions{}, h, nil, nil)
	p := testPool(t, PoolOptions{StallTimeout: 100 * time.Millisecond, BackoffMax: 10 * time.Millisecond})
	alive(t, p, s.addr)
	silent.Store(true)
	eventually(t, "another connection", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := p.Call(ctx, s.addr, get("k"), nil); err == nil {
			t.Error("an answer of a silent peer")
		}
		return s.Stats().Accepted >= 2
	})
	silent.Store(false)
	eventually(t, "answers again", func() bool {
		return p.Call(context.Background(), s.addr, get("k"), nil) == nil
	})
}

// TestQueueLimit has a peer that doesn't read: calls fail at once when too much waits.
func TestQueueLimit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := testPool(t, PoolOptions{MaxQueuedBytes: 1 << 20})
	var busy atomic.Int32
	var wg sync.WaitGroup
	for i := 0; i < 100; i++ {
		wg.Add(1)
		p.Go(l.Addr().String(), time.Minute, Outgoing{Code: codePut, Arg: Blob(make([]byte, 1<<20))}, func(_ []byte, err error) {
			if errors.Is(err, base.ErrBusy) {
				busy.Add(1)
			}
			wg.Done()
		})
	}
	eventually(t, "refusals", func() bool { return busy.Load() > 50 })
	p.Close()
	wg.Wait() // each callback exactly once: a second would panic
	if err := p.Call(context.Background(), l.Addr().String(), get("k"), nil); !errors.Is(err, base.ErrNetworkFailure) {
		t.Errorf("call on a closed pool: %v", err)
	}
}

// TestBadAnswers has a server that answers nonsense.
func TestBadAnswers(t *testing.T) {
	rdsn := appendAnswerTo(t, RDSN)
	thft := appendAnswerTo(t, THFT0)
	for _, c := range []struct {
		name string
		f    Framing
		b    []byte
	}{
		{"random", RDSN, bytes.Repeat([]byte{0xa5, 7}, 200)},
		{"2 GB", RDSN, edit(rdsn, 16, 0xff, 0xff, 0xff, 0x7f)},
		{"a request", RDSN, edit(rdsn, 104, 0x41)},
		{"wrong checksum", RDSN, edit(rdsn, 12, 1)},
		{"closed in the middle", RDSN, rdsn[:100]},
		{"random", THFT0, bytes.Repeat([]byte{0xa5, 7}, 200)},
		{"2 GB", THFT0, edit(thft, 0, 0x7f, 0xff, 0xff, 0xff)},
		{"length 0", THFT0, edit(thft, 0, 0, 0, 0, 0)},
		{"error name too long", THFT0, edit(thft, 4, 0x7f)},
		{"a call", THFT0, edit(thft, 4+4+6+3, 1)},
		{"closed in the middle", THFT1, thft[:20]},
	} {
		t.Run(fmt.Sprint(c.f, " ", c.name), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				defer nc.Close()
				io.ReadFull(nc, make([]byte, 50))
				nc.Write(c.b)
			}()
			p := testPool(t, PoolOptions{})
			out := get("k")
			out.Framing = c.f
			if err := p.Call(context.Background(), l.Addr().String(), out, nil); !errors.Is(err, base.ErrNetworkFailure) {
				t.Errorf("%v", err)
			}
		})
	}
}

// appendAnswerTo returns an answer to request 1.
func appendAnswerTo(t testing.TB, f Framing) []byte {
	r := newRequest()
	var err error
	if req := frame(f, 1, codeGet, Blob("k")); f == RDSN {
		err = parseRDSNRequest(r, req)
	} else {
		err = parseTHFTRequest(r, req)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, problem := appendAnswer(nil, r, &answer{code: base.ErrOK, typ: 12, val: Blob("v")}, 0, 1<<20)
	if problem != nil {
		t.Fatal(problem)
	}
	return b
}

// TestAnswerWithoutErrorName is what a careless peer sends.
func TestAnswerWithoutErrorName(t *testing.T) {
	b := appendAnswerTo(t, RDSN)
	clear(b[rdsnOffError : rdsnOffError+rdsnNameLen])
	if r, err := parseRDSNResponse(b); err != nil || r.code != base.ErrUnknown {
		t.Errorf("%+v, %v", r, err)
	}
	b = appendAnswerTo(t, RDSN)
	binary.LittleEndian.PutUint64(b[rdsnOffID:], 1<<40)
	if r, err := parseRDSNResponse(b); err != nil || r.id != 1<<40 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestPanickingArgument checks that a bug of one caller leaves the connection usable.
func TestPanickingArgument(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, nil)
	p := testPool(t, PoolOptions{})
	alive(t, p, s.addr)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		p.Call(context.Background(), s.addr, Outgoing{Code: codeGet, Arg: panicking{}}, nil)
	}()
	alive(t, p, s.addr)
}
