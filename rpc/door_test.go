package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"pegasus/acl"
	"pegasus/base"
)

// doors lets those in who begin with "OPEN!", as servers of the cluster, and covers what follows if cover is set.
type doors struct{ cover bool }

func (d doors) Knows(first []byte) bool { return string(first) == "OPEN" }

func (d doors) Open(nc net.Conn) (net.Conn, acl.Principal, error) {
	var b [5]byte
	if _, err := io.ReadFull(nc, b[:]); err != nil {
		return nil, acl.Principal{}, err
	}
	if b[4] != '!' {
		return nil, acl.Principal{}, errors.New("the wrong word")
	}
	if d.cover {
		nc = flipped{nc}
	}
	return nc, acl.Principal{Kind: acl.Server, Via: "test"}, nil
}

func (d doors) May(who acl.Principal, code string) error {
	return acl.Policy{Peers: true}.Decide(who, acl.OfRPC(code))
}

func (d doors) MayOpen(who acl.Principal, path string) error {
	what, _ := acl.OfPage(path)
	return acl.Policy{Peers: true}.Decide(who, what)
}

// flipped turns over each bit of what passes.
type flipped struct{ net.Conn }

func (f flipped) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	for i := range b[:n] {
		b[i] ^= 0xff
	}
	return n, err
}

func (f flipped) Write(b []byte) (int, error) {
	c := make([]byte, len(b))
	for i := range b {
		c[i] = b[i] ^ 0xff
	}
	return f.Conn.Write(c)
}

// Who opens the door may send what servers send, by RPC and by HTTP, whatever covers the connection; others may send
// the rest.
func TestDoor(t *testing.T) {
	for _, cover := range []bool{false, true} {
		d := doors{cover}
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		echo := HandlerFunc(func(r *Request) { r.ReplyString("hello") })
		pages := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })
		srv := NewServer(ServerOptions{Security: d}, echo, pages, nil)
		go srv.Serve(l)
		addr := l.Addr().String()
		dial := func(begin string) func(context.Context, string) (net.Conn, error) {
			return func(ctx context.Context, addr string) (net.Conn, error) {
				nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				if err != nil || begin == "" {
					return nc, err
				}
				if _, err := io.WriteString(nc, begin); err != nil {
					return nil, err
				}
				if cover {
					return flipped{nc}, nil
				}
				return nc, nil
			}
		}
		for _, x := range []struct {
			begin, code string
			want        error
		}{
			{"OPEN!", base.RPCPacifica, nil},
			{"OPEN!", base.RPCGet, nil},
			{"", base.RPCGet, nil},
			{"", base.RPCPacifica, base.ErrACLDeny},
			{"OPEN?", base.RPCGet, base.ErrNetworkFailure},
		} {
			for _, f := range []Framing{RDSN, THFT1} {
				pool := NewPool(PoolOptions{Dial: dial(x.begin)})
				for range 3 { // the second is answered from what is known
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					err := pool.Call(ctx, addr, Outgoing{Code: x.code, Framing: f, Body: []byte{0}}, nil)
					cancel()
					// A connection that is refused ends, maybe before the answer is read.
					if !errors.Is(err, x.want) && !(x.want == base.ErrACLDeny && errors.Is(err, base.ErrNetworkFailure)) {
						t.Errorf("cover %v, %q, %s: %v, not %v", cover, x.begin, x.code, err, x.want)
					}
				}
				pool.Close()
			}
		}
		for begin, want := range map[string]int{"OPEN!": http.StatusOK, "": http.StatusForbidden} {
			hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, a string) (net.Conn, error) { return dial(begin)(ctx, a) }}}
			res, err := hc.Post("http://"+addr+"//replica/checkpoint", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("cover %v, %q: %s", cover, begin, res.Status)
			}
			hc.CloseIdleConnections()
		}
		if n := srv.Stats().Denied; n == 0 {
			t.Error("no refusal is counted")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		srv.Shutdown(ctx)
		cancel()
	}
}

// Who begins a proof and is silent is let go of in time.
func TestDoorSilent(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(ServerOptions{Security: doors{}}, HandlerFunc(func(r *Request) { r.Drop() }), nil, nil)
	srv.partTimeout = 100 * time.Millisecond // how often the sweeper looks
	go srv.Serve(l)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.Write([]byte("OPEN"))
	begin := time.Now()
	nc.SetReadDeadline(begin.Add(3 * openTimeout))
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	srv.Shutdown(ctx)
}
