package part

import (
	"fmt"
	"net/http"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	"pegasus/httpapi"
	"pegasus/remotecmd"
	"pegasus/rpc"
)

// Routes are what parts serve.
type Routes struct {
	mux      *rpc.Mux
	router   *httpapi.Router
	commands []remotecmd.Command
	live     map[string]func(config.Config)
}

// NewRoutes returns routes that register requests with mux and pages with router.
func NewRoutes(mux *rpc.Mux, router *httpapi.Router) *Routes {
	return &Routes{mux: mux, router: router, live: map[string]func(config.Config){}}
}

// Request registers a handler that answers by itself. It runs on the goroutine that reads the
// connection, and must not wait.
func (r *Routes) Request(code string, h func(*rpc.Request)) { r.mux.HandleFunc(code, h) }

// Page registers a page.
func (r *Routes) Page(path, help string, p httpapi.Page) { r.router.Page(path, help, p) }

// Raw registers a handler for path, without its leading slash, and all below it.
func (r *Routes) Raw(path string, h http.Handler) { r.router.Raw(path, h) }

// Command adds remote commands.
func (r *Routes) Command(cs ...remotecmd.Command) { r.commands = append(r.commands, cs...) }

// Commands returns the remote commands that were registered.
func (r *Routes) Commands() []remotecmd.Command { return r.commands }

// Mutable returns the keys that can be changed while the server runs, and what puts the new
// configuration into effect.
func (r *Routes) Mutable() map[string]func(config.Config) { return r.live }

// Reload has apply called with the new configuration when one of the keys ("section.name")
// is changed. It is for who hosts parts; a part takes values, by Live.
func (r *Routes) Reload(apply func(config.Config), keys ...string) {
	for _, k := range keys {
		if r.live[k] != nil {
			panic(fmt.Sprintf("the live setting %s is registered twice", k))
		}
		r.live[k] = apply
	}
}

// Live has set called when the key ("section.name") is changed while the server runs. T is the
// type of its value: string, bool, int, int64, float64, []string or time.Duration; another one
// panics.
func Live[T any](r *Routes, key string, set func(T)) {
	c := config.Default()
	if v, ok := c.Value(key).(T); !ok {
		panic(fmt.Sprintf("the live setting %s has a value of %T, not %T", key, c.Value(key), v))
	}
	r.Reload(func(c config.Config) { set(c.Value(key).(T)) }, key)
}

// Pace says where a handler runs.
type Pace bool

const (
	// Fast handlers never wait: they run on the goroutine that reads the connection.
	Fast Pace = false
	// Slow handlers may wait, and run on a goroutine of their own.
	Slow Pace = true
)

// decoder and encoder are pointers to the struct types of gen.
type decoder[T any] interface {
	*T
	tbin.Decoder
}

type encoder[T any] interface {
	*T
	tbin.Encoder
}

// Handle registers the handler of a request, which fills the answer. req is for what the
// argument doesn't say: who asks, for which partition.
func Handle[Q, R any, PQ decoder[Q], PR encoder[R]](r *Routes, code string, pace Pace, h func(req *rpc.Request, q *Q, a *R)) {
	r.mux.HandleFunc(code, func(req *rpc.Request) {
		q := new(Q)
		if err := req.DecodeArg(PQ(q)); err != nil {
			req.Refuse(base.ErrInvalidData, err)
			return
		}
		serve := func() {
			var a R
			h(req, q, &a)
			req.Reply(PR(&a))
		}
		if pace == Fast {
			serve()
			return
		}
		req.Go(serve)
	})
}
