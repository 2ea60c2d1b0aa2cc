package rpc

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
)

// memConn is a connection that gives bytes in pieces and keeps what is written.
type memConn struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (c *memConn) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.in[:min(c.piece, len(c.in))])
	c.in = c.in[n:]
	return n, nil
}

func (c *memConn) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *memConn) Close() error                     { return nil }
func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (c *memConn) SetDeadline(time.Time) error      { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// anyValue decodes whatever Thrift says is there.
type anyValue struct{}

func (anyValue) ReadThrift(r *tbin.Reader) { r.Skip(tbin.Struct) }

// FuzzServerConn feeds a server connection. It must not panic, hang or keep memory, and
// everything it answers must be understood by the client's parser.
func FuzzServerConn(f *testing.F) {
	for _, s := range [][]byte{
		exampleA, exampleC, exampleE, frame(RDSN, 1, codePut, Blob("v")), frame(THFT0, 9, "RPC_X", Blob("v")),
		append(append([]byte(nil), exampleA...), exampleC...), edit(exampleA, 16, 0x7f), edit(exampleE, 12, 1),
		bytes.Repeat(exampleE, 30), frame(THFT1, 1, codeGet, Blob(make([]byte, 70<<10))), []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		f.Add(byte(7), s)
		f.Add(byte(255), s)
	}
	f.Fuzz(func(t *testing.T, piece byte, in []byte) {
		var kept []*Request
		mux := NewMux(nil)
		mux.HandleFunc(codeGet, echo)
		mux.HandleFunc(codePut, func(r *Request) { kept = append(kept, r) })
		mux.HandleFunc("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", func(r *Request) {
			if err := r.DecodeArg(anyValue{}); err != nil {
				r.ReplyError(base.CodeOf(err))
				return
			}
			r.ReplyBody(base.ErrOK, r.Body)
		})
		// No limit that would have the reader wait: nothing is answered before it ends.
		s := NewServer(ServerOptions{MaxFrameBytes: 1 << 20, MaxInFlightBytes: 1 << 40}, mux, nil, nil)
		s.maxOpen = 1 << 40
		nc := &memConn{in: in, piece: int(piece) + 1}
		c := &serverConn{}
		c.init(s, nc, nc.RemoteAddr().(*net.TCPAddr).AddrPort())
		if !c.serve() {
			t.Fatal("handed over to an HTTP server that isn't there")
		}
		for _, r := range kept {
			r.Reply(Blob("late"))
		}
		if n := s.inFlight(); n != 0 {
			t.Errorf("%d bytes kept", n)
		}
		framing := THFT0
		if bytes.HasPrefix(in, magicRDSN) {
			framing = RDSN
		}
		answers, out := int64(0), bytes.NewReader(nc.out.Bytes())
		for out.Len() > 0 {
			r, err := recvFrom(out, framing)
			if err != nil {
				t.Fatalf("answer that a client can't parse: %v", err)
			}
			if r.code == base.ErrOK && len(r.body) == 0 {
				t.Error("ERR_OK without a body")
			}
			answers++
		}
		if n := s.requests.Load(); answers > n {
			t.Errorf("%d answers to %d requests", answers, n)
		}
		if s.panics.Load() != 0 {
			t.Error("panic")
		}
	})
}

// FuzzClientConn feeds a client connection with answers. Each call must end exactly once.
func FuzzClientConn(f *testing.F) {
	rdsn, thft := appendAnswerTo(f, RDSN), appendAnswerTo(f, THFT0)
	for _, s := range [][]byte{rdsn, edit(rdsn, 24, 2), rdsn[:150], append(append([]byte(nil), rdsn...), rdsn...)} {
		f.Add(false, byte(200), s)
	}
	for _, s := range [][]byte{thft, exampleB, exampleD, exampleF, thft[:30], append(append([]byte(nil), thft...), exampleF...)} {
		f.Add(true, byte(3), s)
	}
	p := NewPool(PoolOptions{MaxFrameBytes: 1 << 20})
	f.Fuzz(func(t *testing.T, thrift bool, piece byte, in []byte) {
		nc := &memConn{in: in, piece: int(piece) + 1}
		c := newClientConn(&peer{pool: p, key: peerKey{"fuzz", thrift}})
		c.s.nc = nc
		c.r.init(nc, p.acct, c.ended.Load)
		ended := [3]int{}
		for i := range ended {
			cl := newCall()
			cl.done = func(body []byte, err error) {
				ended[i]++
				if err == nil {
					var b Blob
					_ = DecodeBody(body, &b)
				}
			}
			o := &Outgoing{Code: codeGet, Arg: Blob("k")}
			if thrift {
				o.Framing = THFT0
			}
			if err := c.send(o, cl, 1, 1<<40); err != nil {
				t.Fatal(err)
			}
		}
		err := c.readLoop()
		if err == nil {
			t.Error("the loop ended without an error")
		}
		c.r.close()
		c.end(err)
		if ended != [3]int{1, 1, 1} {
			t.Errorf("calls ended %v times", ended)
		}
	})
}
