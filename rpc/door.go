package rpc

import (
	"cmp"
	"net"
	"net/http"
	"strings"
	"time"

	"pegasus/acl"
	"pegasus/base"
)

// Security decides who is at the other end of connections, and what he may do.
type Security interface {
	// Knows tells whether a connection that begins with these four bytes begins with a proof.
	Knows(first []byte) bool
	// Open takes the proof. nc begins with those four bytes. It returns what to go on with: nc, or what
	// covers it. It must read no byte of nc that it doesn't need; nc is closed if it takes too long.
	Open(nc net.Conn) (net.Conn, acl.Principal, error)
	// May returns nil if who may send a request of that name, else an error that says why not. A yes holds
	// as long as the connection does.
	May(who acl.Principal, code string) error
	// MayOpen is May for a page, whose path has no leading slash.
	MayOpen(who acl.Principal, path string) error
}

// openTimeout is how long a proof may take.
const openTimeout = 10 * time.Second

// maxProofs is how many may lie within each other.
const maxProofs = 2

// rights are the requests, by their index, of which it is known that the peer may send them.
type rights [maxKnownCodes / 64]uint64

// may tells whether the peer may send r, which it answers if not.
func (c *serverConn) may(sec Security, r *Request) bool {
	known := &c.rights[0]
	bit := uint64(0)
	if k := r.known; k != nil {
		known, bit = &c.rights[k.index/64], 1<<(k.index%64)
	}
	if *known&bit != 0 {
		return true
	}
	err := sec.May(c.who, r.Code)
	if err == nil {
		*known |= bit
		return true
	}
	c.srv.denied.Add(1)
	c.srv.complaints.warnf("refusing %s from %v: %v", r.Code, c.remote, err)
	internal := r.known != nil && r.known.server
	r.ReplyError(base.ErrACLDeny)
	if internal {
		// A server whose connection is older than what is asked of it now: it connects anew.
		c.beginDrain()
	}
	return false
}

// open takes the proof that the connection begins with.
func (c *serverConn) open(sec Security) error {
	c.partTimeout.Store(openTimeout.Milliseconds())
	c.partSince.Store(c.srv.clock.Load())
	under := cmp.Or(c.covered, c.nc)
	b := &begun{Conn: under, c: c}
	nc, who, err := sec.Open(b)
	if err != nil {
		return badFrame("%v", err)
	}
	c.who = who
	if nc != b {
		b.head, b.done = append(b.head, c.r.unparsed()...), true
		c.cover(nc)
	}
	if who.Kind == acl.Server && !c.setClass(peers) {
		return errClaims
	}
	c.partial = false
	c.partSince.Store(0)
	return nil
}

// cover has everything go through nc from now on, which reads from and writes to the connection itself.
func (c *serverConn) cover(nc net.Conn) {
	nc = &covered{Conn: nc, under: c.nc}
	c.covered = nc
	c.r.cover(nc)
	c.s.mu.Lock()
	c.s.nc, c.s.raw = nc, nil
	c.s.mu.Unlock()
}

// begun is a connection of which bytes were read into its frame reader.
type begun struct {
	net.Conn
	c    *serverConn
	head []byte // what was left there when something began to cover the connection
	done bool   // it is covered: what is read there now came through the cover
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	if !b.done {
		if u := b.c.r.unparsed(); len(u) > 0 {
			n := copy(p, u)
			b.c.r.consume(n)
			return n, nil
		}
	}
	n, err := b.Conn.Read(p)
	b.c.lastRead.Store(b.c.srv.clock.Load())
	return n, err
}

// covered is what covers a connection. It ends at once, without a farewell that might block.
type covered struct {
	net.Conn
	under net.Conn
}

func (c *covered) Close() error { return c.under.Close() }

// CloseWrite is what net/http ends a connection with before it closes it.
func (c *covered) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

type whoKey struct{}

// guarded lets requests for pages through to h that sec allows.
func guarded(sec Security, h http.Handler) http.Handler {
	if sec == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		who, _ := q.Context().Value(whoKey{}).(acl.Principal)
		segments := strings.FieldsFunc(q.URL.Path, func(r rune) bool { return r == '/' })
		if err := sec.MayOpen(who, strings.Join(segments, "/")); err != nil {
			w.Header().Set("Connection", "close") // who has more to prove connects anew
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, q)
	})
}
