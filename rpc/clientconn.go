package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"

	"pegasus/base"
	"pegasus/base/tbin"
)

// call is a request whose answer is awaited: by a goroutine (blocking) or by done.
type call struct {
	id       uint64
	code     string
	deadline int64 // in the pool's milliseconds
	conn     *clientConn

	done func(body []byte, err error)

	blocking bool
	ready    chan struct{} // one token: body and err are set
	body     []byte        // a copy
	err      error
}

var callPool = sync.Pool{New: func() any { return &call{ready: make(chan struct{}, 1)} }}

func newCall() *call { return callPool.Get().(*call) }

func (c *call) recycle() {
	*c = call{ready: c.ready}
	callPool.Put(c)
}

// complete hands the outcome over. The call must have been taken out of its connection.
func (c *call) complete(body []byte, err error) {
	if c.blocking {
		if err == nil {
			c.body = append([]byte(nil), body...)
		}
		c.err = err
		c.ready <- struct{}{}
		return
	}
	done := c.done
	c.recycle()
	done(body, err)
}

// clientConn is one connection of a Pool. run dials and then reads on one goroutine;
// requests queue up meanwhile.
type clientConn struct {
	pr     *peer
	pool   *Pool
	thrift bool
	r      frameReader
	s      sender
	ended  atomic.Bool
	useful bool // something was received; reader goroutine only

	// silentSince is when a request was sent after which nothing was received, 0: none.
	silentSince atomic.Int64

	// Under s.mu:
	open     map[uint64]*call
	lastID   uint64
	earliest int64 // no open call times out before
}

func newClientConn(pr *peer) *clientConn {
	c := &clientConn{pr: pr, pool: pr.pool, thrift: pr.key.thrift, open: map[uint64]*call{}, earliest: math.MaxInt64}
	c.s.init(nil, &pr.pool.clock, nil)
	c.s.limit = pr.pool.opts.WriteTimeout
	c.s.writing = true // nobody can write before the dial is through
	return c
}

// run is the connection's goroutine.
func (c *clientConn) run() {
	err := c.dial()
	if err == nil {
		err = c.readLoop()
		c.r.close()
	}
	if !c.useful {
		c.pr.failed(err)
	}
	c.end(err)
}

func (c *clientConn) dial() error {
	ctx, cancel := context.WithTimeout(c.pool.ctx, c.pool.opts.DialTimeout)
	defer cancel()
	nc, err := c.pool.opts.Dial(ctx, c.pr.key.addr)
	if err != nil {
		return err
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.err != nil {
		nc.Close()
		return c.s.err
	}
	c.s.connected(nc)
	c.r.init(nc, c.pool.acct, c.ended.Load)
	c.s.writing = false
	c.s.wake()
	return nil
}

// send queues a request and registers cl (nil: no answer is awaited). An error means that
// nothing was queued: ERR_BUSY for a full queue, else the connection has ended.
func (c *clientConn) send(o *Outgoing, cl *call, now, deadline int64) error {
	c.s.mu.Lock()
	if err := c.s.err; err != nil {
		c.s.mu.Unlock()
		c.ended.Store(true) // so that the next try takes another
		return fmt.Errorf("%w: %w", base.ErrNetworkFailure, err)
	}
	if n := c.s.unsent(); n > c.pool.opts.MaxQueuedBytes {
		c.s.mu.Unlock()
		return fmt.Errorf("%d bytes wait to be sent: %w", n, base.ErrBusy)
	}
	c.lastID++
	id := c.lastID
	if c.thrift {
		id &= math.MaxInt32
	}
	w := c.s.buffer()
	before := len(w.b)
	encoded := false
	defer func() {
		if !encoded { // the argument's encoder panicked
			w.b = w.b[:before]
			c.s.mu.Unlock()
		}
	}()
	if c.thrift {
		w.b = appendTHFTRequest(w.b, id, o)
	} else {
		w.b = appendRDSNRequest(w.b, id, o)
	}
	encoded = true
	if cl != nil {
		cl.id, cl.code, cl.deadline, cl.conn = id, o.Code, deadline, c
		c.open[id] = cl
		c.earliest = min(c.earliest, deadline)
		if c.silentSince.Load() == 0 {
			c.silentSince.Store(now)
		}
		c.pool.arm()
	}
	if o.Burst != nil && len(w.b) < freeOutput {
		o.Burst.add(&c.s)
	} else if cl != nil && cl.blocking && len(c.open) == 1 {
		// Nobody else is about to send: the caller would only wait for a writer.
		c.s.flush()
	} else {
		c.s.wake()
	}
	c.s.mu.Unlock()
	return nil
}

// take removes the call with that id, nil if it is gone.
func (c *clientConn) take(id uint64) *call {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	cl := c.open[id]
	if cl != nil {
		delete(c.open, id)
	}
	return cl
}

// cancel removes cl. It reports false if its outcome is already on the way.
func (c *clientConn) cancel(cl *call) bool {
	c.s.mu.Lock()
	ours := c.open[cl.id] == cl
	if ours {
		delete(c.open, cl.id)
	}
	c.s.mu.Unlock()
	if ours {
		c.suspect(c.pool.now())
	}
	return ours
}

// suspect ends the connection if it has been silent for long: a call on it has timed out.
// A peer that is gone without a word is otherwise noticed only when TCP gives up.
func (c *clientConn) suspect(now int64) {
	since := c.silentSince.Load()
	if since != 0 && now-since >= c.pool.opts.StallTimeout.Milliseconds() {
		c.end(fmt.Errorf("nothing received for %d ms: %w", now-since, base.ErrTimeout))
	}
}

// expire ends the calls whose time is over. It reports whether calls are still open.
func (c *clientConn) expire(now int64) bool {
	c.s.mu.Lock()
	if now < c.earliest {
		open := len(c.open) > 0
		c.s.mu.Unlock()
		return open
	}
	var late []*call
	c.earliest = math.MaxInt64
	for id, cl := range c.open {
		if cl.deadline <= now {
			delete(c.open, id)
			late = append(late, cl)
		} else {
			c.earliest = min(c.earliest, cl.deadline)
		}
	}
	open := len(c.open) > 0
	c.s.mu.Unlock()
	for _, cl := range late {
		cl.complete(nil, fmt.Errorf("%s to %s: %w", cl.code, c.pr.key.addr, base.ErrTimeout))
	}
	if len(late) > 0 {
		c.suspect(now)
	}
	return open
}

// end breaks the connection and fails its calls.
func (c *clientConn) end(cause error) {
	c.ended.Store(true)
	c.s.mu.Lock()
	c.s.fail(cause)
	cause = c.s.err // the first one
	open := c.open
	c.open = map[uint64]*call{}
	c.s.mu.Unlock()
	for _, cl := range open {
		cl.complete(nil, fmt.Errorf("%s to %s: %w: %w", cl.code, c.pr.key.addr, base.ErrNetworkFailure, cause))
	}
}

// readLoop receives answers until the connection ends.
func (c *clientConn) readLoop() error {
	frameLen, parse, header := rdsnFrameLen, parseRDSNResponse, rdsnHeader
	if c.thrift {
		frameLen, parse, header = thftResponseLen, parseTHFTResponse, thftMinResponse
	}
	for {
		need, err := c.receiveAll(frameLen, parse)
		if err != nil {
			c.pool.log.warnf("closing connection to %s: %v", c.pr.key.addr, err)
			return err
		}
		if err := c.r.fill(max(need, header)); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("closed by the peer: %w", err)
			}
			return err
		}
		c.silentSince.Store(0)
	}
}

// receiveAll completes the calls of all complete answers that were read. It returns the
// length of the incomplete one behind them, 0 if that isn't known yet.
func (c *clientConn) receiveAll(frameLen func([]byte) (int64, error), parse func([]byte) (response, error)) (need int, err error) {
	for {
		b := c.r.unparsed()
		n, err := frameLen(b)
		if err != nil {
			return 0, err
		}
		if n > c.pool.opts.MaxFrameBytes {
			return 0, badFrame("answer of %d bytes exceeds the limit of %d", n, c.pool.opts.MaxFrameBytes)
		}
		if n == 0 || n > int64(len(b)) {
			return int(n), nil
		}
		res, err := parse(b[:n:n])
		if err != nil {
			return 0, err
		}
		if !c.useful {
			c.useful = true
			c.pr.worked()
		}
		if cl := c.take(res.id); cl != nil {
			var err error
			if res.code != base.ErrOK {
				err = c.headerError(cl, &res)
			}
			cl.complete(res.body, err)
		}
		c.r.consume(int(n))
	}
}

func (c *clientConn) headerError(cl *call, res *response) error {
	e := &HeaderError{Code: res.code, RPC: cl.code, Addr: c.pr.key.addr}
	if res.code == base.ErrForwardToOthers && len(res.body) > 0 {
		if err := decodeBody(tbin.NewReader(res.body), &e.Leader); err != nil {
			e.Leader = 0
		}
	}
	return e
}
