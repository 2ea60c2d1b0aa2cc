package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
)

func readFull(t *testing.T, r io.Reader, b []byte) {
	t.Helper()
	if n, err := io.ReadFull(r, b); err != nil {
		t.Fatalf("after %d of %d bytes: %v", n, len(b), err)
	}
}

func edit(f []byte, at int, b ...byte) []byte {
	f = append([]byte(nil), f...)
	copy(f[at:], b)
	return f
}

// TestBadInput sends what no client sends: the connection ends without an answer and with
// one line in the log, and nobody else notices.
func TestBadInput(t *testing.T) {
	v0, v1, rdsn := frame(THFT0, 1, codeGet, Blob("k")), frame(THFT1, 1, codeGet, Blob("k")), frame(RDSN, 1, codeGet, Blob("k"))
	random := make([]byte, 4096)
	src := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(src.Uint32())
	}
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"random bytes", random},
		{"random bytes behind THFT", append([]byte("THFT"), random...)},
		{"a TLS hello", hx(`16 03 01 02 00 01 00 01 fc 03 03`)},
		{"HTTP without a handler", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"header version 2", edit(v0, 7, 2)},
		{"header length 47", edit(v0, 11, 47)},
		{"2 GB in v0", edit(v0, 16, 0x7f, 0xff, 0xff, 0xff)},
		{"4 GB of meta and 4 GB of body in v1", edit(v1, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)},
		{"2 GB in RDSN", edit(rdsn, 16, 0xff, 0xff, 0xff, 0x7f)},
		{"message type reply", edit(v0, 51, 2)},
		{"message type exception", edit(v1, 16+37+3, 3)},
		{"thrift version 2", edit(v0, 49, 2)},
		{"name longer than the body", edit(v0, 52, 0x7f)},
		{"meta that isn't Thrift", edit(v1, 16, 0x63)},
		{"wrong header checksum", edit(rdsn, 12, 1)},
		{"wrong body checksum", edit(rdsn, 20, 1)},
		{"an answer", edit(rdsn, 104, 0x40)},
		{"THFT behind RDSN", append(edit(rdsn, 104, 0x40), v0...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, ServerOptions{MaxFrameBytes: 1 << 20}, HandlerFunc(echo), nil, nil)
			p := testPool(t, PoolOptions{})
			alive(t, p, s.addr)
			conn := s.dial()
			conn.send(c.in)
			conn.expectClosed()
			eventually(t, "a log line", func() bool {
				return s.logged("closing connection from "+conn.LocalAddr().String()) == 1
			})
			eventually(t, "the end of the connection", func() bool { return s.Stats().Connections == 1 })
			alive(t, p, s.addr)
			st := s.Stats()
			if st.BadFrames != 1 || st.Accepted != 2 || st.InFlightBytes != 0 || st.Panics != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestTruncated leaves a frame unfinished: the rest of the connection is what is lost.
func TestTruncated(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, nil)
	for _, f := range []Framing{THFT0, THFT1, RDSN} {
		whole := frame(f, 1, codeGet, Blob("key"))
		for _, n := range []int{1, 3, 4, 15, 16, 47, 60, len(whole) - 1} {
			c := s.dial()
			c.send(whole)
			c.recv(f)
			c.send(whole[:n])
			c.Conn.(*net.TCPConn).CloseWrite()
			c.expectClosed()
		}
	}
	eventually(t, "the end of all connections", func() bool { return s.Stats().Connections == 0 })
	if n := s.Stats().InFlightBytes; n != 0 {
		t.Errorf("%d bytes in flight", n)
	}
}

// TestLimitedLog has rubbish come in faster than it may be told of.
func TestLimitedLog(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, nil)
	for i := 0; i < 60; i++ {
		c := s.dial()
		c.send([]byte("rubbish"))
		c.expectClosed()
	}
	eventually(t, "60 bad frames", func() bool { return s.Stats().BadFrames == 60 })
	if n := s.logged("unknown protocol"); n == 0 || n > 30 {
		t.Errorf("%d log lines for 60 connections", n)
	}
}

func TestErrorAnswers(t *testing.T) {
	mux := NewMux(nil)
	mux.HandleFunc(codeGet, echo)
	mux.HandleFunc(codePut, func(r *Request) { r.ReplyError(base.ErrDiskIoError) })
	mux.HandleFunc("RPC_CM_LIST_APPS", func(r *Request) { r.Reply(nil) })
	mux.HandleFunc("RPC_CM_DROP_APP", func(r *Request) { r.ReplyErrorWith(base.ErrForwardToOthers, base.RPCAddress(0x7F00000187290001)) })
	mux.HandleFunc("RPC_CM_CREATE_APP", func(r *Request) { r.Reply(panicking{}) })
	mux.HandleFunc("RPC_CM_RECALL_APP", func(r *Request) { r.Reply(Blob(make([]byte, 2<<20))) })
	mux.HandleFunc("RPC_CM_LIST_NODES", func(r *Request) { panic("oops") })
	mux.HandleFunc(base.RPCControlMeta, func(r *Request) { r.Go(func() { panic("oops on another goroutine") }) })
	mux.HandleFunc(base.RPCRenameApp, func(r *Request) {
		go func() { r.Guard(func() { panic("oops later") }) }()
	})
	mux.HandleFunc("RPC_CLI_CLI_CALL", func(r *Request) { r.ReplyString("out") })
	mux.HandleFunc("RPC_CM_CLUSTER_INFO", func(r *Request) { r.ReplyBody("", nil) })
	s := startServer(t, ServerOptions{MaxFrameBytes: 1 << 20}, mux, nil, nil)
	hint := AppendBody(nil, base.RPCAddress(0x7F00000187290001))
	for _, f := range []Framing{THFT0, THFT1, RDSN} {
		c := s.dial()
		diskError := base.ErrDiskIoError
		if f != RDSN {
			diskError = base.ErrDiskInsufficient
		}
		for i, x := range []struct {
			code string
			arg  tbin.Encoder
			want base.ErrorCode
			body []byte
		}{
			{"RPC_UNKNOWN", Blob("x"), base.ErrHandlerNotFound, nil},
			{"RPC_PREPARE", Blob("x"), base.ErrHandlerNotFound, nil},
			{codeGet, rawValue(hx("00 00 00 09 61")), base.ErrInvalidData, nil},
			{codePut, Blob("x"), diskError, nil},
			{"RPC_CM_LIST_APPS", Blob("x"), base.ErrUnknown, nil},
			{"RPC_CM_CLUSTER_INFO", Blob("x"), base.ErrUnknown, nil},
			{"RPC_CM_DROP_APP", Blob("x"), base.ErrForwardToOthers, hint},
			{"RPC_CM_CREATE_APP", Blob("x"), base.ErrUnknown, nil},
			{"RPC_CM_RECALL_APP", Blob("x"), base.ErrCapacityExceeded, nil},
			{"RPC_CM_LIST_NODES", Blob("x"), base.ErrUnknown, nil},
			{base.RPCControlMeta, Blob("x"), base.ErrUnknown, nil},
			{base.RPCRenameApp, Blob("x"), base.ErrUnknown, nil},
			{"RPC_CLI_CLI_CALL", Blob("x"), base.ErrOK, hx(`0b 00 00 00 00 00 03 "out" 00`)},
			{codeGet, Blob("x"), base.ErrOK, AppendBody(nil, Blob("x"))},
		} {
			c.send(frame(f, uint64(i+1), x.code, x.arg))
			r := c.recv(f)
			if r.code != x.want || !bytes.Equal(r.body, x.body) || r.id != uint64(i+1) {
				t.Errorf("%v, %s: got %+v, want %s %x", f, x.code, r, x.want, x.body)
			}
		}
	}
	if n := s.Stats().Panics; n != 9 {
		t.Errorf("%d panics counted", n)
	}
	if s.logged("oops") == 0 || s.logged("TestErrorAnswers") == 0 {
		t.Error("no stack of the handler's panic in the log")
	}
}

type panicking struct{}

func (panicking) AppendThrift(b []byte) []byte { panic("encoder") }

// TestAnyOrder answers pipelined requests last first, from other goroutines.
func TestAnyOrder(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{}, &p, nil, nil)
	for _, f := range []Framing{THFT0, THFT1, RDSN} {
		const n = 300
		c := s.dial()
		var all []byte
		for i := 1; i <= n; i++ {
			all = append(all, frame(f, uint64(i), codeGet, Blob(fmt.Sprint("key", i)))...)
		}
		for len(all) > 0 { // in pieces that don't care for frames
			k := min(len(all), 997)
			c.send(all[:k])
			all = all[k:]
		}
		eventually(t, "all requests", func() bool { return p.count() == n })
		reqs := p.take()
		var wg sync.WaitGroup
		for w := 0; w < 4; w++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := n - 1 - w; i >= 0; i -= 4 {
					echo(reqs[i])
				}
			}()
		}
		wg.Wait()
		seen := map[uint64]bool{}
		for i := 0; i < n; i++ {
			r := c.recv(f)
			if want := AppendBody(nil, Blob(fmt.Sprint("key", r.id))); !bytes.Equal(r.body, want) || seen[r.id] {
				t.Fatalf("%v: answer %d is %x", f, r.id, r.body)
			}
			seen[r.id] = true
		}
	}
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

// TestLateAnswers answers after the connection is gone, and twice.
func TestLateAnswers(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{}, &p, nil, nil)
	c := s.dial()
	for i := 1; i <= 3; i++ {
		c.send(frame(RDSN, uint64(i), codeGet, Blob("k")))
	}
	eventually(t, "requests", func() bool { return p.count() == 3 })
	if s.Stats().InFlightBytes == 0 {
		t.Error("unanswered requests aren't counted")
	}
	c.Close()
	eventually(t, "the end of the connection", func() bool { return s.Stats().Connections == 0 })
	reqs := p.take()
	reqs[0].Reply(Blob("x"))
	reqs[1].ReplyError(base.ErrBusy)
	reqs[2].Drop()
	if n := s.Stats().InFlightBytes; n != 0 {
		t.Errorf("%d bytes still in flight", n)
	}
	r := newRequest()
	if !r.claim() || r.claim() {
		t.Error("a second answer isn't seen")
	}
}

func TestLargeFrames(t *testing.T) {
	s := startServer(t, ServerOptions{MaxInFlightBytes: 3 << 20}, HandlerFunc(echo), nil, nil)
	p := testPool(t, PoolOptions{})
	var wg sync.WaitGroup
	for _, size := range []int{60 << 10, 64 << 10, 65 << 10, 200 << 10, 1 << 20, 3 << 20, 9 << 20, 20 << 20} {
		wg.Add(1)
		go func() { // all at once: together far more than may be in flight
			defer wg.Done()
			arg := make(Blob, size)
			for i := range arg {
				arg[i] = byte(i * size)
			}
			for _, f := range []Framing{RDSN, THFT1} {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				var res Blob
				err := p.Call(ctx, s.addr, Outgoing{Code: codePut, Arg: arg, Framing: f}, &res)
				cancel()
				if err != nil || !bytes.Equal(res, arg) {
					t.Errorf("%d bytes over %v came back as %d: %v", size, f, len(res), err)
				}
			}
		}()
	}
	wg.Wait()
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

// TestClaimedLength announces much and sends little: memory follows what arrives.
func TestClaimedLength(t *testing.T) {
	s := startServer(t, ServerOptions{MaxFrameBytes: 1 << 30}, HandlerFunc(echo), nil, nil)
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	const n = 20
	for i := 0; i < n; i++ {
		c := s.dial()
		f := edit(frame(THFT0, 1, codePut, Blob("x")), 16, 0x3f, 0, 0, 0)
		c.send(append(f, make([]byte, 100<<10)...))
	}
	eventually(t, "all of it to be read", func() bool { return s.Stats().InFlightBytes >= n*100<<10 })
	runtime.ReadMemStats(&m1)
	if d := m1.TotalAlloc - m0.TotalAlloc; d > n*(2<<20) {
		t.Errorf("%d bytes allocated for %d frames of which 100 KiB came", d, n)
	}
}

// TestMemoryInFlight holds more than may be in flight: readers wait, and go on afterwards.
func TestMemoryInFlight(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{MaxInFlightBytes: 1 << 20}, &p, nil, nil)
	const conns, each, size = 8, 8, 50 << 10
	for i := 0; i < conns; i++ {
		c := s.dial()
		go func() {
			for j := 1; j <= each; j++ {
				if _, err := c.Write(frame(RDSN, uint64(j), codePut, Blob(make([]byte, size)))); err != nil {
					return
				}
			}
		}()
		go io.Copy(io.Discard, c)
	}
	most, total := 0, 0
	for total < conns*each {
		eventually(t, "more requests", func() bool { return p.count() > 0 })
		// As long as nothing is answered, what is read is bounded.
		still := time.Now().Add(30 * time.Millisecond)
		eventually(t, "quiet", func() bool { return time.Now().After(still) })
		reqs := p.take()
		most = max(most, len(reqs))
		total += len(reqs)
		for _, r := range reqs {
			r.Reply(Blob("ok"))
		}
	}
	if limit := (1 << 20 / size) + 2*conns; most > limit {
		t.Errorf("%d requests of %d bytes were in flight at once", most, size)
	}
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

func TestConnectionLimits(t *testing.T) {
	for _, cfg := range []ServerOptions{{MaxConnections: 3}, {MaxConnectionsPerIP: 3}} {
		s := startServer(t, cfg, HandlerFunc(echo), nil, nil)
		var open []*rawConn
		for i := 0; i < 3; i++ {
			c := s.dial()
			c.send(frame(RDSN, 1, codeGet, Blob("k")))
			c.recv(RDSN)
			open = append(open, c)
		}
		s.dial().expectClosed()
		eventually(t, "it to be counted", func() bool { return s.Stats().Refused == 1 })
		open[0].Close()
		eventually(t, "room for another", func() bool { return s.Stats().Connections == 2 })
		c := s.dial()
		c.send(frame(RDSN, 1, codeGet, Blob("k")))
		c.recv(RDSN)
	}
}

func TestIdleTimeout(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{IdleTimeout: 100 * time.Millisecond}, &p, nil, nil)
	busy, idle := s.dial(), s.dial()
	busy.send(frame(RDSN, 1, codeGet, Blob("k")))
	idle.expectClosed()
	// A connection that waits for an answer isn't idle.
	still := time.Now().Add(300 * time.Millisecond)
	eventually(t, "some time", func() bool { return time.Now().After(still) })
	p.take()[0].Reply(Blob("late"))
	if r := busy.recv(RDSN); r.code != base.ErrOK {
		t.Errorf("%+v", r)
	}
	busy.expectClosed()
}

func TestSlowSender(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, func(s *Server) { s.partTimeout = 100 * time.Millisecond })
	silent, slow := s.dial(), s.dial()
	f := frame(THFT1, 1, codeGet, Blob("key"))
	slow.send(f)
	slow.recv(THFT1)
	slow.send(f[:20])
	slow.expectClosed()
	eventually(t, "a log line", func() bool { return s.logged("too slowly") == 1 })
	silent.send(f) // it had sent nothing, so no frame of it was late
	silent.recv(THFT1)
}

// TestSlowReader doesn't read its answers: it isn't read in turn, and dropped in the end.
func TestSlowReader(t *testing.T) {
	var served sync.Map
	answer := Blob(make([]byte, 100<<10))
	async := HandlerFunc(func(r *Request) {
		served.Store(r.PartitionHash, true)
		go r.Reply(answer)
	})
	s := startServer(t, ServerOptions{}, async, nil, func(s *Server) {
		s.maxUnsent, s.writeTimeout = 200<<10, 200*time.Millisecond
	})
	c := s.dial()
	const n = 2000
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := 0; i < n; i++ {
			f := appendRDSNRequest(nil, 1, &Outgoing{Code: codeGet, Arg: Blob(make([]byte, 20<<10)), PartitionHash: uint64(i)})
			if _, err := c.Write(f); err != nil {
				return
			}
		}
	}()
	eventually(t, "the end of the connection", func() bool { return s.Stats().Accepted == 1 && s.Stats().Connections == 0 })
	count := 0
	served.Range(func(any, any) bool { count++; return true })
	if count == n {
		t.Error("all requests were read though no answer was")
	}
	eventually(t, "a log line", func() bool { return s.logged("doesn't read its answers") == 1 })
	c.Close()
	wg.Wait()
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

// TestTooManyOpen has a peer that never waits for answers: it is read only so far.
func TestTooManyOpen(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{}, &p, nil, func(s *Server) { s.maxOpen = 10 })
	c := s.dial()
	const n = 3000
	go func() {
		for i := 1; i <= n; i++ {
			c.Write(frame(RDSN, uint64(i), codeGet, Blob(make([]byte, 1000))))
		}
	}()
	got := make(chan int)
	go func() {
		k := 0
		for ; k < n; k++ {
			if _, err := recvFrom(c, RDSN); err != nil {
				break
			}
		}
		got <- k
	}()
	answered := 0
	for answered < n {
		eventually(t, "requests", func() bool { return p.count() > 0 })
		reqs := p.take()
		if len(reqs) > 10+2*maxSmall/1000 {
			t.Fatalf("%d requests open at once", len(reqs))
		}
		answered += len(reqs)
		for _, r := range reqs {
			r.Reply(Blob("x"))
		}
	}
	if k := <-got; k != n {
		t.Errorf("%d answers of %d", k, n)
	}
}

func TestShutdown(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{}, &p, http.NotFoundHandler(), nil)
	busy, idle := s.dial(), s.dial()
	busy.send(frame(THFT0, 5, codeGet, Blob("k")))
	idle.send(frame(THFT0, 5, codeGet, Blob("k")))
	eventually(t, "the requests", func() bool { return p.count() == 2 })
	reqs := p.take()
	reqs[0].Reply(Blob("x"))
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	if err := <-s.ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("a stopped server still accepts")
	}
	select {
	case err := <-ended:
		t.Fatalf("Shutdown returned with a request open: %v", err)
	default:
	}
	reqs[1].Reply(Blob("y"))
	if err := <-ended; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, c := range []*rawConn{busy, idle} {
		if r := c.recv(THFT0); r.code != base.ErrOK || r.id != 5 {
			t.Errorf("%+v", r)
		}
		c.expectClosed()
	}
	if err := s.Serve(nopListener{}); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

type nopListener struct{}

func (nopListener) Accept() (net.Conn, error) { return nil, io.EOF }
func (nopListener) Close() error              { return nil }
func (nopListener) Addr() net.Addr            { return &net.TCPAddr{} }

func TestShutdownCutsOff(t *testing.T) {
	var p parked
	s := startServer(t, ServerOptions{}, &p, nil, nil)
	c := s.dial()
	c.send(frame(THFT0, 5, codeGet, Blob("k")))
	eventually(t, "the request", func() bool { return p.count() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	c.expectClosed()
	p.take()[0].Reply(Blob("x"))
	eventually(t, "all memory given back", func() bool { return s.Stats().InFlightBytes == 0 })
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "v1") })
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "f", time.Time{}, strings.NewReader(strings.Repeat("f", 1<<20)))
	})
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), mux, nil)
	p := testPool(t, PoolOptions{})
	tr := &http.Transport{MaxConnsPerHost: 1}
	defer tr.CloseIdleConnections()
	cl := &http.Client{Transport: tr, Timeout: patience}
	get := func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i := 0; i < 3; i++ {
		if b := get(cl.Get("http://" + s.addr + "/version")); b != "v1" {
			t.Errorf("got %q", b)
		}
		long := strings.Repeat("x", 100<<10)
		if b := get(cl.Post("http://"+s.addr+"/echo", "text/plain", strings.NewReader(long))); b != long {
			t.Errorf("got %d bytes", len(b))
		}
		if b := get(cl.Get("http://" + s.addr + "/file")); len(b) != 1<<20 {
			t.Errorf("got %d bytes", len(b))
		}
		alive(t, p, s.addr)
	}
	if st := s.Stats(); st.Accepted != 2 || st.Connections != 2 {
		t.Errorf("HTTP didn't keep its connection: %+v", st)
	}
	tr.CloseIdleConnections()
	eventually(t, "the end of HTTP's connection", func() bool { return s.Stats().Connections == 1 })
	c := s.dial()
	c.send([]byte("GET nonsense\r\n\r\n"))
	if b, _ := io.ReadAll(c); !bytes.Contains(b, []byte("400 Bad Request")) {
		t.Errorf("got %q", b)
	}
	alive(t, p, s.addr)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.Close()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestIdleMemory measures what an idle connection costs, both ends in this process.
func TestIdleMemory(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, nil)
	const n = 400
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := measure()
	conns := make([]*rawConn, n)
	big := frame(RDSN, 1, codeGet, Blob(make([]byte, 300<<10)))
	for i := range conns {
		conns[i] = s.dial()
		conns[i].send(frame(RDSN, 1, codeGet, Blob("k")))
		conns[i].recv(RDSN)
		if i%10 == 0 { // some had much to say before
			conns[i].send(big)
			conns[i].recv(RDSN)
		}
	}
	after := measure()
	if each := (int64(after) - int64(before)) / n; each > 16<<10 {
		t.Errorf("an idle connection costs %d bytes", each)
	} else {
		t.Logf("an idle connection costs %d bytes, client's end included", each)
	}
	if g := runtime.NumGoroutine(); g > n+50 {
		t.Errorf("%d goroutines for %d connections", g, n)
	}
	runtime.KeepAlive(conns)
}

func TestRemoteAndLocalAddress(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(func(r *Request) { r.Reply(Blob(r.Remote.String())) }), nil,
		func(s *Server) { s.Advertise(0x0a00000187f10001) })
	c := s.dial()
	c.send(frame(RDSN, 1, codeGet, Blob("k")))
	h := make([]byte, rdsnHeader)
	readFull(t, c, h)
	if a := base.RPCAddress(binary.LittleEndian.Uint64(h[rdsnOffFrom:])); a.String() != "10.0.0.1:34801" {
		t.Errorf("from address %v", a)
	}
	body := make([]byte, binary.LittleEndian.Uint32(h[rdsnOffBodyLen:]))
	readFull(t, c, body)
	if want := AppendBody(nil, Blob(c.LocalAddr().String())); !bytes.Equal(body, want) {
		t.Errorf("remote %q", body)
	}
}

// What a request says of its sender, and that it is traced, reaches the handler; what isn't printable is left
// out.
func TestAsker(t *testing.T) {
	type heard struct {
		asker string
		trace uint64
	}
	got := make(chan heard, 1)
	s := startServer(t, ServerOptions{}, HandlerFunc(func(r *Request) {
		got <- heard{r.Asker(), r.Trace}
		echo(r)
	}), nil, nil)
	p := testPool(t, PoolOptions{})
	for _, c := range []struct {
		out   Outgoing
		who   string
		trace uint64
	}{
		{Outgoing{Who: "pegasus, alice@host", Trace: 1 << 60}, " (pegasus, alice@host)", 1 << 60},
		{Outgoing{}, "", 0},
		{Outgoing{Who: strings.Repeat("x", 100)}, " (" + strings.Repeat("x", rdsnNameLen-1) + ")", 0},
		{Outgoing{Who: "a\nb"}, "", 0},
		{Outgoing{Framing: THFT1, Who: "x", Trace: 1}, "", 0},
	} {
		c.out.Code, c.out.Arg = codeGet, Blob("k")
		if err := p.Call(t.Context(), s.addr, c.out, nil); err != nil {
			t.Fatal(err)
		}
		h := <-got
		if addr, who, _ := strings.Cut(h.asker, " "); !strings.HasPrefix(addr, "127.0.0.1:") || strings.TrimPrefix(c.who, " ") != who || h.trace != c.trace {
			t.Errorf("%+v came as %+v", c.out, h)
		}
	}
}
