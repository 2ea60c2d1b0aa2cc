package rpc

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// httpFront feeds connections that turned out to speak HTTP to a net/http server.
type httpFront struct {
	srv *http.Server
	l   *chanListener
}

func newHTTPFront(h http.Handler, idle time.Duration, lg limitedLog) *httpFront {
	f := &httpFront{l: &chanListener{ch: make(chan net.Conn), done: make(chan struct{})}}
	f.srv = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       idle,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(lineWriter{lg}, "", 0),
	}
	return f
}

// serve runs until shutdown.
func (f *httpFront) serve() { f.srv.Serve(f.l) }

// take hands a connection over, with what was read of it. It reports false if the server
// is shutting down.
func (f *httpFront) take(c *serverConn) bool {
	hc := &httpConn{Conn: c.nc, head: append([]byte(nil), c.r.unparsed()...)}
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

// ReadFrom keeps the way open for sendfile, by which files leave without a copy.
func (c *httpConn) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := c.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
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
