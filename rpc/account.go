package rpc

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// class says whose memory a connection uses. Each class has a budget of its own, so that no
// number of clients leaves nothing for the servers of the cluster.
type class int32

const (
	clients class = iota
	// claimed: its requests are those of a server of the cluster; whether it is one is not
	// known yet. A stranger can say so too, so it gets little.
	claimed
	// peers: a handler took it for a server of the cluster, see Request.Vouch.
	peers
	classes
)

// parts are the classes' shares of rpc.max_in_flight_bytes, in sixteenths.
var parts = [classes]int64{clients: 11, claimed: 1, peers: 4}

// budget bounds the memory that the connections of one class use: frames that are received,
// requests read and not yet answered, large answers while they are made and until they are sent.
//
// It can't deadlock: what makes somebody wait is given back by handlers and writers, who never
// wait for it, with two exceptions. A frame that is received in parts, and an answer that is
// being made, hold what they have while they wait for more. Frames in parts grow up to half of
// the limit, answers up to three quarters, and one of each at a time is exempt: so one always
// gets on and then frees what it has. No answer becomes exempt while those that are made and
// not sent yet take more than half: they are freed without it, and would add up otherwise.
type budget struct {
	limit   int64
	used    atomic.Int64
	unsent  atomic.Int64 // of used: output that isn't written yet
	waiters atomic.Int32

	mu     sync.Mutex
	cond   sync.Cond
	exempt [growths]bool // one of the kind is
}

// growth is what grows while it holds memory.
type growth int

const (
	ofFrames growth = iota
	ofAnswers
	growths
)

// maxOf returns up to what use of the whole a growth is granted, without an exemption.
func (b *budget) maxOf(k growth) int64 {
	if k == ofFrames {
		return b.limit / 2
	}
	return b.limit / 4 * 3
}

// maxUnsent is what output may take when an answer becomes exempt.
func (b *budget) maxUnsent() int64 { return b.limit / 2 }

func newBudget(limit int64) *budget {
	b := &budget{limit: limit}
	b.cond.L = &b.mu
	return b
}

// low is what use must fall to before those that wait go on: a little below the limit, so
// that they aren't woken for each answer.
func low(limit int64) int64 { return limit - limit/8 }

// kick makes everybody who waits look again.
func (b *budget) kick() {
	b.mu.Lock()
	b.cond.Broadcast()
	b.mu.Unlock()
}

func (b *budget) crowded() bool { return b.waiters.Load() > 0 }

// account is what the connections from one address use of a budget. One address gets no more
// than half, so that whoever asks for too much leaves something for others.
type account struct {
	b    *budget
	used atomic.Int64
}

// most is an account's share.
func (a *account) max() int64 { return a.b.limit / 2 }

// add charges n bytes, or gives them back if n is negative. It never waits.
func (a *account) add(n int64) {
	a.used.Add(n)
	if u := a.b.used.Add(n); n < 0 && a.b.waiters.Load() > 0 && u <= low(a.b.limit) {
		a.b.kick()
	}
}

// addOutput is add for output that waits to be written.
func (a *account) addOutput(n int64) {
	u := a.b.unsent.Add(n)
	a.add(n)
	if n < 0 && u <= a.b.maxUnsent() && u-n > a.b.maxUnsent() && a.b.waiters.Load() > 0 {
		a.b.kick()
	}
}

func (a *account) over() bool { return a.used.Load() > a.max() || a.b.used.Load() > a.b.limit }

// wait returns once the use is below the limits again, or stop says true.
func (a *account) wait(stop func() bool) {
	a.await(func() bool {
		return a.b.used.Load() <= low(a.b.limit) && a.used.Load() <= low(a.max()) || stop()
	})
}

// await returns once done says true, which is asked whenever use falls.
func (a *account) await(done func() bool) {
	b := a.b
	b.waiters.Add(1)
	b.mu.Lock()
	for !done() {
		b.cond.Wait()
	}
	b.mu.Unlock()
	b.waiters.Add(-1)
}

// fits tells whether n bytes more may be had for a growth.
func (a *account) fits(k growth, n int64) bool {
	most := a.b.maxOf(k)
	return a.b.used.Load()+n <= most && a.used.Load()+n <= most/2
}

// tryGrow charges n bytes for what grows, if that needs no waiting.
func (a *account) tryGrow(k growth, n int64, exempt bool) bool {
	if !exempt && !a.fits(k, n) {
		return false
	}
	a.add(n)
	return true
}

// grow is tryGrow that waits for room, or until it may make this the exempt one, which it
// tells by *exempt. It reports false, and charges nothing, when stop says true.
func (a *account) grow(k growth, n int64, exempt *bool, stop func() bool) bool {
	if a.tryGrow(k, n, *exempt) {
		return true
	}
	b := a.b
	b.waiters.Add(1)
	defer b.waiters.Add(-1)
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case stop():
			return false
		case a.fits(k, n):
			a.add(n)
			return true
		case !b.exempt[k] && (k == ofFrames || b.unsent.Load() <= b.maxUnsent()):
			b.exempt[k], *exempt = true, true
			a.add(n)
			return true
		}
		b.cond.Wait()
	}
}

// dropExempt ends the exemption of what is complete or given up.
func (a *account) dropExempt(k growth, exempt *bool) {
	if !*exempt {
		return
	}
	*exempt = false
	a.b.mu.Lock()
	a.b.exempt[k] = false
	a.b.cond.Broadcast()
	a.b.mu.Unlock()
}

// origin is an address that connections come from.
type origin struct {
	conns    int // that are open; under Server.mu
	peers    int // of these, of servers of the cluster; under Server.mu
	accounts [classes]account
}

func (s *Server) newOrigin() *origin {
	o := new(origin)
	for k := range o.accounts {
		o.accounts[k].b = s.budgets[k]
	}
	return o
}

// unused tells whether nothing of an address is open or counted any more.
func (o *origin) unused() bool {
	if o.conns > 0 {
		return false
	}
	for k := range o.accounts {
		if o.accounts[k].used.Load() != 0 {
			return false
		}
	}
	return true
}

// originOf returns what is known of an address. mu is held.
func (s *Server) originOf(a netip.Addr) *origin {
	o := s.origins[a]
	if o == nil {
		o = s.newOrigin()
		s.origins[a] = o
	}
	return o
}

// forget drops what is known of addresses that nothing is left of. Those that went while
// something of them was counted are kept until then: closing a connection is no way to a new
// share.
func (s *Server) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a, o := range s.origins {
		if o.unused() {
			delete(s.origins, a)
		}
	}
}

// inFlight returns the bytes counted in all.
func (s *Server) inFlight() int64 {
	n := int64(0)
	for _, b := range s.budgets {
		n += b.used.Load()
	}
	return n
}

// unlimited returns an account that holds nobody up.
func unlimited() *account { return &account{b: newBudget(math.MaxInt64 / 4)} }

// While somebody waits for memory, the server is stricter with those that hold it: a frame of
// which nothing comes for crowdedSilence, and a frame or an answer that gets on more slowly than
// crowdedRate after crowdedGrace, ends its connection.
const (
	crowdedSilence = 2 * time.Second
	crowdedGrace   = 4 * time.Second
	crowdedRate    = 64 << 10 // bytes a second
)

// Vouch says that whoever sent r is a server of the cluster, which the handler has made sure
// of: its connection then uses memory, and a place among the connections, that are kept for
// servers. It may be called until r is answered.
func (r *Request) Vouch() {
	if r.conn.class.Load() != int32(peers) {
		r.conn.setClass(peers)
	}
}

// Reserve counts n bytes more as memory for the answer to r, and waits until they may be had.
// It reports false, and counts nothing, if the connection ends or the client would wait no
// longer. It must not be called by ServeRPC itself, but on a goroutine of the request's own.
// Reservations of one request must not be concurrent, with each other or the answer; they are
// given back with it.
func (r *Request) Reserve(n int64) bool {
	a := r.account()
	c := r.conn
	deadline := time.Now().Add(r.patience())
	stop := func() bool { return c.s.gone.Load() || time.Now().After(deadline) }
	if !a.grow(ofAnswers, n, &r.exempt, stop) {
		return false
	}
	r.held += n
	return true
}

// TryReserve is Reserve that doesn't wait: it reports whether the bytes could be had at once.
// After one that couldn't nothing more is read from the connection until there is memory.
func (r *Request) TryReserve(n int64) bool {
	if r.account().tryGrow(ofAnswers, n, r.exempt) {
		r.held += n
		return true
	}
	r.conn.heavy.Store(true)
	return false
}

// Announce counts n bytes as memory that the answer to r will take, whether there are or not,
// and makes the connection's reader look, before it hands on the next request, whether there
// is memory for more. What the answer then takes beyond must be reserved.
func (r *Request) Announce(n int64) {
	r.account().add(n)
	r.held += n
	r.conn.heavy.Store(true)
}

// Withdraw gives back what is counted for the answer to r: it is not made yet.
func (r *Request) Withdraw() {
	if r.held != 0 {
		r.account().add(-r.held)
		r.held = 0
	}
	if r.exempt {
		r.account().dropExempt(ofAnswers, &r.exempt)
	}
}

// Crowded tells that requests and answers take all the memory that they may: a handler that can
// make do with less should.
func (r *Request) Crowded() bool {
	a := r.account()
	return a.over() || !a.fits(ofAnswers, 0)
}

// account is what an answer is counted by: reads are for clients, whoever asks.
func (r *Request) account() *account { return &r.conn.origin.accounts[clients] }

// patience is how long the client of r is taken to wait for its answer.
func (r *Request) patience() time.Duration {
	const usual, most = 10 * time.Second, time.Minute
	if r.TimeoutMS > 0 {
		return min(time.Duration(r.TimeoutMS)*time.Millisecond, most)
	}
	return usual
}
