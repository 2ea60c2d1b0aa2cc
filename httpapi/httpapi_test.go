package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
	"pegasus/metrics"
)

func server(t *testing.T) (*Router, *config.Config) {
	t.Helper()
	changed := config.Default()
	r := NewRouter()
	r.Common(Server{
		Version: "2.6.0-go", Revision: "abc", Started: time.Date(2026, 11, 23, 1, 2, 3, 0, time.Local), Role: "meta", Port: 34601,
		Config:  config.Default(),
		Mutable: map[string]func(config.Config){"logging.level": func(c config.Config) { changed = c }},
		Collect: func(s *metrics.Snapshot) { s.Entity(metrics.Server, "").Set(metrics.AliveServers, 3) },
		Ready:   func() string { return "no leader" },
	})
	r.Page("meta/echo", "", func(q *Request) Response { return Text(http.StatusOK, q.Path+" "+q.Get("a")) })
	return r, &changed
}

func get(r *Router, method, url string, header ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	q := httptest.NewRequest(method, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	r.ServeHTTP(w, q)
	return w
}

// A change of the configuration is logged with who asked.
func TestUpdateConfigIsLogged(t *testing.T) {
	log := logrus.New()
	var lines strings.Builder
	log.SetOutput(&lines)
	r := NewRouter()
	r.Common(Server{Config: config.Default(), Log: logrus.NewEntry(log), Mutable: map[string]func(config.Config){
		"logging.level": func(config.Config) { log.SetLevel(logrus.ErrorLevel) },
	}})
	get(r, "GET", "/updateConfig?logging.level=error")
	if got := lines.String(); !strings.Contains(got, `logging.level`) || !strings.Contains(got, "asked by 192.0.2.1:1234") { // httptest's client
		t.Errorf("logged %q", got)
	}
	if log.GetLevel() != logrus.ErrorLevel {
		t.Error("it isn't changed")
	}
}

func TestPages(t *testing.T) {
	r, changed := server(t)
	for _, c := range []struct {
		method, url string
		status      int
		body        string // "..." at the end: a prefix
	}{
		{"GET", "/version", 200, `{"Version":"2.6.0-go","GitCommit":"abc"}` + "\n"},
		{"GET", "/recentStartTime", 200, `{"RecentStartTime":"2026-11-23 01:02:03"}` + "\n"},
		{"GET", "//meta///echo/?a=b%20c", 200, "meta/echo b c"},
		{"POST", "/meta/echo", 200, "meta/echo "},
		{"PUT", "/meta/echo", 405, "please use GET or POST"},
		{"GET", "/help", 404, `service not found for "help"`},
		{"GET", "/pprof/nosuch", 404, `service not found for "pprof/nosuch"`},
		{"GET", "/meta/echo?a=1&a=2", 400, "failed to parse request: ERR_INVALID_PARAMETERS: duplicate parameter: a"},
		{"GET", "/meta/echo?a=%zz", 400, "failed to parse request: ERR_INVALID_PARAMETERS: ..."},
		{"GET", "/config", 400, "name shouldn't be empty"},
		{"GET", "/config?nosuch=1", 400, ""},
		{"GET", "/config?name=nosuch", 200, "ERR_OBJECT_NOT_FOUND: 'nosuch' is not found"},
		{"GET", "/config?name=listen", 200, "ERR_OBJECT_NOT_FOUND: 'listen' is not found"}, // two sections have it
		{"GET", "/config?name=level", 200, `{"name":"logging.level","section":"logging","type":"FV_STRING","tags":"flag_tag::FT_MUTABLE",...`},
		{"GET", "/config?name=meta.max_replica_count", 200, `{"name":"meta.max_replica_count","section":"meta","type":"FV_INT64","tags":"",...`},
		{"GET", "/configs?x", 400, ""},
		{"GET", "/updateConfig", 400, "there should be exactly one config to be updated once"},
		{"GET", "/updateConfig?nosuch=1", 200, `{"update_status":"ERR_OBJECT_NOT_FOUND: nosuch is not found"}` + "\n"},
		{"GET", "/updateConfig?meta.data_dir=x", 200, `{"update_status":"ERR_INVALID_PARAMETERS: meta.data_dir is not mutable"}` + "\n"},
		{"GET", "/updateConfig?logging.level=loud", 200, `{"update_status":"ERR_INVALID_PARAMETERS: ...`},
		{"GET", "/updateConfig?level=debug", 200, `{"update_status":"ERR_OK"}` + "\n"},
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/readyz", 503, "no leader\n"},
		{"POST", "/metrics", 400, `{"error_message":"please use 'GET' method while querying for metrics"}` + "\n"},
		{"GET", "/metrics?nosuch=1", 400, `{"error_message":"unknown field nosuch=1"}` + "\n"},
		{"GET", "/metrics?detail=x", 400, `{"error_message":"the value of detail should be a boolean value, i.e. true or false"}` + "\n"},
		{"GET", "/metrics?format=x", 400, `{"error_message":"the value of format should be json or prometheus"}` + "\n"},
		{"GET", "/metrics?attributes=a", 400, `{"error_message":"the number of arguments for attributes should be even, since each attribute name always pairs with a value"}` + "\n"},
		{"GET", "/metrics?format=prometheus", 200, "# HELP go_gc_duration_seconds ..."},
		{"GET", "/pprof/cmdline", 200, "..."},
		{"GET", "/debug/pprof/", 200, "..."},
		{"GET", "/debug/pprof/cmdline", 200, "..."},
		{"GET", "/debug/pprof/profile?seconds=1", 200, "..."},
		{"GET", "/debug/pprof/symbol", 200, "..."},
		{"GET", "/debug/pprof/trace?seconds=1", 200, "..."},
		{"GET", "/debug/pprof/none", 404, "..."},
	} {
		w := get(r, c.method, c.url)
		want, prefix := strings.CutSuffix(c.body, "...")
		if body := w.Body.String(); w.Code != c.status || prefix && !strings.HasPrefix(body, want) || !prefix && body != want {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.url, w.Code, body, c.status, c.body)
		}
	}
	if changed.Log.Level != "debug" {
		t.Errorf("the level in effect is %q", changed.Log.Level)
	}
	if b := get(r, "GET", "/config?name=logging.level").Body.String(); !strings.Contains(b, `"value":"debug"`) {
		t.Errorf("after the update: %s", b)
	}
}

func TestList(t *testing.T) {
	r, _ := server(t)
	b := get(r, "GET", "/").Body.String()
	if !strings.HasPrefix(b, `{"/":"","/config":"","/configs":"","/healthz":"","/meta/echo":"","/metrics":"","/pprof/cmdline":""`) {
		t.Errorf("/ is %s", b)
	}
	if h := r.Help(); h["/version"] == "" {
		t.Errorf("no help of /version in %v", h)
	}
}

func TestConfigs(t *testing.T) {
	r, _ := server(t)
	var got map[string]map[string]string
	if err := json.Unmarshal(get(r, "GET", "/configs").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if e := got["failure_detector.grace"]; e["value"] != "9s" || e["type"] != "FV_STRING" || e["description"] == "" || e["section"] != "failure_detector" {
		t.Errorf("failure_detector.grace is %v", e)
	}
}

func TestMetricsForms(t *testing.T) {
	r, _ := server(t)
	w := get(r, "GET", "/metrics", "Accept", "*/*")
	if ct := w.Header().Get("Content-Type"); ct != "text/plain" || !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), `"unit"`) {
		t.Errorf("%s %s", ct, w.Body)
	}
	if w = get(r, "GET", "/metrics?detail=true"); !strings.Contains(w.Body.String(), `"unit": "servers"`) {
		t.Errorf("in detail: %s", w.Body)
	}
	w = get(r, "GET", "/metrics", "Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1")
	if ct := w.Header().Get("Content-Type"); !strings.HasPrefix(ct, "application/openmetrics-text; version=1.0.0") || !strings.Contains(w.Body.String(), "pegasus_alive_replica_servers{") {
		t.Errorf("%s %s", ct, w.Body)
	}
	plain := w.Body.Len()
	w = get(r, "GET", "/metrics", "Accept", "text/plain;version=0.0.4", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(w.Body)
	if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatal(w.Header(), err)
	}
	if b, err := io.ReadAll(z); err != nil || len(b) < plain/2 || !bytes.Contains(b, []byte("pegasus_alive_replica_servers{")) {
		t.Errorf("%d bytes, %v: %.200s", len(b), err, b)
	}
}

func FuzzArgs(f *testing.F) {
	for _, s := range []string{"", "a=b&c", "a=%20&b=%zz", "&&=&=", "a=1&a=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args, why := parseArgs(s)
		if why != "" && args != nil {
			t.Errorf("%q: arguments %v although %s", s, args, why)
		}
	})
}
