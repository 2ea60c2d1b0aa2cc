package rpc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/tbin"
)

// Outgoing is a request to send.
type Outgoing struct {
	Code          string
	Gpid          base.Gpid
	PartitionHash uint64
	Arg           tbin.Encoder
	ArgType       tbin.Type // of Arg; 0 is STRUCT
	Body          []byte    // in place of Arg: a body in its final form (see AppendBody)
	Framing       Framing
	TimeoutMS     int32           // told to the server; 0: the call's own timeout
	IsBackup      bool            // is_backup_request (not in THFT0)
	OneWay        bool            // no answer is awaited
	From          base.RPCAddress // RDSN from_address
	Trace         uint64          // RDSN: not 0: the servers are to note under this id when they did what; upstream's don't look
	Who           string          // RDSN: what the sender says of itself, at most 47 bytes of ASCII, for the log of the server; upstream's servers don't look
	Burst         *Burst          // with which the request leaves; nil: by itself
}

// PoolOptions configure a Pool. The zero value is usable.
type PoolOptions struct {
	ConnsPerAddr   int                                                      // connections to one address and kind of framing; 0: 1
	DialTimeout    time.Duration                                            // 0: 2 s
	DefaultTimeout time.Duration                                            // of a Call whose context has no deadline, of a Go with 0; 0: 10 s
	BackoffMin     time.Duration                                            // wait after a failed dial, doubled each time; 0: 20 ms
	BackoffMax     time.Duration                                            // 0: 1 s
	StallTimeout   time.Duration                                            // a connection that is silent for this long when a call times out is replaced; 0: 3 s
	WriteTimeout   time.Duration                                            // a connection whose peer takes nothing for this long is replaced; 0: 15 s
	MaxFrameBytes  int64                                                    // longest answer; 0: 64 MiB
	MaxQueuedBytes int                                                      // unsent bytes of one connection, above which calls fail with ERR_BUSY; 0: 64 MiB
	Dial           func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP
	Log            *logrus.Entry
}

// timeoutTick is how exactly calls time out.
const timeoutTick = 10 * time.Millisecond

var errPoolClosed = errors.New("the connection pool is closed")

// Pool keeps connections to servers, shared by all callers. The calls of one partition to
// one address travel on one connection, in the order they were made.
type Pool struct {
	opts  PoolOptions
	log   limitedLog
	start time.Time
	acct  *account // no limit; what read buffers want to have
	clock atomic.Int64

	ctx    context.Context // of dials; ends with Close
	cancel context.CancelFunc

	mu     sync.RWMutex
	peers  map[peerKey]*peer
	closed bool

	timer *time.Timer // runs expire while calls are open
	armed atomic.Bool
}

type peerKey struct {
	addr   string
	thrift bool
}

// peer is one address in one kind of framing.
type peer struct {
	pool *Pool
	key  peerKey
	next atomic.Uint32 // spreads calls that belong to no partition

	mu       sync.Mutex
	conns    []*clientConn // nil or ended ones are replaced when needed
	failures int           // dials that failed in a row
	notUntil int64         // no dial before, in the pool's milliseconds
	lastErr  error
}

// NewPool returns a Pool; it opens connections when they are needed.
func NewPool(opts PoolOptions) *Pool {
	setDefault(&opts.ConnsPerAddr, 1)
	setDefault(&opts.DialTimeout, 2*time.Second)
	setDefault(&opts.DefaultTimeout, 10*time.Second)
	setDefault(&opts.BackoffMin, 20*time.Millisecond)
	setDefault(&opts.BackoffMax, time.Second)
	setDefault(&opts.StallTimeout, 3*time.Second)
	setDefault(&opts.WriteTimeout, 15*time.Second)
	setDefault(&opts.MaxFrameBytes, defMaxFrame)
	setDefault(&opts.MaxQueuedBytes, 64<<20)
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	p := &Pool{
		opts: opts, log: newLimitedLog(opts.Log), start: time.Now(),
		acct: unlimited(), peers: map[peerKey]*peer{},
	}
	p.clock.Store(1)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.timer = time.AfterFunc(time.Hour, p.expire)
	p.timer.Stop()
	return p
}

func setDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// now is a monotonic time in milliseconds, never 0.
func (p *Pool) now() int64 { return time.Since(p.start).Milliseconds() + 1 }

// Call sends out to addr ("ip:port" or "name:port"), waits for the answer and decodes it
// into res (nil: it is not looked at); res may keep slices of it. An error in the answer's
// header comes back as *HeaderError, which wraps the base.ErrorCode. A connection that
// can't be made or breaks wraps base.ErrNetworkFailure and its cause; a passed deadline
// wraps base.ErrTimeout; a cancelled ctx its own error. One-way calls return when they are
// queued.
func (p *Pool) Call(ctx context.Context, addr string, out Outgoing, res tbin.Decoder) error {
	timeout := p.opts.DefaultTimeout
	if d, ok := ctx.Deadline(); ok {
		timeout = time.Until(d)
	}
	if ctx.Err() != nil || timeout <= 0 {
		return p.contextError(ctx, addr, &out)
	}
	if out.OneWay {
		return p.submit(addr, timeout, &out, nil)
	}
	c := newCall()
	c.blocking = true
	if err := p.submit(addr, timeout, &out, c); err != nil {
		c.recycle()
		return err
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		if c.conn.cancel(c) {
			err := p.contextError(ctx, addr, &out)
			c.recycle()
			return err
		}
		<-c.ready // the answer is being handed over just now
	}
	body, err := c.body, c.err
	c.recycle()
	if err != nil || res == nil {
		return err
	}
	if err := DecodeBody(body, res); err != nil {
		return fmt.Errorf("answer to %s from %s: %w", out.Code, addr, err)
	}
	return nil
}

func (p *Pool) contextError(ctx context.Context, addr string, out *Outgoing) error {
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s to %s: %w", out.Code, addr, err)
	}
	return fmt.Errorf("%s to %s: %w: %w", out.Code, addr, base.ErrTimeout, context.DeadlineExceeded)
}

// Go sends out to addr and returns at once. done is called exactly once, never by Go
// itself: on the connection's reader goroutine with the answer's body, which is valid only
// until done returns, or with an error as Call's, then possibly on another goroutine. done
// must not block. An *HeaderError may come with a body. For a one-way message done may be
// nil and is told nothing but that it was queued.
func (p *Pool) Go(addr string, timeout time.Duration, out Outgoing, done func(body []byte, err error)) {
	setDefault(&timeout, p.opts.DefaultTimeout)
	var c *call
	if !out.OneWay {
		c = newCall()
		c.done = done
	}
	err := p.submit(addr, timeout, &out, c)
	if err != nil && c != nil {
		c.recycle()
	}
	if done != nil && (err != nil || out.OneWay) {
		go done(nil, err)
	}
}

// submit queues out on a connection and registers c (nil: one-way), whose answer or error
// then comes. If it returns an error nothing was queued.
func (p *Pool) submit(addr string, timeout time.Duration, out *Outgoing, c *call) error {
	pr, err := p.peer(peerKey{addr, out.Framing.Thrift()})
	if err != nil {
		return fmt.Errorf("%s to %s: %w: %w", out.Code, addr, base.ErrNetworkFailure, err)
	}
	if out.TimeoutMS == 0 {
		out.TimeoutMS = int32(min(timeout.Milliseconds(), math.MaxInt32))
	}
	slot := 0
	if n := uint32(len(pr.conns)); n > 1 {
		if out.Gpid != (base.Gpid{}) {
			slot = int(uint32(out.Gpid.ThreadHash()) % n)
		} else {
			slot = int(pr.next.Add(1) % n)
		}
	}
	now := p.now()
	for try := 0; ; try++ {
		conn, err := pr.conn(slot, now)
		if err != nil {
			return fmt.Errorf("%s to %s: %w: %w", out.Code, addr, base.ErrNetworkFailure, err)
		}
		if err = conn.send(out, c, now, now+timeout.Milliseconds()); err == nil {
			return nil
		}
		if errors.Is(err, base.ErrBusy) || try == 2 {
			return fmt.Errorf("%s to %s: %w", out.Code, addr, err)
		}
		// It ended since it was picked: nothing was sent, so another may be tried.
	}
}

func (p *Pool) peer(key peerKey) (*peer, error) {
	p.mu.RLock()
	pr, closed := p.peers[key], p.closed
	p.mu.RUnlock()
	if closed {
		return nil, errPoolClosed
	}
	if pr != nil {
		return pr, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errPoolClosed
	}
	if pr = p.peers[key]; pr == nil {
		pr = &peer{pool: p, key: key, conns: make([]*clientConn, p.opts.ConnsPerAddr)}
		p.peers[key] = pr
	}
	return pr, nil
}

// conn returns the connection of a slot, begun if there is none.
func (pr *peer) conn(slot int, now int64) (*clientConn, error) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if c := pr.conns[slot]; c != nil && !c.ended.Load() {
		return c, nil
	}
	if now < pr.notUntil {
		return nil, fmt.Errorf("waiting to connect again after: %w", pr.lastErr)
	}
	c := newClientConn(pr)
	pr.conns[slot] = c
	go c.run()
	return c, nil
}

// failed notes that a connection could not be made, or ended before it was of any use.
func (pr *peer) failed(err error) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	o := &pr.pool.opts
	wait := o.BackoffMin << min(pr.failures, 16)
	if wait <= 0 || wait > o.BackoffMax {
		wait = o.BackoffMax
	}
	pr.failures++
	pr.notUntil = pr.pool.now() + wait.Milliseconds()
	pr.lastErr = err
}

// worked notes that an answer came.
func (pr *peer) worked() {
	pr.mu.Lock()
	pr.failures, pr.notUntil, pr.lastErr = 0, 0, nil
	pr.mu.Unlock()
}

// all returns the connections that there are.
func (p *Pool) all() []*clientConn {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var cs []*clientConn
	for _, pr := range p.peers {
		pr.mu.Lock()
		for _, c := range pr.conns {
			if c != nil {
				cs = append(cs, c)
			}
		}
		pr.mu.Unlock()
	}
	return cs
}

// expire ends calls whose time is over. It runs each timeoutTick as long as calls are open.
func (p *Pool) expire() {
	p.armed.Store(false) // before looking: a call registered afterwards arms it again
	open := false
	now := p.now()
	p.clock.Store(now)
	for _, c := range p.all() {
		open = c.expire(now) || open
	}
	if open {
		p.arm()
	}
}

// arm makes expire run soon.
func (p *Pool) arm() {
	if !p.armed.Load() && p.armed.CompareAndSwap(false, true) {
		p.timer.Reset(timeoutTick)
	}
}

// Close breaks all connections; calls in flight and later ones fail.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	for _, c := range p.all() {
		c.end(errPoolClosed)
	}
}
