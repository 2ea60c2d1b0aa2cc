package blobtest

import (
	"bytes"
	"context"
	"net"
	"sync"
	"syscall"
)

// Marker is what a network that flips looks for in what is sent, and changes.
var Marker = []byte("\x00flip this\x00")

// Network makes connections that fail on command.
type Network struct {
	mu    sync.Mutex
	gone  bool
	flip  bool
	conns map[net.Conn]bool
}

// Dial connects, unless the other side has vanished.
func (n *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	gone := n.gone
	n.mu.Unlock()
	if gone {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns = map[net.Conn]bool{}
	}
	n.conns[c] = true
	return &conn{Conn: c, n: n}, nil
}

// Vanish cuts all connections and refuses new ones, until Return.
func (n *Network) Vanish() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = true
	for c := range n.conns {
		c.Close()
	}
	clear(n.conns)
}

// Return ends what Vanish began.
func (n *Network) Return() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = false
}

// Flip begins or ends to change a byte of each Marker that is sent.
func (n *Network) Flip(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flip = on
}

type conn struct {
	net.Conn
	n *Network
}

func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	flip := c.n.flip
	c.n.mu.Unlock()
	if flip && bytes.Contains(b, Marker) {
		changed := bytes.Clone(Marker)
		changed[1] ^= 1
		b = bytes.ReplaceAll(b, Marker, changed)
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	delete(c.n.conns, c.Conn)
	c.n.mu.Unlock()
	return c.Conn.Close()
}
