package service

import (
	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/httpapi"
	"pegasus/meta/wire"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

// Host is the server that routes belong to.
type Host interface {
	// Leading returns the service of that number, as long as the server leads, else nil.
	Leading(number int) Service
	// Redirect answers a request that only the leader can serve, on a server that isn't it. While nobody
	// leads it may call again later, once; then held is true.
	Redirect(req *rpc.Request, refusal func(base.ErrorCode) tbin.Encoder, held bool, again func())
	// RedirectPage is that for a page.
	RedirectPage(q *httpapi.Request) httpapi.Response
	// Names returns how nodes are called in the answer to a request.
	Names(*rpc.Request) *wire.Names
	// PageNames returns how they are called on pages.
	PageNames() *wire.Names
}

// Routes are what services serve.
type Routes struct {
	host     Host
	mux      *rpc.Mux
	number   int // of the service that registers
	pages    []Route
	commands []remotecmd.Command
}

// Route is a page.
type Route struct {
	Path, Help string
	Serve      httpapi.Page
}

// NewRoutes returns routes that register requests with mux.
func NewRoutes(host Host, mux *rpc.Mux) *Routes { return &Routes{host: host, mux: mux} }

// Add registers what a service serves; number is what Host.Leading knows it by.
func (r *Routes) Add(number int, s Service) {
	r.number = number
	s.Register(r)
}

// Pages returns the pages that were registered.
func (r *Routes) Pages() []Route { return r.pages }

// Commands returns the remote commands that were registered.
func (r *Routes) Commands() []remotecmd.Command { return r.commands }

// Command adds a remote command, which every meta has, whether it leads or not.
func (r *Routes) Command(c remotecmd.Command) { r.commands = append(r.commands, c) }

// Call is a request, or a page, that is being answered.
type Call struct {
	Req   *rpc.Request // nil: a page
	From  string       // who asks
	Names *wire.Names  // nil: the answer has no host_port fields
}

// Complain notes why a request is refused where the answer can't say it.
func (c *Call) Complain(err error) {
	if c.Req != nil {
		c.Req.Complain(err)
	}
}

// asker names who sent a request.
func asker(req *rpc.Request) string {
	if req.Forwarded {
		return req.Asker() + ", a meta server that relayed it"
	}
	return req.Asker()
}

// Pace says where a handler runs.
type Pace bool

const (
	// Fast handlers never wait.
	Fast Pace = false
	// Slow handlers may wait, and run on a goroutine of their own.
	Slow Pace = true
)

// of is a pointer to a service's type.
type of[S any] interface {
	*S
	Service
}

// decoder and answer are pointers to the struct types of gen.
type decoder[T any] interface {
	*T
	tbin.Decoder
}

type answer[T any] interface {
	*T
	tbin.Encoder
	SetErr(base.ErrorCode)
}

// Handle registers the handler of a request that only the leader serves. h fills the answer.
func Handle[S, Q, R any, PS of[S], PQ decoder[Q], PR answer[R]](r *Routes, code string, pace Pace, h func(s PS, c *Call, q *Q, a *R)) {
	HandleFrom[S, Q, R, PS, PQ, PR](r, code, pace, func() (a R) { return a }, h)
}

// HandleFrom is Handle for an answer that begins with what fresh returns, also where the
// request is refused.
func HandleFrom[S, Q, R any, PS of[S], PQ decoder[Q], PR answer[R]](r *Routes, code string, pace Pace, fresh func() R, h func(s PS, c *Call, q *Q, a *R)) {
	host, number := r.host, r.number
	refusal := func(code base.ErrorCode) tbin.Encoder {
		a := fresh()
		PR(&a).SetErr(code)
		return PR(&a)
	}
	var handle func(req *rpc.Request, held bool)
	handle = func(req *rpc.Request, held bool) {
		s, ok := host.Leading(number).(PS)
		if !ok {
			host.Redirect(req, refusal, held, func() { handle(req, true) })
			return
		}
		q := new(Q)
		if err := req.DecodeArg(PQ(q)); err != nil {
			req.Refuse(base.ErrInvalidData, err)
			return
		}
		c := &Call{Req: req, From: asker(req), Names: host.Names(req)}
		serve := func() {
			a := fresh()
			h(s, c, q, &a)
			req.Reply(PR(&a))
		}
		if pace == Fast {
			serve()
			return
		}
		req.Go(serve)
	}
	r.mux.HandleFunc(code, func(req *rpc.Request) { handle(req, false) })
}

// Refuse registers a request of a service of type S that is answered with an error code alone.
func Refuse[S, Q, R any, PS of[S], PQ decoder[Q], PR answer[R]](r *Routes, code string, err base.ErrorCode) {
	Handle[S, Q, R, PS, PQ, PR](r, code, Fast, func(_ PS, _ *Call, _ *Q, a *R) { PR(a).SetErr(err) })
}

// Page registers a page that only the leader has; others lead there.
func Page[S any, PS of[S]](r *Routes, path, help string, h func(s PS, c *Call, q *httpapi.Request) httpapi.Response) {
	host, number := r.host, r.number
	r.pages = append(r.pages, Route{path, help, func(q *httpapi.Request) httpapi.Response {
		s, ok := host.Leading(number).(PS)
		if !ok {
			return host.RedirectPage(q)
		}
		return h(s, &Call{From: q.Asker(), Names: host.PageNames()}, q)
	}})
}
