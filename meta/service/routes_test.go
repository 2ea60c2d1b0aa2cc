package service

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/metaquorum"
	"pegasus/gen/placement"
	"pegasus/httpapi"
	"pegasus/meta/wire"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

const (
	codeAsk    = base.RPCRebalance
	codeRefuse = base.RPCQuorumBackup
	codeBusy   = base.RPCExplain
)

// sample is a feature as others add one.
type sample struct {
	Quiet
	name string
}

func (*sample) Register(r *Routes) {
	Handle(r, codeAsk, Slow, (*sample).ask)
	Refuse[sample, metaquorum.QuorumBackupRequest, metaquorum.QuorumBackupResponse](r, codeRefuse, base.ErrServiceNotActive)
	hint := func() placement.ExplainResponse {
		return placement.ExplainResponse{HintMessage: "ready"}
	}
	HandleFrom(r, codeBusy, Fast, hint, func(_ *sample, _ *Call, _ *placement.ExplainRequest, a *placement.ExplainResponse) {
		a.Err = base.ErrBusy
	})
	Page(r, "meta/sample", "A page.", (*sample).page)
	r.Command(remotecmd.Command{Name: "sample"})
}

func (s *sample) ask(c *Call, q *placement.RebalanceRequest, a *placement.RebalanceResponse) {
	a.Err, a.AppName, a.HintMessage = base.ErrOK, q.AppName, s.name
	if c.Names == nil || c.Req == nil {
		a.Err = base.ErrUnknown
	}
}

func (s *sample) page(c *Call, q *httpapi.Request) httpapi.Response {
	return httpapi.Text(http.StatusOK, s.name+" "+q.Path)
}

// other is a service that has nothing of sample's.
type other struct{ Quiet }

func (*other) Register(*Routes) {}

// fakeHost leads if it has services.
type fakeHost struct{ leads atomic.Pointer[[]Service] }

func (h *fakeHost) Leading(number int) Service {
	if l := h.leads.Load(); l != nil {
		return (*l)[number]
	}
	return nil
}

func (h *fakeHost) Redirect(req *rpc.Request, refusal func(base.ErrorCode) tbin.Encoder, _ bool, _ func()) {
	req.Reply(refusal(base.ErrForwardToOthers))
}

func (h *fakeHost) RedirectPage(*httpapi.Request) httpapi.Response {
	return httpapi.Text(http.StatusTemporaryRedirect, "elsewhere")
}
func (h *fakeHost) Names(*rpc.Request) *wire.Names { return wire.NewNames(nil) }
func (h *fakeHost) PageNames() *wire.Names         { return wire.NewNames(nil) }

// A request goes to the service of the present leader by its number, whatever type registered
// it; who doesn't lead says so in the answer's own form.
func TestRoutes(t *testing.T) {
	host, mux := &fakeHost{}, rpc.NewMux(nil)
	routes := NewRoutes(host, mux)
	for i, s := range []Service{&other{}, &sample{}} {
		routes.Add(i, s)
	}
	if len(routes.Commands()) != 1 || len(routes.Pages()) != 1 || routes.Pages()[0].Path != "meta/sample" {
		t.Fatalf("%d commands, pages %+v", len(routes.Commands()), routes.Pages())
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := rpc.NewServer(rpc.ServerOptions{}, mux, nil, nil)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	pool := rpc.NewPool(rpc.PoolOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer func() {
		pool.Close()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		cancel()
	}()
	call := func(code string, q tbin.Encoder, a tbin.Decoder) {
		t.Helper()
		if err := pool.Call(ctx, l.Addr().String(), rpc.Outgoing{Code: code, Arg: q}, a); err != nil {
			t.Fatalf("%s: %v", code, err)
		}
	}
	page := func() httpapi.Response {
		return routes.Pages()[0].Serve(&httpapi.Request{Request: &http.Request{}, Path: "meta/sample"})
	}
	for _, c := range []struct {
		name                 string
		leads                []Service
		ask, refuse, explain base.ErrorCode
		hint                 string
		page                 int
	}{
		{"no leader", nil, base.ErrForwardToOthers, base.ErrForwardToOthers, base.ErrForwardToOthers, "", http.StatusTemporaryRedirect},
		{"a leader", []Service{&other{}, &sample{name: "first"}}, base.ErrOK, base.ErrServiceNotActive, base.ErrBusy, "first", http.StatusOK},
		{"the next one", []Service{&other{}, &sample{name: "second"}}, base.ErrOK, base.ErrServiceNotActive, base.ErrBusy, "second", http.StatusOK},
	} {
		host.leads.Store(nil)
		if c.leads != nil {
			host.leads.Store(&c.leads)
		}
		var a placement.RebalanceResponse
		call(codeAsk, &placement.RebalanceRequest{AppName: "shop"}, &a)
		if a.Err != c.ask || a.HintMessage != c.hint || c.hint != "" && a.AppName != "shop" {
			t.Errorf("%s: %+v", c.name, a)
		}
		var b metaquorum.QuorumBackupResponse
		call(codeRefuse, &metaquorum.QuorumBackupRequest{}, &b)
		if b.Err != c.refuse {
			t.Errorf("%s: %+v", c.name, b)
		}
		var e placement.ExplainResponse
		call(codeBusy, &placement.ExplainRequest{}, &e)
		if e.Err != c.explain || e.HintMessage != "ready" {
			t.Errorf("%s: %+v", c.name, e)
		}
		if p := page(); p.Status != c.page {
			t.Errorf("%s: page %+v", c.name, p)
		}
	}
}
