package rpc

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// TestPeerThatDoesNotRead: messages without an answer don't pile up for ever for a peer that was
// stopped: its connection is replaced.
func TestPeerThatDoesNotRead(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var accepted atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			t.Cleanup(func() { c.Close() })
		}
	}()
	p := testPool(t, PoolOptions{WriteTimeout: 200 * time.Millisecond})
	body := AppendBody(nil, Blob(make([]byte, 4<<20)))
	eventually(t, "a second connection", func() bool {
		_ = p.Call(context.Background(), l.Addr().String(), Outgoing{Code: codePut, Body: body, OneWay: true}, nil)
		return accepted.Load() >= 2
	})
}

// TestWriteLimitIsForOneWrite: a connection that waited for its peer once goes on working.
func TestWriteLimitIsForOneWrite(t *testing.T) {
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), nil, nil)
	const limit = 2 * time.Second
	var dials atomic.Int32
	p := testPool(t, PoolOptions{WriteTimeout: limit, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		dials.Add(1)
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			err = c.(*net.TCPConn).SetWriteBuffer(32 << 10) // so that writes wait
		}
		return c, err
	}})
	for range 2 {
		var res Blob
		if err := p.Call(t.Context(), s.addr, Outgoing{Code: codeGet, Arg: Blob(make([]byte, 1<<20))}, &res); err != nil || len(res) != 1<<20 {
			t.Fatalf("%d bytes, %v", len(res), err)
		}
		wait := time.NewTimer(limit + limit/4)
		<-wait.C
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// TestLongAnswer: the time limit for reading a request doesn't end an answer that takes longer, such
// as a file of a checkpoint.
func TestLongAnswer(t *testing.T) {
	const read = 300 * time.Millisecond
	h := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-q.Context().Done():
			_, _ = io.WriteString(w, "cancelled")
		case <-time.After(3 * read):
			_, _ = io.WriteString(w, "whole")
		}
	})
	s := startServer(t, ServerOptions{}, HandlerFunc(echo), h, func(s *Server) { s.http.srv.ReadTimeout = read })
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(b) != "whole" {
			t.Errorf("%s: %q, %v", method, b, err)
		}
	}
}
