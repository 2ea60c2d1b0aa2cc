package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/rpc"
)

// Op is one request to the partition that Hash belongs to.
type Op struct {
	Code    string
	Hash    uint64
	Arg     tbin.Encoder // must stay as it is until the call is done
	ArgType tbin.Type    // 0 is STRUCT
	Write   bool
	Once    bool          // doing it twice isn't the same as doing it once
	Counted bool          // the argument goes by how many partitions there are: with others it isn't sent again
	Attempt time.Duration // how long one server is waited for; 0: Options.AttemptTimeout
	Trace   uint64        // not 0: the servers trace it, under this id; 0: Options.Trace
	Burst   *rpc.Burst    // with which the first attempt leaves; nil: by itself
	Lost    func()        // told of each attempt of a write whose fate isn't known, before the next one and before done; nil: nobody is
}

// call is one Op under way, over its attempts.
type call struct {
	t        *Table
	op       Op
	start    time.Time
	deadline time.Time
	done     func(body []byte, err error)
	reply    func(body []byte, err error) // c.onReply, made once

	// Only one attempt is under way at a time; its callbacks follow one another.
	used     *route
	at       part
	attempts int
	unknown  bool // some attempt's fate is unknown

	mu      sync.Mutex
	dropped bool
}

// Go sends op, again where that makes sense, until timeout (0: the client's) has passed.
// done is called exactly once, on a connection's reader goroutine or another one of the
// client's, with the answer's body, which is valid until done returns, or an *Error. done
// must not block.
func (t *Table) Go(op Op, timeout time.Duration, done func(body []byte, err error)) {
	t.begin(op, timeout, done)
}

func (t *Table) begin(op Op, timeout time.Duration, done func(body []byte, err error)) *call {
	if timeout <= 0 {
		timeout = t.c.opts.Timeout
	}
	if op.Trace == 0 {
		op.Trace = t.c.opts.Trace
	}
	if op.Attempt <= 0 {
		op.Attempt = t.c.opts.AttemptTimeout
	}
	now := time.Now()
	c := &call{t: t, op: op, start: now, deadline: now.Add(timeout), done: done}
	c.reply = c.onReply
	c.send()
	return c
}

// drop ends the caller's interest: after it the argument isn't read any more. done may
// still be called.
func (c *call) drop() {
	c.mu.Lock()
	c.dropped = true
	c.mu.Unlock()
}

// send makes an attempt.
func (c *call) send() {
	c.used = c.t.route.Load()
	c.at = *c.used.of(c.op.Hash)
	c.attempts++
	if c.at.primary == "" {
		c.onReply(nil, errNoPrimary)
		return
	}
	left := time.Until(c.deadline)
	if left <= 0 {
		c.fail(fmt.Errorf("the operation timed out: %w", base.ErrTimeout))
		return
	}
	c.mu.Lock()
	if c.dropped {
		c.mu.Unlock()
		c.fail(fmt.Errorf("cancelled by the caller: %w", base.ErrTimeout))
		return
	}
	c.t.c.pool.Go(c.at.primary, min(left, c.op.Attempt), rpc.Outgoing{
		Code: c.op.Code, Gpid: c.at.gpid, PartitionHash: c.op.Hash, Arg: c.op.Arg, ArgType: c.op.ArgType, Framing: c.t.c.opts.Framing, Burst: c.op.Burst, Trace: c.op.Trace,
	}, c.reply)
	c.op.Burst = nil // its owner's, and not for later
	c.mu.Unlock()
}

func (c *call) onReply(body []byte, err error) {
	if err == nil {
		c.done(body, nil)
		return
	}
	v := judge(err)
	if v.unknown && c.op.Write {
		c.unknown = true
		if c.op.Lost != nil {
			c.op.Lost()
		}
		v.again = v.again && !c.op.Once && !c.t.c.opts.NoResend
	}
	if c.op.Counted && errors.Is(err, base.ErrParentPartitionMisused) {
		c.t.refresh(c.used, func(error) { c.fail(err) })
		return
	}
	pause := c.backoff()
	if !v.again || time.Until(c.deadline) <= pause || c.t.c.ctx.Err() != nil {
		c.fail(err)
		return
	}
	if !v.resolve {
		time.AfterFunc(pause, c.send)
		return
	}
	c.t.refresh(c.used, func(rerr error) {
		switch now := c.t.route.Load(); {
		case c.op.Counted && len(now.parts) != len(c.used.parts):
			c.fail(fmt.Errorf("the table has %d partitions, and had %d: %w", len(now.parts), len(c.used.parts), base.ErrParentPartitionMisused))
		case tableGone(rerr):
			c.fail(rerr)
		case now != c.used && *now.of(c.op.Hash) != c.at:
			c.send() // somebody else serves it now
		case time.Until(c.deadline) <= pause:
			c.fail(err)
		default:
			time.AfterFunc(pause, c.send)
		}
	})
}

func (c *call) backoff() time.Duration {
	d := c.t.c.opts.BackoffMin << min(c.attempts-1, 10)
	d = min(d, c.t.c.opts.BackoffMax)
	return d/2 + rand.N(d/2+1)
}

func (c *call) fail(err error) {
	c.done(nil, &Error{Op: c.op.Code, Table: c.t.name, Partition: c.at.gpid, Addr: c.at.primary, Attempts: c.attempts,
		Elapsed: time.Since(c.start), Unknown: c.unknown && c.op.Write, Err: err})
}

// do is Go for one waiting goroutine. The answer is the caller's own.
func do[T any, P interface {
	*T
	tbin.Decoder
}](ctx context.Context, t *Table, op Op) (*T, error) {
	timeout := t.c.opts.Timeout
	if dl, ok := ctx.Deadline(); ok {
		timeout = max(time.Until(dl), time.Nanosecond)
	}
	type result struct {
		v   *T
		err error
	}
	ch := make(chan result, 1)
	c := t.begin(op, timeout, func(body []byte, err error) {
		r := result{err: err}
		if err == nil {
			v := new(T)
			if err := rpc.DecodeBody(bytes.Clone(body), P(v)); err != nil {
				r.err = fmt.Errorf("answer to %s: %w", op.Code, err)
			} else {
				r.v = v
			}
		}
		ch <- r
	})
	select {
	case r := <-ch:
		return r.v, r.err
	case <-ctx.Done():
	}
	c.drop()
	cause, grace := error(base.ErrTimeout), 200*time.Millisecond
	if ctx.Err() == context.Canceled {
		cause, grace = ctx.Err(), 0
	}
	// The call's own deadline is the context's: its error is about to come and tells more.
	select {
	case r := <-ch:
		return r.v, r.err
	case <-time.After(grace):
	}
	return nil, &Error{Op: op.Code, Table: t.name, Attempts: 1, Unknown: op.Write, Err: fmt.Errorf("no answer before the context ended: %w", cause)}
}
