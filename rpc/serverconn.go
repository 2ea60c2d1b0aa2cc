package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"pegasus/acl"
	"pegasus/base"
)

var (
	errDraining = errors.New("the server is shutting down")
	errIdle     = errors.New("idle for too long")
	errSlowRead = errors.New("the peer doesn't read its answers")
	errSlowSend = errors.New("a message arrives too slowly")

	magicGet  = []byte("GET ")
	magicPost = []byte("POST")
)

// serverConn is one accepted connection. serve runs on its reader goroutine.
type serverConn struct {
	srv    *Server
	nc     net.Conn
	remote netip.AddrPort
	local  base.RPCAddress // from_address of RDSN answers
	origin *origin
	class  atomic.Int32 // whose memory it uses; the reader follows when it is about to read
	trial  bool         // it came when clients had all connections they may; under Server.mu
	began  int64        // when it came, in the server's clock
	r      frameReader
	s      sender

	// current is the request whose handler is running. Its answer is not sent at once,
	// but with the others of its batch.
	current    atomic.Pointer[Request]
	dispatched int64 // requests handed to handlers; reader goroutine only
	answered   int64 // of these, answered or dropped; under s.mu
	draining   bool  // under s.mu
	ending     atomic.Bool

	batch Batch       // reader goroutine only
	heard atomic.Bool // the first header has come
	notes sync.Map    // what handlers remember of it, see Request.Note

	// heavy is set when answers take much: before more requests are handed on, it is looked
	// at whether there is memory.
	heavy atomic.Bool
	// paused: whole frames wait in the buffer until there is memory; reader goroutine only.
	paused bool

	seen int64 // dispatched, as of the last batch; under s.mu

	lastRead    atomic.Int64 // when something was last read, in the server's clock
	partial     bool         // a part of a frame waits for the rest; reader goroutine only
	partNeed    int          // how long that frame is, as far as known
	partHave    atomic.Int64 // how much of it has arrived
	partSince   atomic.Int64 // since when it waits for its peer, 0: it doesn't
	partTimeout atomic.Int64 // how long it may, in milliseconds

	// Reader goroutine only:
	who     acl.Principal // of what the connection began with
	rights  rights
	covered net.Conn // what covers nc, nil: nothing
}

// init makes c ready. One that hasn't entered is from an address of which nothing is known.
func (c *serverConn) init(s *Server, nc net.Conn, remote netip.AddrPort) {
	if c.origin == nil {
		c.origin = s.newOrigin()
	}
	c.srv, c.nc, c.remote = s, nc, remote
	c.local = base.RPCAddress(s.addr.Load())
	if c.local.IsZero() {
		if a, ok := nc.LocalAddr().(*net.TCPAddr); ok {
			c.local = base.MakeRPCAddress(a.AddrPort())
		}
	}
	acct := &c.origin.accounts[clients]
	c.r.init(nc, acct, c.ending.Load)
	c.r.waiting = c.waitsForMemory
	c.s.init(nc, &s.clock, acct)
	c.lastRead.Store(s.clock.Load())
}

// serve reads until the connection ends. It reports false if it gave the connection to
// HTTP, which then owns it.
func (c *serverConn) serve() bool {
	http, err := c.read()
	c.r.close()
	if http {
		return false
	}
	c.s.mu.Lock()
	if c.draining && c.s.err == nil {
		c.drain()
	}
	if c.s.err != nil {
		err = c.s.err // who closed the connection knows better why reading failed
	}
	c.s.fail(err)
	c.s.mu.Unlock()
	var bad *frameError
	switch {
	case errors.As(err, &bad):
		c.srv.badFrames.Add(1)
		c.srv.log.warnf("closing connection from %v: %v", c.remote, err)
	case errors.Is(err, errFull), errors.Is(err, errClaims):
		c.srv.refused.Add(1)
		c.srv.log.warnf("refusing connection from %v: %v", c.remote, err)
	case errors.Is(err, errSlowRead), errors.Is(err, errSlowSend):
		c.srv.log.warnf("closing connection from %v: %v", c.remote, err)
	}
	return true
}

// read is readLoop, but that a bug in reading costs this connection and not the process.
func (c *serverConn) read() (http bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.panics.Add(1)
			http, err = false, badFrame("reading panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return c.readLoop()
}

// readLoop reads and dispatches until an error, or until it turns out that the peer speaks
// HTTP.
func (c *serverConn) readLoop() (http bool, err error) {
	if err := c.fillMagic(); err != nil {
		return false, err
	}
	// A proof may lie within another: that of the secret in TLS.
	for depth := 0; c.srv.sec != nil && depth < maxProofs && c.srv.sec.Knows(c.r.unparsed()[:4]); depth++ {
		if err := c.open(c.srv.sec); err != nil {
			return false, err
		}
		if err := c.fillMagic(); err != nil {
			return false, err
		}
	}
	frameLen, parse := thftFrameLen, parseTHFTRequest
	header := thftHeader0
	switch magic := c.r.unparsed()[:4]; {
	case bytes.Equal(magic, magicTHFT):
	case bytes.Equal(magic, magicRDSN):
		frameLen, parse, header = rdsnFrameLen, parseRDSNRequest, rdsnHeader
	case c.srv.http != nil && (bytes.Equal(magic, magicGet) || bytes.Equal(magic, magicPost)):
		c.partSince.Store(0)
		if !c.srv.triedHTTP(c) {
			return false, errFull
		}
		return c.srv.http.take(c), errDraining
	default:
		return false, badFrame("unknown protocol: it starts with %q", magic)
	}
	if header != rdsnHeader && !c.hear() {
		return false, errFull
	}
	for {
		need, err := c.dispatchAll(frameLen, parse)
		need = max(need, header)
		if err != nil {
			c.endBatch(need)
			return false, err
		}
		if err := c.endBatch(need); err != nil {
			return false, err
		}
		if c.paused {
			c.paused = false
			c.waitForRoom()
			continue
		}
		if header == rdsnHeader && !c.classify() {
			return false, errFull
		}
		if err := c.fill(need); err != nil {
			return false, err
		}
	}
}

// fillMagic reads what tells framings apart.
func (c *serverConn) fillMagic() error {
	for len(c.r.unparsed()) < 4 {
		if err := c.fill(4); err != nil {
			return err
		}
	}
	return nil
}

// dispatchAll hands all complete frames that were read to the handler. It returns the
// length of the incomplete one behind them, 0 if that isn't known yet.
func (c *serverConn) dispatchAll(frameLen func([]byte) (int64, error), parse func(*Request, []byte) error) (need int, err error) {
	count := int64(0)
	defer func() { c.srv.requests.Add(count) }()
	for {
		b := c.r.unparsed()
		n, err := frameLen(b)
		if err != nil {
			return 0, err
		}
		if n > c.srv.maxFrame {
			return 0, badFrame("message of %d bytes exceeds the limit of %d", n, c.srv.maxFrame)
		}
		if n == 0 || n > int64(len(b)) {
			return int(n), nil
		}
		r := newRequest()
		if err := parse(r, b[:n:n]); err != nil {
			r.recycle()
			return 0, err
		}
		if r.known != nil && r.known.server {
			c.claim()
		}
		if !c.heard.Load() && !c.hear() {
			r.recycle()
			return 0, errFull
		}
		r.conn, r.Remote = c, c.remote
		r.buf = c.r.hold()
		c.r.consume(int(n))
		c.complete()
		c.dispatched++
		count++
		c.call(r)
		if c.heavy.Load() && c.mustPause() {
			c.paused = true
			return 0, nil
		}
	}
}

// mustPause tells whether the answers that are made or not sent take what they may.
func (c *serverConn) mustPause() bool {
	c.heavy.Store(false)
	c.s.mu.Lock()
	unsent := c.s.unsent()
	c.s.mu.Unlock()
	if unsent > c.srv.maxUnsent {
		return true
	}
	return !c.answers().fits(ofAnswers, 0)
}

// answers is the account that must have room before more is handed on. What clients are answered
// holds up no server of the cluster.
func (c *serverConn) answers() *account {
	k := clients
	if class(c.class.Load()) == peers {
		k = peers
	}
	return &c.origin.accounts[k]
}

// waitForRoom waits until there is memory for further answers.
func (c *serverConn) waitForRoom() {
	a := c.answers()
	c.r.level = 0 // connections that wait should hold little
	if !a.fits(ofAnswers, 0) {
		a.await(func() bool { return a.fits(ofAnswers, 0) || c.ending.Load() })
	}
}

// classify looks at the frame that has begun: servers of the cluster say who they are in its
// header, before they need memory. It reports false if there is no place for the connection.
func (c *serverConn) classify() bool {
	b := c.r.unparsed()
	if class(c.class.Load()) != clients || len(b) < rdsnHeader && c.dispatched == 0 {
		return true
	}
	if len(b) >= rdsnHeader {
		if _, k := internCode(cString(b[rdsnOffName : rdsnOffName+rdsnNameLen])); k != nil && k.server {
			c.claim()
		}
	}
	return c.heard.Load() || c.hear()
}

// hear notes that the connection's first header has come, and reports whether there is a place
// for it.
func (c *serverConn) hear() bool {
	c.heard.Store(true)
	return c.srv.tried(c)
}

// claim notes that the peer says that it is a server of the cluster.
func (c *serverConn) claim() {
	if sec := c.srv.sec; sec != nil && sec.May(c.who, base.RPCPacifica) != nil {
		return // it is about to be refused
	}
	if class(c.class.Load()) == clients && !c.setClass(claimed) {
		c.close(errClaims)
	}
}

// setClass has the connection use the memory of a class. What it uses already stays counted
// where it is.
func (c *serverConn) setClass(k class) bool {
	if class(c.class.Load()) >= k {
		return true
	}
	if !c.srv.move(c, k) {
		return false
	}
	c.s.mu.Lock()
	c.s.acct = &c.origin.accounts[k]
	c.s.mu.Unlock()
	return true
}

// call runs the handler. A panic ends in an answer, not in the end of the connection.
func (c *serverConn) call(r *Request) {
	c.current.Store(r)
	defer c.caught(r, r.state.Load())
	if sec := c.srv.sec; sec != nil && !c.may(sec, r) {
		return
	}
	c.srv.h.ServeRPC(r)
}

// caught is deferred by who serves r, whose state was use when that began.
func (c *serverConn) caught(r *Request, use uint64) {
	p := recover()
	if p == nil {
		return
	}
	c.srv.panics.Add(1)
	c.srv.log.warnf("a handler panicked: %v\n%s", p, debug.Stack())
	// r may have been answered, and be in use again by then. It isn't recycled, for
	// whoever got it from the handler may still try to answer it.
	if r.state.CompareAndSwap(use, use|1) {
		c.reply(r, &answer{code: base.ErrUnknown}, nil)
		r.buf.release()
	}
}

// endBatch sends the answers given meanwhile, and waits while the peer doesn't take its
// answers or has too many requests open.
func (c *serverConn) endBatch(need int) error {
	c.current.Store(nil)
	if f := c.srv.hooks.afterBatch; f != nil {
		if c.batch.Work != nil {
			// What is answered already, reads, doesn't wait for that work, nor for its disk.
			c.s.mu.Lock()
			if c.s.out != nil {
				c.batch.add(&c.s)
			}
			c.s.mu.Unlock()
			c.batch.Flush()
		}
		f(&c.batch)
		c.batch.Flush()
	}
	c.r.settle()
	c.r.slim(need)
	c.s.mu.Lock()
	c.seen = c.dispatched
	c.s.flush()
	for c.s.err == nil && !c.draining &&
		(c.s.unsent() > c.srv.maxUnsent || c.dispatched-c.answered > c.srv.maxOpen) {
		c.s.waiting = true
		c.s.cond.Wait()
		c.s.waiting = false
	}
	err := c.s.err
	if err == nil && c.draining {
		err = errDraining
	}
	c.s.mu.Unlock()
	return err
}

// fill reads more, when there is memory. need is the length of the frame begun, as far as
// it is known.
func (c *serverConn) fill(need int) error {
	if c.r.acct = &c.origin.accounts[c.class.Load()]; need <= maxSmall && c.r.acct.over() && !c.unheard(need) {
		c.waitsForMemory(true)
		c.r.acct.wait(c.ending.Load)
		c.waitsForMemory(false)
	}
	switch {
	case len(c.r.unparsed()) == 0:
		c.complete()
	case !c.partial || need != c.partNeed:
		c.partNeed = need
		c.partTimeout.Store((c.srv.partTimeout + time.Duration(need)*time.Second/minRate).Milliseconds())
		if !c.partial {
			c.partial = true
			c.partSince.Store(c.srv.clock.Load())
		}
	}
	if c.partial {
		c.partHave.Store(int64(len(c.r.unparsed())))
	}
	if c.ending.Load() {
		return errDraining
	}
	err := c.r.fill(need)
	c.lastRead.Store(c.srv.clock.Load())
	return err
}

// unheard tells whether the first header of the connection is still to come: who it is can't be
// known before, and it takes little.
func (c *serverConn) unheard(need int) bool { return c.dispatched == 0 && need <= rdsnHeader }

// complete ends the time limit of a frame in parts.
func (c *serverConn) complete() {
	if c.partial {
		c.partial = false
		c.partSince.Store(0)
	}
}

// waitsForMemory suspends the time limit of a frame in parts: it isn't the peer who is slow.
func (c *serverConn) waitsForMemory(begin bool) {
	switch {
	case !c.partial:
	case begin:
		c.partSince.Store(0)
	default:
		c.partSince.Store(c.srv.clock.Load())
	}
}

// reply appends the answer and sees to it that it is sent.
func (c *serverConn) reply(r *Request, a *answer, b *Burst) {
	var problem any
	c.s.mu.Lock()
	c.answered++
	if c.s.err == nil {
		w := c.s.buffer()
		w.b, problem = appendAnswer(w.b, r, a, c.local, c.srv.maxFrame)
		w.charge()
		switch {
		case len(w.b) >= freeOutput:
			if len(w.b) >= writeChunk {
				c.heavy.Store(true)
			}
			c.s.wake()
		case b != nil:
			b.add(&c.s)
		case c.current.Load() != r:
			c.s.wake()
		}
	}
	c.s.notify()
	c.s.mu.Unlock()
	if problem != nil {
		c.srv.log.warnf("can't encode the answer to %s from %v: %s", r.Code, c.remote, explain(problem))
	}
}

func explain(problem any) string {
	if n, ok := problem.(tooLong); ok {
		return fmt.Sprintf("%d bytes exceed the limit", int64(n))
	}
	return fmt.Sprintf("%v\n%s", problem, debug.Stack())
}

// drop counts a request that gets no answer.
func (c *serverConn) drop() {
	c.s.mu.Lock()
	c.answered++
	c.s.notify()
	c.s.mu.Unlock()
}

// beginDrain makes the reader stop reading; it then waits for open requests.
func (c *serverConn) beginDrain() {
	c.s.mu.Lock()
	c.draining = true
	c.s.notify()
	c.s.mu.Unlock()
	c.ending.Store(true)
	c.kick()
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// drain waits until all requests are answered and the answers sent. s.mu is held.
func (c *serverConn) drain() {
	c.s.waiting = true
	for c.s.err == nil && (c.dispatched != c.answered || c.s.out != nil || c.s.writing) {
		c.s.cond.Wait()
	}
	c.s.waiting = false
}

// close ends the connection from outside its reader.
func (c *serverConn) close(err error) {
	c.s.mu.Lock()
	c.s.fail(err)
	c.s.mu.Unlock()
	c.ending.Store(true)
	c.kick()
}

// kick ends what the reader waits for in a budget, which may be of any class.
func (c *serverConn) kick() {
	for _, b := range c.srv.budgets {
		b.kick()
	}
}

// sweep closes the connection if one of its time limits has passed at now. crowded tells in
// which classes somebody waits for memory.
func (c *serverConn) sweep(now int64, crowded *[classes]bool) {
	past := func(since int64, limit int64) bool { return since != 0 && limit > 0 && now-since > limit }
	switch {
	case past(c.s.writeSince.Load(), c.srv.writeTimeout.Milliseconds()):
		c.close(errSlowRead)
	case past(c.partSince.Load(), c.partTimeout.Load()):
		c.close(errSlowSend)
	case past(c.lastRead.Load(), c.srv.idleTimeout.Milliseconds()) && c.quiet():
		c.close(errIdle)
	case crowded[c.class.Load()]:
		c.urgent(now)
	}
}

// urgent closes the connection if it holds memory that others wait for, and its peer is slow.
func (c *serverConn) urgent(now int64) {
	slow := func(since, bytes int64) bool {
		ms := now - since
		return since != 0 && ms > crowdedGrace.Milliseconds() && bytes*1000 < ms*crowdedRate
	}
	part := c.partSince.Load()
	silent := part != 0 && now-max(part, c.lastRead.Load()) > crowdedSilence.Milliseconds()
	switch {
	case silent, slow(part, c.partHave.Load()):
		c.close(errSlowSend)
	case slow(c.s.writeSince.Load(), 0):
		c.close(errSlowRead)
	}
}

// quiet tells whether nothing is open on the connection.
func (c *serverConn) quiet() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return !c.s.writing && c.s.out == nil && c.seen == c.answered
}
