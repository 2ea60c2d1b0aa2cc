package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/pprof"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
	"pegasus/base/logging"
	"pegasus/metrics"
)

// Server is what the common pages show of a server.
type Server struct {
	Version, Revision string
	Started           time.Time
	Role              string // "meta" or "replica"
	Port              int
	Config            config.Config
	// Mutable are the keys ("section.name") that can be changed while the server runs, and
	// what puts the new configuration into effect.
	Mutable map[string]func(config.Config)
	// Collect fills a Snapshot with the server's metrics.
	Collect func(*metrics.Snapshot)
	// Log notes changes of the configuration; nil: nowhere.
	Log *logrus.Entry
	// Ready says why the server doesn't serve at present; "" if it does.
	Ready func() string
}

// common is the state of the common pages.
type common struct {
	s    Server
	host string
	prom *metrics.Prometheus
	// levels of the log, nil if there is none. Remote commands change them, too.
	levels *logging.Levels
	mu     sync.Mutex
	cfg    config.Config
}

// look takes over what remote commands have changed. c.mu is held.
func (c *common) look() {
	if c.levels != nil {
		c.cfg.Log.Level, c.cfg.Log.Packages = c.levels.Get()
	}
}

// Common adds the pages that every server has.
func (r *Router) Common(s Server) {
	c := &common{s: s, cfg: s.Config, prom: metrics.NewPrometheus(s.Config.Metrics.ReplicaSeries, s.Config.Metrics.MaxSeries)}
	c.s.Mutable = maps.Clone(s.Mutable)
	if c.s.Mutable == nil {
		c.s.Mutable = map[string]func(config.Config){}
	}
	limit := func(cfg config.Config) { c.prom.Limit(cfg.Metrics.ReplicaSeries, cfg.Metrics.MaxSeries) }
	c.s.Mutable["metrics.replica_series"], c.s.Mutable["metrics.max_series"] = limit, limit
	if s.Log != nil {
		c.levels = logging.Of(s.Log.Logger)
		// The configuration's check has spoken.
		c.s.Mutable["logging.level"] = func(cfg config.Config) { c.levels.Set(cfg.Log.Level) }
		c.s.Mutable["logging.packages"] = func(cfg config.Config) { c.levels.SetPackages(cfg.Log.Packages) }
	}
	c.host, _ = os.Hostname()
	r.Page("version", "Get the server version.", func(*Request) Response {
		return JSON(Object{{"Version", s.Version}, {"GitCommit", s.Revision}})
	})
	r.Page("recentStartTime", "Get the server start time.", func(*Request) Response {
		return JSON(Object{{"RecentStartTime", s.Started.Format(time.DateTime)}})
	})
	r.Page("config", "name=<config_name>: show one configuration key.", c.config)
	r.Page("configs", "List all configuration keys.", c.configs)
	r.Page("updateConfig", "<key>=<new_value>: change a mutable configuration key.", c.updateConfig)
	r.Page("metrics", "[with_metric_fields=..][&types=..][&ids=..][&attributes=..][&metrics=..][&detail=true|false][&format=json|prometheus]: query the metrics.", c.metrics)
	r.Page("healthz", "Answers 200 while the process runs.", func(*Request) Response { return Text(http.StatusOK, "ok\n") })
	r.Page("readyz", "Answers 200 while the server is serving, otherwise 503 with the reason.", func(*Request) Response {
		if why := s.Ready(); why != "" {
			return Text(http.StatusServiceUnavailable, why+"\n")
		}
		return Text(http.StatusOK, "ok\n")
	})
	for path := range profiles {
		r.Page("pprof/"+path, "Go's profile of that name.", nil) // listed here, served by serveProfile
	}
	r.Raw("pprof", r.Few(http.HandlerFunc(serveProfile)))
	r.Raw("debug", r.Few(http.HandlerFunc(serveDebug)))
}

// profiles are Go's under upstream's names.
var profiles = map[string]http.HandlerFunc{
	"cmdline": pprof.Cmdline, "symbol": pprof.Symbol, "profile": pprof.Profile,
	"heap": pprof.Handler("heap").ServeHTTP, "growth": pprof.Handler("allocs").ServeHTTP,
}

func serveProfile(w http.ResponseWriter, q *http.Request) {
	if h := profiles[strings.Trim(strings.TrimPrefix(q.URL.Path, "/pprof"), "/")]; h != nil {
		h(w, q)
		return
	}
	write(w, Text(http.StatusNotFound, `service not found for "`+strings.Trim(q.URL.Path, "/")+`"`))
}

// serveDebug serves Go's profiles below /debug/pprof/, where its tools look for them.
func serveDebug(w http.ResponseWriter, q *http.Request) {
	switch strings.TrimPrefix(q.URL.Path, "/debug/pprof/") {
	case "cmdline":
		pprof.Cmdline(w, q)
	case "profile":
		pprof.Profile(w, q)
	case "symbol":
		pprof.Symbol(w, q)
	case "trace":
		pprof.Trace(w, q)
	default:
		pprof.Index(w, q)
	}
}

// entry is a key as upstream shows a flag.
func (c *common) entry(e *config.Entry) Object {
	typ := "FV_STRING"
	switch e.Kind {
	case reflect.Bool:
		typ = "FV_BOOL"
	case reflect.Int, reflect.Int64:
		typ = "FV_INT64"
	case reflect.Float64:
		typ = "FV_DOUBLE"
	}
	tags := ""
	if c.s.Mutable[e.Path()] != nil {
		tags = "flag_tag::FT_MUTABLE"
	}
	return Object{{"name", e.Path()}, {"section", e.Section}, {"type", typ}, {"tags", tags}, {"description", e.Doc}, {"value", e.Value}}
}

func (c *common) entries() []config.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.cfg.Entries()
}

func (c *common) configs(q *Request) Response {
	if len(q.Args) > 0 {
		return Text(http.StatusBadRequest, "")
	}
	list := c.entries()
	slices.SortFunc(list, func(a, b config.Entry) int { return strings.Compare(a.Path(), b.Path()) })
	var o Object
	for i := range list {
		o.Add(list[i].Path(), c.entry(&list[i]))
	}
	return JSON(o)
}

// find returns the key of that path, or the only one of that name.
func (c *common) find(name string) *config.Entry {
	list := c.entries()
	var found *config.Entry
	n := 0
	for i := range list {
		if list[i].Path() == name {
			return &list[i]
		}
		if list[i].Name == name {
			found = &list[i]
			n++
		}
	}
	if n == 1 {
		return found
	}
	return nil
}

func (c *common) config(q *Request) Response {
	if !q.Only("name") {
		return Text(http.StatusBadRequest, "")
	}
	name := q.Get("name")
	if name == "" {
		return Text(http.StatusBadRequest, "name shouldn't be empty")
	}
	e := c.find(name)
	if e == nil {
		return Text(http.StatusOK, fmt.Sprintf("ERR_OBJECT_NOT_FOUND: '%s' is not found", name))
	}
	return JSON(c.entry(e))
}

func (c *common) updateConfig(q *Request) Response {
	if len(q.Args) != 1 {
		return Text(http.StatusBadRequest, "there should be exactly one config to be updated once")
	}
	a := q.Args[0]
	if c.s.Log != nil { // before: it may be what ends the logging
		c.s.Log.Infof("the configuration key %.100q is to be %.100q, asked by %s", a.Name, a.Value, q.Asker())
	}
	return JSON(Object{{"update_status", c.update(a.Name, a.Value)}})
}

// update returns what became of it: "ERR_OK", or a code and why not.
func (c *common) update(name, value string) string {
	e := c.find(name)
	if e == nil {
		return fmt.Sprintf("ERR_OBJECT_NOT_FOUND: %s is not found", name)
	}
	apply := c.s.Mutable[e.Path()]
	if apply == nil {
		return fmt.Sprintf("ERR_INVALID_PARAMETERS: %s is not mutable", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	if err := c.cfg.Set(e.Path(), value); err != nil {
		return "ERR_INVALID_PARAMETERS: " + err.Error()
	}
	apply(c.cfg)
	return "ERR_OK"
}

func (c *common) metrics(q *Request) Response {
	bad := func(why string) Response {
		r := JSON(Object{{"error_message", why}})
		r.Status = http.StatusBadRequest
		return r
	}
	if q.Method != http.MethodGet {
		return bad("please use 'GET' method while querying for metrics")
	}
	list := func(v string) []string {
		return slices.DeleteFunc(strings.Split(v, ","), func(s string) bool { return s == "" })
	}
	f := metrics.Filter{}
	detail, prometheus := false, metrics.Asks(q.Header)
	for _, a := range q.Args {
		switch a.Name {
		case "with_metric_fields":
			f.Fields = list(a.Value)
		case "types":
			f.Types = list(a.Value)
		case "ids":
			f.IDs = list(a.Value)
		case "attributes":
			if f.Attrs = list(a.Value); len(f.Attrs)%2 != 0 {
				return bad("the number of arguments for attributes should be even, since each attribute name always pairs with a value")
			}
		case "metrics":
			f.Metrics = list(a.Value)
		case "detail":
			if a.Value != "true" && a.Value != "false" {
				return bad("the value of detail should be a boolean value, i.e. true or false")
			}
			detail = a.Value == "true"
		case "format":
			if a.Value != "json" && a.Value != "prometheus" {
				return bad("the value of format should be json or prometheus")
			}
			prometheus = a.Value == "prometheus"
		default:
			return bad(fmt.Sprintf("unknown field %s=%s", a.Name, a.Value))
		}
	}
	if !q.Has("with_metric_fields") && !detail {
		f.Fields = []string{"name", "value", "p50", "p90", "p95", "p99", "p999"}
	}
	s := &metrics.Snapshot{Cluster: c.s.Config.Cluster.Name, Role: c.s.Role, Host: c.host, Port: c.s.Port, Time: time.Now()}
	c.s.Collect(s)
	if prometheus {
		body, typ, err := c.prom.Encode(s, &f, q.Header)
		if err != nil {
			return Text(http.StatusInternalServerError, "the metrics can't be shown: "+err.Error()+"\n")
		}
		return Response{Type: typ, Body: body, Gzip: true}
	}
	return Response{Body: s.JSON(&f)}
}
