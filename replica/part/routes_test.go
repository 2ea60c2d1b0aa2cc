package part

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/replicaadmin"
	"pegasus/httpapi"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

// sample is a feature as others add one.
type sample struct {
	Quiet
	rate int64
	wait time.Duration
}

func (s *sample) Register(r *Routes) {
	Handle(r, base.RPCQueryPNDecree, Slow, s.decree)
	r.Request(base.RPCAddNewDisk, func(req *rpc.Request) { req.ReplyError(base.ErrBusy) })
	r.Page("replica/sample", "A page.", func(q *httpapi.Request) httpapi.Response { return httpapi.Text(http.StatusOK, "here") })
	r.Command(remotecmd.Command{Name: "replica.sample"})
	Live(r, "replica.learn_bytes_per_second", func(n int64) { s.rate = n })
	Live(r, "failure_detector.lease", func(d time.Duration) { s.wait = d })
}

func (s *sample) decree(req *rpc.Request, q *replicaadmin.QueryReplicaDecreeRequest, a *replicaadmin.QueryReplicaDecreeResponse) {
	a.Err, a.LastDecree = base.ErrOK, int64(q.Pid.PartitionIndex)+int64(req.Gpid.AppID)
}

// A request reaches its handler with its argument decoded, and one that is no argument is
// refused; pages, commands and live settings reach who registered them.
func TestRoutes(t *testing.T) {
	mux, router := rpc.NewMux(nil), httpapi.NewRouter()
	routes := NewRoutes(mux, router)
	s := &sample{}
	var p Part = s
	p.Register(routes)
	p.Tick(time.Now())
	p.Collect(nil)
	if err := p.Close(); err != nil {
		t.Fatal(err)
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
	call := func(code string, arg *replicaadmin.QueryReplicaDecreeRequest) (*replicaadmin.QueryReplicaDecreeResponse, error) {
		a := new(replicaadmin.QueryReplicaDecreeResponse)
		return a, pool.Call(ctx, l.Addr().String(), rpc.Outgoing{Code: code, Gpid: base.Gpid{AppID: 40}, Arg: arg}, a)
	}
	if a, err := call(base.RPCQueryPNDecree, &replicaadmin.QueryReplicaDecreeRequest{Pid: base.Gpid{PartitionIndex: 2}}); err != nil || a.LastDecree != 42 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := call(base.RPCAddNewDisk, &replicaadmin.QueryReplicaDecreeRequest{}); base.CodeOf(err) != base.ErrBusy {
		t.Errorf("%v", err)
	}

	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/replica/sample", nil))
	if w.Code != http.StatusOK || w.Body.String() != "here" {
		t.Errorf("page: %d %s", w.Code, w.Body)
	}
	if cs := routes.Commands(); len(cs) != 1 || cs[0].Name != "replica.sample" {
		t.Errorf("commands: %+v", cs)
	}
	c := config.Default()
	for path, value := range map[string]string{"replica.learn_bytes_per_second": "12345", "failure_detector.lease": "7s"} {
		if err := c.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	for _, apply := range routes.Mutable() {
		apply(c)
	}
	if s.rate != 12345 || s.wait != 7*time.Second {
		t.Errorf("settings: %+v", s)
	}
}

// A live setting that can't work is found when the server starts.
func TestLiveMistakes(t *testing.T) {
	for name, register := range map[string]func(*Routes){
		"no such key":     func(r *Routes) { Live(r, "replica.nosuch", func(int64) {}) },
		"not a string":    func(r *Routes) { Live(r, "replica.learn_bytes_per_second", func(string) {}) },
		"twice":           func(r *Routes) { r.Reload(func(config.Config) {}, "logging.level", "logging.level") },
		"by two features": func(r *Routes) { (&sample{}).Register(r); Live(r, "failure_detector.lease", func(time.Duration) {}) },
	} {
		func() {
			defer func() {
				if p, _ := recover().(string); !strings.Contains(p, "live setting") {
					t.Errorf("%s: %q", name, p)
				}
			}()
			register(NewRoutes(rpc.NewMux(nil), httpapi.NewRouter()))
		}()
	}
}
