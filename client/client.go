package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/rpc"
)

// Options configure a Client. The zero value is usable.
type Options struct {
	Timeout        time.Duration // of a call whose context has no deadline; 0: 10 s
	AttemptTimeout time.Duration // how long one server is waited for before another attempt; 0: 3 s
	RangeTimeout   time.Duration // the same for multi_get, scans and counts, which may take long; 0: 30 s
	BackoffMin     time.Duration // first pause between attempts, doubled each time; 0: 10 ms
	BackoffMax     time.Duration // 0: 500 ms
	NoResend       bool          // never send a write again whose fate is unknown
	Framing        rpc.Framing   // of all calls
	ConnsPerAddr   int           // connections to one server; 0: 1
	Log            *logrus.Entry // connection trouble; nil: silent
}

// Client talks to one cluster. It is safe for use by many goroutines.
type Client struct {
	opts   Options
	pool   *rpc.Pool
	metas  []string
	leader atomic.Pointer[string]

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
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close breaks all connections; calls in flight fail.
func (c *Client) Close() {
	c.cancel()
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

// Pool returns the connections, for calls that this package has no method for.
func (c *Client) Pool() *rpc.Pool { return c.pool }

func (c *Client) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.opts.Timeout)
}

// metaAnswer is a meta server's response: all of them begin with an error code.
type metaAnswer interface {
	tbin.Decoder
	// outcome returns the code and, if the code says to ask somebody else, whom.
	outcome() (base.ErrorCode, base.RPCAddress)
}

// metaCall asks the leading meta server, finding it first if need be: the one that
// answered last, then whom a follower names, then each in turn, until ctx ends. try bounds
// one attempt. It returns who answered. The answer's own error code is left to the caller,
// but for those that mean "not me" and "not yet".
func (c *Client) metaCall(ctx context.Context, op, code string, try time.Duration, arg tbin.Encoder, newAnswer func() metaAnswer) (metaAnswer, string, error) {
	ctx, cancel := c.withDeadline(ctx)
	defer cancel()
	if len(c.metas) == 0 {
		return nil, "", fmt.Errorf("%s: no meta server was named: %w", op, base.ErrInvalidParameters)
	}
	var (
		start   = time.Now()
		next    = 0  // index in metas of whom to ask when nobody better is known
		hint    = "" // whom to ask now
		last    error
		backoff = c.opts.BackoffMin
		failed  = 0 // attempts since the last pause
	)
	if l := c.leader.Load(); l != nil {
		hint = *l
	}
	for attempt := 1; ; attempt++ {
		addr := hint
		if hint = ""; addr == "" {
			addr = c.metas[next%len(c.metas)]
			next++
		}
		ans := newAnswer()
		actx, acancel := context.WithTimeout(ctx, try)
		err := c.pool.Call(actx, addr, rpc.Outgoing{Code: code, Arg: arg, Framing: c.opts.Framing}, ans)
		acancel()
		var to base.RPCAddress
		if err == nil {
			var result base.ErrorCode
			switch result, to = ans.outcome(); result {
			case base.ErrForwardToOthers, base.ErrServiceNotActive, base.ErrUnderRecovery:
				err = fmt.Errorf("%s from %s: %w", code, addr, result)
			default:
				c.leader.Store(&addr)
				return ans, addr, nil
			}
		}
		c.leader.Store(nil)
		last = err
		if !metaRetry(err) {
			return nil, addr, fmt.Errorf("%s: %w", op, err)
		}
		if l := leaderIn(err); l != 0 {
			to = l
		}
		if !to.IsZero() && to.String() != addr {
			hint = to.String()
		}
		if failed++; failed >= len(c.metas) && !sleep(ctx, backoff) || ctx.Err() != nil {
			return nil, addr, fmt.Errorf("%s: no leading meta server found among %v in %v (%d attempts), last: %w",
				op, c.metas, time.Since(start).Round(time.Millisecond), attempt, last)
		}
		if failed >= len(c.metas) {
			failed, backoff = 0, min(backoff*2, c.opts.BackoffMax)
		}
	}
}

func metaRetry(err error) bool {
	switch base.CodeOf(err) {
	case base.ErrForwardToOthers, base.ErrServiceNotActive, base.ErrUnderRecovery, base.ErrNetworkFailure, base.ErrTimeout, base.ErrBusy:
		return true
	}
	return false
}

// sleep waits for d, or reports false because ctx ended or would end before.
func sleep(ctx context.Context, d time.Duration) bool {
	if dl, ok := ctx.Deadline(); ok && time.Until(dl) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
