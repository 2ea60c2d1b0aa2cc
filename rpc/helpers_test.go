package rpc

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"pegasus/base"
	"pegasus/base/tbin"
)

const patience = time.Minute

// hx builds bytes from hex digits, with "quoted" text taken as it is and NxM for M zero bytes.
func hx(s string) []byte {
	var out []byte
	for len(s) > 0 {
		switch {
		case strings.ContainsRune(" \n\t|", rune(s[0])):
			s = s[1:]
		case s[0] == '"':
			end := strings.IndexByte(s[1:], '"')
			out = append(out, s[1:1+end]...)
			s = s[end+2:]
		case s[0] == 'z':
			var n int
			fmt.Sscanf(s[1:], "%d", &n)
			out = append(out, make([]byte, n)...)
			s = s[1+len(fmt.Sprint(n)):]
		default:
			b, err := hex.DecodeString(s[:2])
			if err != nil {
				panic(err)
			}
			out = append(out, b[0])
			s = s[2:]
		}
	}
	return out
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		tick := time.NewTimer(time.Millisecond)
		<-tick.C
	}
}

type testServer struct {
	*Server
	t     *testing.T
	addr  string
	logs  *logtest.Hook
	ended chan error
}

// startServer serves h on a port of its own; tune may change limits.
func startServer(t *testing.T, cfg ServerOptions, h Handler, httpH http.Handler, tune func(*Server)) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startServerOn(t, l, cfg, h, httpH, tune)
}

func startServerOn(t *testing.T, l net.Listener, cfg ServerOptions, h Handler, httpH http.Handler, tune func(*Server)) *testServer {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	s := &testServer{
		Server: NewServer(cfg, h, httpH, logrus.NewEntry(log)),
		t:      t, addr: l.Addr().String(), logs: hook, ended: make(chan error, 1),
	}
	if tune != nil {
		tune(s.Server)
	}
	go func() { s.ended <- s.Serve(l) }()
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	s.Shutdown(ctx)
}

func (s *testServer) logged(text string) int {
	n := 0
	for _, e := range s.logs.AllEntries() {
		if strings.Contains(e.Message, text) {
			n++
		}
	}
	return n
}

// rawConn is a connection on which a test says every byte.
type rawConn struct {
	net.Conn
	t *testing.T
}

func (s *testServer) dial() *rawConn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &rawConn{c, s.t}
}

func (c *rawConn) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// recv reads one answer of the framing.
func (c *rawConn) recv(f Framing) response {
	c.t.Helper()
	r, err := recvFrom(c, f)
	if err != nil {
		c.t.Fatalf("receiving: %v", err)
	}
	return r
}

func recvFrom(c io.Reader, f Framing) (response, error) {
	if f == RDSN {
		h := make([]byte, rdsnHeader)
		if _, err := io.ReadFull(c, h); err != nil {
			return response{}, err
		}
		n, err := rdsnFrameLen(h)
		if err != nil {
			return response{}, err
		}
		h = append(h, make([]byte, n-rdsnHeader)...)
		if _, err := io.ReadFull(c, h[rdsnHeader:]); err != nil {
			return response{}, err
		}
		return parseRDSNResponse(h)
	}
	h := make([]byte, 4)
	if _, err := io.ReadFull(c, h); err != nil {
		return response{}, err
	}
	n := binary.BigEndian.Uint32(h)
	h = append(h, make([]byte, n-4)...)
	if _, err := io.ReadFull(c, h[4:]); err != nil {
		return response{}, err
	}
	return parseTHFTResponse(h)
}

// expectClosed checks that the server closes the connection without a byte.
func (c *rawConn) expectClosed() {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if len(b) > 0 {
		c.t.Fatalf("got %d bytes, %x..., instead of the end", len(b), b[:min(len(b), 32)])
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		c.t.Fatal("the connection wasn't closed")
	}
}

// frame returns a request frame.
func frame(f Framing, id uint64, code string, arg tbin.Encoder) []byte {
	o := &Outgoing{Code: code, Framing: f, Arg: arg}
	if f == RDSN {
		return appendRDSNRequest(nil, id, o)
	}
	return appendTHFTRequest(nil, id, o)
}

const (
	codeGet = "RPC_RRDB_RRDB_GET"
	codePut = "RPC_RRDB_RRDB_PUT"
)

// echo answers each request with its argument, a blob.
func echo(r *Request) {
	var b Blob
	if err := r.DecodeArg(&b); err != nil {
		r.ReplyError(base.CodeOf(err))
		return
	}
	r.Reply(b)
}

// parked keeps requests until a test answers them.
type parked struct {
	mu   sync.Mutex
	reqs []*Request
}

func (p *parked) ServeRPC(r *Request) {
	p.mu.Lock()
	p.reqs = append(p.reqs, r)
	p.mu.Unlock()
}

func (p *parked) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.reqs)
}

func (p *parked) take() []*Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	rs := p.reqs
	p.reqs = nil
	return rs
}

func testPool(t testing.TB, opts PoolOptions) *Pool {
	p := NewPool(opts)
	t.Cleanup(p.Close)
	return p
}

// alive checks that p still gets answers from addr.
func alive(t *testing.T, p *Pool, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var res Blob
	err := p.Call(ctx, addr, Outgoing{Code: codeGet, Arg: Blob("ping")}, &res)
	if err != nil || string(res) != "ping" {
		t.Fatalf("an untouched connection got %q, %v", res, err)
	}
}
