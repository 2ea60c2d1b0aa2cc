package meta

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/wire"
	"pegasus/rpc"
)

const (
	relayTimeout = 10 * time.Second // of a relayed request that doesn't say; more is added for create
	maxRelay     = time.Minute
)

// redirect answers a request that only the leader can serve, on a server that isn't it.
// Over THFT the answer says so; over RDSN the request is relayed, because C++ clients can
// end on being told another address. While there is no leader the request waits for one, for as long as hold
// says, and once: clients take an answer without an address for an error. 0: it has waited.
func (s *Server) redirect(req *rpc.Request, refusal func(base.ErrorCode) tbin.Encoder, hold time.Duration, again func()) {
	later := func() { req.Guard(again) }
	name := s.quorum.leaderName()
	if hold > 0 && !s.leaderHeard(name) && s.waiting.hold(s, "", hold, later) {
		return
	}
	if name == s.name {
		req.Reply(refusal(base.ErrServiceNotActive)) // elected, and not ready yet
		return
	}
	// What another meta relayed is not relayed again: the two may each believe in the other.
	if name == "" || req.Framing.Thrift() || req.Forwarded || s.members.isMeta(req.FromAddress) || !s.isServing() {
		req.Reply(refusal(base.ErrForwardToOthers))
		return
	}
	timeout := min(time.Duration(req.TimeoutMS)*time.Millisecond, maxRelay)
	if timeout <= 0 {
		timeout = relayTimeout + s.cfg.Meta.CreateWait.D()
	}
	out := rpc.Outgoing{
		Code: req.Code, Gpid: req.Gpid, PartitionHash: req.PartitionHash, Body: req.Body, TimeoutMS: req.TimeoutMS, From: s.self(), Who: "for " + req.Asker(),
	}
	s.pool.Go(name, timeout, out, func(body []byte, err error) {
		var h *rpc.HeaderError
		switch {
		case err == nil:
			req.ReplyBody(base.ErrOK, body)
		case errors.As(err, &h) && h.Code != base.ErrForwardToOthers:
			req.ReplyBody(h.Code, body)
		case neverSent(err) && hold > 0 && s.waiting.hold(s, name, hold, later):
			// Who led just died, and another one is about to be elected.
		default:
			s.log.Debugf("relay %s to the leader: %v", req.Code, err)
			req.Reply(refusal(base.ErrForwardToOthers))
		}
	})
}

// leaderHeard tells whether another meta of that name leads and was heard of lately. Raft goes on naming a leader
// that died until its heartbeats are missed for long enough, and clients that are sent there lose time. There are at least ten
// heartbeats in raft's timeout: after three tenths of it a few are missing.
func (s *Server) leaderHeard(name string) bool {
	return name != "" && name != s.name && time.Since(s.quorum.raft.LastContact()) < s.quorum.raft.ReloadableConfig().HeartbeatTimeout*3/10
}

// neverSent: no connection came about, so the request stayed here.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

const (
	// holdTime is for how long a request waits for a leader: twice what an election takes. Some
	// clients ask each meta only once.
	holdTime = 2500 * time.Millisecond
	// probeHoldTime is that of who only asks who leads, and will ask again.
	probeHoldTime = 500 * time.Millisecond
	holdPoll      = 5 * time.Millisecond
	maxHeld       = 10000
)

// holdUnless is for how long a request may wait that did so already, or not.
func holdUnless(held bool, limit time.Duration) time.Duration {
	if held {
		return 0
	}
	return limit
}

// waitingRoom is where requests wait for a leader. One goroutine looks, while there are some.
type waitingRoom struct {
	mu      mutex
	list    []heldRequest
	looking bool
}

type heldRequest struct {
	until time.Time
	not   string // who doesn't lead any more
	again func()
}

// hold has again called when somebody leads who isn't called not and was heard of, or after limit. It reports false if too
// many requests wait.
func (w *waitingRoom) hold(s *Server, not string, limit time.Duration, again func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.list) >= maxHeld || !s.isServing() {
		return false
	}
	w.list = append(w.list, heldRequest{time.Now().Add(limit), not, again})
	if !w.looking {
		w.looking = true
		go w.look(s)
	}
	return true
}

func (w *waitingRoom) look(s *Server) {
	tick := time.NewTicker(holdPoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
		}
		name, now := s.quorum.leaderName(), time.Now()
		ready, heard := s.leader.Load() != nil, s.leaderHeard(name)
		var due []func()
		w.mu.Lock()
		w.list = slices.DeleteFunc(w.list, func(h heldRequest) bool {
			done := ready || heard && name != h.not || now.After(h.until) || s.ctx.Err() != nil
			if done {
				due = append(due, h.again)
			}
			return done
		})
		w.looking = len(w.list) > 0
		looking := w.looking
		w.mu.Unlock()
		for _, again := range due {
			again()
		}
		if !looking {
			return
		}
	}
}

// leaderAddr is the leader's packed address, 0 if nobody is known to lead.
func (s *Server) leaderAddr() base.RPCAddress {
	if s.leader.Load() != nil {
		return s.self()
	}
	if name := s.quorum.leaderName(); name != "" {
		return s.members.addrOf(name)
	}
	return 0
}

// names returns how nodes are called, or nil if a request is answered without host_port fields.
func (s *Server) names(req *rpc.Request) *wire.Names {
	c := &s.cfg.RPC
	on := c.HostPortOverRDSN
	if req.Framing.Thrift() {
		on = c.HostPortOverThrift || c.HostPortDetect && knowsHostPort(req)
	}
	if !on {
		return nil
	}
	return s.allNames()
}

// allNames returns how nodes are called.
func (s *Server) allNames() *wire.Names {
	if l := s.leader.Load(); l != nil {
		return wire.NewNames(l.nodes.view.Load().hosts)
	}
	return wire.NewNames(nil)
}

// host is the server as routes of services see it.
type host struct{ s *Server }

// Leading returns a service of the present leader.
func (h host) Leading(number int) service.Service {
	if l := h.s.leader.Load(); l != nil {
		return l.services[number]
	}
	return nil
}

// Redirect answers a request that only the leader can serve.
func (h host) Redirect(req *rpc.Request, refusal func(base.ErrorCode) tbin.Encoder, held bool, again func()) {
	h.s.redirect(req, refusal, holdUnless(held, holdTime), again)
}

// Names returns how nodes are called in an answer.
func (h host) Names(req *rpc.Request) *wire.Names { return h.s.names(req) }

// PageNames returns how nodes are called on a page.
func (h host) PageNames() *wire.Names { return h.s.allNames() }

// RedirectPage leads to the leader's page.
func (h host) RedirectPage(q *httpapi.Request) httpapi.Response {
	to := h.s.leaderAddr()
	if to == 0 || to == h.s.self() {
		return httpapi.Text(http.StatusServiceUnavailable, "no meta server leads at present; try again")
	}
	r := httpapi.Text(http.StatusTemporaryRedirect, "")
	r.Location = "http://" + to.String() + "/" + q.Path
	if q.URL.RawQuery != "" {
		r.Location += "?" + q.URL.RawQuery
	}
	return r
}
