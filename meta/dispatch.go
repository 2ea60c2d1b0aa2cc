package meta

import (
	"errors"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/rpc"
)

const (
	relayTimeout = 10 * time.Second // of a relayed request that doesn't say; more is added for create
	relayMost    = time.Minute
)

// call is a request that a leader answers.
type call struct {
	*leader
	req   *rpc.Request
	names *names // nil: the answer has no host_port fields
}

// decoder and encoder are pointers to the struct types of gen.
type decoder[T any] interface {
	*T
	tbin.Decoder
}

type encoder[T any] interface {
	*T
	tbin.Encoder
}

// onLeader registers a handler that only the leader runs. h fills the answer, whose err
// field setErr sets; slow ones may wait and run on a goroutine of their own.
func onLeader[Q, R any, PQ decoder[Q], PR encoder[R]](s *Server, mux *rpc.Mux, code string, slow bool, setErr func(*R, base.ErrorCode), h func(c *call, q *Q, r *R)) {
	refusal := func(code base.ErrorCode) tbin.Encoder {
		var r R
		setErr(&r, code)
		return PR(&r)
	}
	mux.HandleFunc(code, func(req *rpc.Request) {
		l := s.leader.Load()
		if l == nil {
			s.redirect(req, refusal)
			return
		}
		q := new(Q)
		if err := req.DecodeArg(PQ(q)); err != nil {
			req.Refuse(base.ErrInvalidData, err)
			return
		}
		c := &call{leader: l, req: req, names: s.names(req.Framing)}
		serve := func() {
			var r R
			h(c, q, &r)
			req.Reply(PR(&r))
		}
		if !slow {
			serve()
			return
		}
		go serve()
	})
}

// redirect answers a request that only the leader can serve, on a server that isn't it.
// Over THFT the answer says so; over RDSN the request is relayed, because C++ clients can
// end on being told another address.
func (s *Server) redirect(req *rpc.Request, refusal func(base.ErrorCode) tbin.Encoder) {
	name := s.quorum.leaderName()
	if name == s.name {
		req.Reply(refusal(base.ErrServiceNotActive)) // elected, and not ready yet
		return
	}
	// What another meta relayed is not relayed again: the two may each believe in the other.
	if name == "" || req.Framing.Thrift() || req.Forwarded || s.isMeta(req.FromAddress) || !s.isServing() {
		req.Reply(refusal(base.ErrForwardToOthers))
		return
	}
	timeout := min(time.Duration(req.TimeoutMS)*time.Millisecond, relayMost)
	if timeout <= 0 {
		timeout = relayTimeout + s.cfg.Meta.CreateWait.D()
	}
	out := rpc.Outgoing{
		Code: req.Code, Gpid: req.Gpid, PartitionHash: req.PartitionHash, Body: req.Body, TimeoutMS: req.TimeoutMS, From: s.self,
	}
	s.pool.Go(name, timeout, out, func(body []byte, err error) {
		var h *rpc.HeaderError
		switch {
		case err == nil:
			req.ReplyBody(base.ErrOK, body)
		case errors.As(err, &h) && h.Code != base.ErrForwardToOthers:
			req.ReplyBody(h.Code, body)
		default:
			s.log.Debugf("relay %s to the leader: %v", req.Code, err)
			req.Reply(refusal(base.ErrForwardToOthers))
		}
	})
}

// leaderAddr is the leader's packed address, 0 if nobody is known to lead.
func (s *Server) leaderAddr() base.RPCAddress {
	if s.leader.Load() != nil {
		return s.self
	}
	if name := s.quorum.leaderName(); name != "" {
		return s.addrOf(name)
	}
	return 0
}
