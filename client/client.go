package client

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/rpc"
)

// Options configure a Client. The zero value is usable.
type Options struct {
	Timeout        time.Duration // of a call, or a page of a scan, whose context has no deadline; 0: 10 s
	AttemptTimeout time.Duration // how long one server is waited for before another attempt; 0: 3 s
	RangeTimeout   time.Duration // the same for multi_get, scans and counts, which may take long; 0: 30 s
	BackoffMin     time.Duration // first pause between attempts, doubled each time; 0: 10 ms
	BackoffMax     time.Duration // 0: 500 ms
	NoResend       bool          // never retry a write that may have been applied
	NoAnswer       time.Duration // after which a cluster none of whose metas says anything is given up; 0: with the call's deadline
	Framing        rpc.Framing   // of all calls
	ConnsPerAddr   int           // connections to one server; 0: 1
	Trace          uint64        // not 0: the servers trace what is done with rows, under this id
	Who            string        // what the servers' logs say of the caller where it changes something, at most 47 bytes of ASCII
	Log            *logrus.Entry // connection trouble; nil: silent
}

// Client talks to one cluster. It is safe for use by many goroutines.
type Client struct {
	opts   Options
	pool   *rpc.Pool
	pages  *http.Client // of servers; its requests have deadlines
	metas  []string
	leader atomic.Pointer[string]
	heard  atomic.Bool // some meta has answered something
	spoke  sync.Map    // servers that have

	ctx    context.Context // ends with Close: background look-ups hang on it
	cancel context.CancelFunc
	mu     sync.Mutex
	tables map[string]*Table
}

// New returns a client of the cluster whose meta servers are at metas ("host:port"). It
// opens no connection yet.
func New(metas []string, opts Options) *Client {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&opts.Timeout, 10*time.Second)
	def(&opts.AttemptTimeout, 3*time.Second)
	def(&opts.RangeTimeout, 30*time.Second)
	def(&opts.BackoffMin, 10*time.Millisecond)
	def(&opts.BackoffMax, 500*time.Millisecond)
	c := &Client{opts: opts, metas: metas, tables: map[string]*Table{},
		pool: rpc.NewPool(rpc.PoolOptions{ConnsPerAddr: opts.ConnsPerAddr, DefaultTimeout: opts.Timeout, Log: opts.Log})}
	c.pages = &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext, IdleConnTimeout: time.Minute}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close breaks all connections; calls in flight fail.
func (c *Client) Close() {
	c.cancel()
	c.pages.CloseIdleConnections()
	c.pool.Close()
}

// Table finds a table by name. A table that doesn't exist is an error that wraps
// base.ErrObjectNotFound.
func (c *Client) Table(ctx context.Context, name string) (*Table, error) {
	c.mu.Lock()
	t := c.tables[name]
	c.mu.Unlock()
	if t != nil {
		return t, nil
	}
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	t = &Table{c: c, name: name}
	r, err := c.queryRoute(ctx, name)
	if err != nil {
		return nil, err
	}
	t.route.Store(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.tables[name]; other != nil {
		return other, nil
	}
	c.tables[name] = t
	return t, nil
}

// Forget makes the next Table ask for a table anew: one that was dropped, and made again with the same name, has
// another id. Tables that were returned before stay as they are.
func (c *Client) Forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.tables, name)
}

// Pool returns the connections, for calls that this package has no method for.
func (c *Client) Pool() *rpc.Pool { return c.pool }

func (c *Client) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.opts.Timeout)
}
