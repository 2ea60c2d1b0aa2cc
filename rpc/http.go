package rpc

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"pegasus/acl"
)

const (
	maxHTTPBody     = 1 << 20 // bytes of a request's body
	httpReadTimeout = 30 * time.Second
	httpWriteChunk  = 4 << 20 // bytes that a file's write may take before its time limit starts anew
)

// httpFront feeds connections that turned out to speak HTTP to a net/http server.
type httpFront struct {
	srv *http.Server
	l   *chanListener
}

func newHTTPFront(h http.Handler, idle time.Duration, lg limitedLog) *httpFront {
	f := &httpFront{l: &chanListener{ch: make(chan net.Conn), done: make(chan struct{})}}
	f.srv = &http.Server{
		Handler:           http.MaxBytesHandler(h, maxHTTPBody),
		ReadHeaderTimeout: httpReadTimeout,
		ReadTimeout:       httpReadTimeout, // of a request with its body
		IdleTimeout:       idle,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(lineWriter{lg}, "", 0),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, whoKey{}, nc.(*httpConn).who)
		},
	}
	return f
}

// serve runs until shutdown.
func (f *httpFront) serve() { f.srv.Serve(f.l) }

// take hands a connection over, with what was read of it. It reports false if the server
// is shutting down.
func (f *httpFront) take(c *serverConn) bool {
	hc := &httpConn{Conn: cmp.Or(c.covered, c.nc), who: c.who, timeout: c.srv.writeTimeout, head: append([]byte(nil), c.r.unparsed()...)}
	hc.release = func() { c.srv.leave(c) }
	select {
	case f.l.ch <- hc:
		return true
	case <-f.l.done:
		return false
	}
}

// shutdown lets requests in flight finish until ctx ends, then closes their connections.
func (f *httpFront) shutdown(ctx context.Context) error {
	err := f.srv.Shutdown(ctx)
	if err != nil {
		f.srv.Close()
	}
	return err
}

// chanListener is a listener whose connections come out of a channel.
type chanListener struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *chanListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *chanListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *chanListener) Addr() net.Addr { return &net.TCPAddr{} }

// httpConn is a connection some of whose bytes have been read.
type httpConn struct {
	net.Conn
	who     acl.Principal
	timeout time.Duration // for a write to get on
	head    []byte
	once    sync.Once
	release func()
}

func (c *httpConn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// Write gives the peer a time limit for each piece, so that nobody who stops reading holds an
// answer for ever; how long the whole takes is not limited.
func (c *httpConn) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var k int
		c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
		k, err = c.Conn.Write(b[:min(len(b), writeChunk)])
		n, b = n+k, b[k:]
	}
	return n, err
}

// ReadFrom keeps the way open for sendfile, by which files leave without a copy.
func (c *httpConn) ReadFrom(r io.Reader) (n int64, err error) {
	rf, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	most := int64(math.MaxInt64)
	lr, limited := r.(*io.LimitedReader)
	if limited {
		r, most = lr.R, lr.N
		defer func() { lr.N -= n }()
	}
	for n < most {
		piece := io.LimitedReader{R: r, N: min(most-n, httpWriteChunk)}
		want := piece.N
		c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
		k, err := rf.ReadFrom(&piece)
		if n += k; err != nil || k < want {
			return n, err
		}
	}
	return n, nil
}

// CloseWrite is what net/http ends a connection with before it closes it.
func (c *httpConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *httpConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// lineWriter makes a limitedLog the log of net/http.
type lineWriter struct{ log limitedLog }

func (w lineWriter) Write(b []byte) (int, error) {
	w.log.warnf("http: %s", b)
	return len(b), nil
}
