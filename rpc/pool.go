package rpc

import (
	"context"
	"net"
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
}

// PoolOptions configure a Pool. The zero value is usable.
type PoolOptions struct {
	ConnsPerAddr   int                                                      // connections to one address and kind of framing; 0: 1
	DialTimeout    time.Duration                                            // 0: 2 s
	DefaultTimeout time.Duration                                            // of a Call whose context has no deadline; 0: 10 s
	BackoffMin     time.Duration                                            // wait after a failed dial, doubled each time; 0: 20 ms
	BackoffMax     time.Duration                                            // 0: 1 s
	StallTimeout   time.Duration                                            // a connection that is silent for this long when a call times out is replaced; 0: 3 s
	MaxFrameBytes  int64                                                    // longest answer; 0: 64 MiB
	MaxQueuedBytes int64                                                    // unsent bytes of one connection, above which calls fail with ERR_BUSY; 0: 64 MiB
	Dial           func(ctx context.Context, addr string) (net.Conn, error) // nil: TCP
	Log            *logrus.Entry
}

// Pool keeps connections to servers, shared by all callers. The calls of one partition to
// one address travel on one connection, in the order they were made.
type Pool struct {
	opts PoolOptions
}

// NewPool returns a Pool; it opens connections when they are needed.
func NewPool(opts PoolOptions) *Pool { return &Pool{opts: opts} }

// Call sends out to addr ("ip:port" or "name:port"), waits for the answer and decodes it
// into res (nil: it is not looked at); res may keep slices of it. An error in the answer's
// header comes back as *HeaderError, which wraps the base.ErrorCode. A connection that
// can't be made or breaks wraps base.ErrNetworkFailure and its cause; ctx's deadline wraps
// base.ErrTimeout. One-way calls return when they are queued.
func (p *Pool) Call(ctx context.Context, addr string, out Outgoing, res tbin.Decoder) error {
	return nil
}

// Go sends out to addr and returns at once. done is called exactly once, never by Go
// itself: on the connection's reader goroutine with the answer's body, which is valid only
// until done returns, or with an error as Call's. done must not block. For a one-way
// message done may be nil and is told nothing but that it was queued.
func (p *Pool) Go(addr string, timeout time.Duration, out Outgoing, done func(body []byte, err error)) {
}

// Close breaks all connections; calls in flight and later ones fail.
func (p *Pool) Close() {}
