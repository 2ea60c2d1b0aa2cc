package dashboard

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/base/judge"
)

// paths are all pages of a cluster of newFake.
var paths = []string{
	"/dashboard/", "/dashboard/servers", "/dashboard/servers/10.0.0.2:34801", "/dashboard/servers/10.0.0.1:34801", "/dashboard/tables", "/dashboard/tables/table_00000", "/dashboard/tables/table_00002",
	"/dashboard/hot/table_00000", "/dashboard/work", "/dashboard/slow", "/dashboard/quorum", "/dashboard/events", "/dashboard/events?worse=1",
}

func dashboardOf(f *fake) *Dashboard {
	return New(f, Options{Cluster: "test", Metas: []string{"10.0.0.1:34601"}, Version: "v1"})
}

// ask sends a request as a browser on this host, unless change makes it another one.
func ask(d http.Handler, method, path string, form url.Values, change func(*http.Request)) *httptest.ResponseRecorder {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	q := httptest.NewRequest(method, path, body)
	q.RemoteAddr, q.Host = "127.0.0.1:4000", "localhost:34601"
	if form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(q)
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, q)
	return w
}

const (
	mostBytes = 100_000
	mostTime  = 200 * time.Millisecond // of a processor: the machine may be busy
)

// spent returns the processor time of this process.
func spent(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Pages stay small and quick with 1,000 servers and 10,000 tables, and nothing of the cluster becomes markup.
func TestPages(t *testing.T) {
	d := dashboardOf(newFake(1000, 10_000))
	for _, path := range paths {
		best := time.Hour
		var w *httptest.ResponseRecorder
		for range 5 {
			d.answers.forget()
			began := spent(t)
			w = ask(d, "GET", path, nil, nil)
			best = min(best, spent(t)-began)
		}
		text := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(text, "<h1>") {
			t.Errorf("%s: %d %.300s", path, w.Code, text)
		}
		t.Logf("%s: %d bytes, %v", path, len(text), best)
		if len(text) > mostBytes || best > mostTime {
			t.Errorf("%s has %d bytes and takes %v, which is more than %d and %v", path, len(text), best, mostBytes, mostTime)
		}
		if strings.Contains(text, "<script>alert") || strings.Contains(text, "ZgotmplZ") {
			t.Errorf("%s has markup of the cluster's", path)
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s: Content-Security-Policy %q", path, p)
		}
	}
}

// What is shown of a cluster is what it answers.
func TestShown(t *testing.T) {
	d := dashboardOf(newFake(250, 300))
	for _, c := range []struct {
		path string
		want []string
		not  []string
	}{
		{"/dashboard/", []string{"Some data can", "1 table of 300", "1 of 250 servers dead", "99.99 %", "failing now: 1", "start it &lt;script&gt;", "table_00000", "7 of 8", "10.0.0.1:34601 leads", "3 moves are done", "node 10.0.0.1:34801 is dead"}, []string{"table_00001", "dropped"}},
		{"/dashboard/servers", []string{"10.0.0.1:34801", "dead", "page 1 of 3", `page=2`, "100 of 250"}, nil},
		{"/dashboard/servers?page=3", []string{"page 3 of 3", "50 of 250"}, nil},
		{"/dashboard/servers?page=99&sort=nonsense", []string{"page 3 of 3"}, nil},
		{"/dashboard/servers?page=-1&q=rack+3", []string{"36 of 36 found in 250", "rack 3"}, []string{"rack 4"}},
		{"/dashboard/servers/10.0.0.2:34801", []string{"p99 of writes in the last half hour: now 16 ms, at most 20 ms", "ssd1", "/data1", "io_error", "50 %", "table_00000", "100 of 1000", "Take it out"}, nil},
		{"/dashboard/servers/10.0.0.1:34801", []string{"isn&#39;t asked"}, []string{"ssd1"}},
		{"/dashboard/tables?q=table_0001", []string{"100 %", "table_00010", "10 of 10 found in 300", "120", "1 GiB"}, []string{"table_00100"}},
		{"/dashboard/tables/table_00000", []string{"Partition 3: " + judge.Unwritable.String(), "primary gone", "default_ttl", "86400", "8 partitions with 3 replicas", "Set another", "120 units of reads and 30 of writes a second, 1 GiB in one copy", "Partition 3 carries far more reads", "2026-01-01 05:00 UTC: 5 units of reads", "99.89 % of 2880 probes", "Partition 3 fails since 2023-11-14 22:13:20 UTC: writes &lt;script&gt;", "p99 of reads in the last half hour: now 1.1 ms, at most 1.5 ms", "writes in the last half hour: now none"}, nil},
		{"/dashboard/hot/table_00000", []string{"60 %", "1.3"}, nil},
		{"/dashboard/slow", []string{"64 of ", "712.3ms", "PUT and 4 more", "trace 5eed", "600ms sent 10.0.0.4:34801"}, nil},
		{"/dashboard/slow?server=10.0.0.2:34801", []string{"of server <a href=\"/dashboard/servers/10.0.0.2:34801\"", "10.0.0.2:34801"}, []string{"64 of "}},
		{"/dashboard/work", []string{"table_00002</a> is being split to 16 partitions: 3 of 8 are done", "37 %", "downloading", "35 %", "about 93 s left", "west", ">7<", "3 of 8", "make primary", "25 %"}, nil},
		{"/dashboard/quorum", []string{"2 of 3 meta servers answer", "silent", "10.0.0.3:34601"}, nil},
		{"/dashboard/events", []string{"10.0.0.2:34601", "10.0.0.3:34601"}, nil},
	} {
		text := ask(d, "GET", c.path, nil, nil).Body.String()
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %q", c.path, w)
			}
		}
		for _, w := range c.not {
			if strings.Contains(text, w) {
				t.Errorf("%s has %q", c.path, w)
			}
		}
	}
	for _, path := range []string{"/dashboard/servers/10.9.9.9:1", "/dashboard/servers/x", "/dashboard/slow?server=x", "/dashboard/tables/none", "/dashboard/tables/%3Cb%3E", "/dashboard/hot/none", "/dashboard/none"} {
		if w := ask(d, "GET", path, nil, nil); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "<b>") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// A cluster that doesn't answer gives pages that say so.
func TestSilentCluster(t *testing.T) {
	f := newFake(3, 3)
	f.down = errors.New("no meta server answers " + markup)
	d := dashboardOf(f)
	for _, path := range paths {
		w := ask(d, "GET", path, nil, nil)
		if text := w.Body.String(); w.Code != http.StatusOK && w.Code != http.StatusBadGateway || !strings.Contains(text, "no meta server answers &lt;") && !strings.Contains(text, "doesn't tell") {
			t.Errorf("%s: %d %s", path, w.Code, text)
		}
	}
}

// Forms change what they say, and lead back.
func TestChanges(t *testing.T) {
	f := newFake(3, 3)
	d := dashboardOf(f)
	for _, c := range []struct {
		do   string
		form url.Values
		want string // "": it is refused
	}{
		{"rebalance", url.Values{}, "rebalance: REBALANCE_START"},
		{"rebalance", url.Values{"stop": {"1"}}, "rebalance: REBALANCE_STOP"},
		{"role", url.Values{"node": {"10.0.0.2:34801"}, "role": {"leaving"}}, "role of 10.0.0.2:34801: NODE_LEAVING"},
		{"role", url.Values{"node": {"10.0.0.2:34801"}, "role": {"king"}}, ""},
		{"role", url.Values{"node": {""}, "role": {"full"}}, ""},
		{"setting", url.Values{"table": {"table_00000"}, "key": {"default_ttl"}, "value": {"60"}}, "settings of table_00000: [{default_ttl 60}]"},
		{"setting", url.Values{"table": {"table_00000"}, "key": {"default_ttl"}, "value": {"soon"}}, ""},
		{"setting", url.Values{"table": {"table_00000"}, "key": {"default_ttl"}, "value": {" "}}, "settings of table_00000 are removed: [default_ttl]"},
		{"backup", url.Values{"table": {"table_00001"}, "provider": {"disk"}}, "backup of 2 to disk"},
		{"backup", url.Values{"table": {"none"}, "provider": {"disk"}}, ""},
	} {
		before := len(f.changes())
		c.form.Set("back", "/dashboard/servers")
		w := ask(d, "POST", "/dashboard/do/"+c.do, c.form, nil)
		done := f.changes()[before:]
		if c.want == "" {
			if len(done) != 0 || w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Not done") {
				t.Errorf("%s %v: %d, did %q", c.do, c.form, w.Code, done)
			}
			continue
		}
		if len(done) != 1 || done[0] != c.want || w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/dashboard/servers?said=") {
			t.Errorf("%s %v: %d %s, did %q", c.do, c.form, w.Code, w.Header().Get("Location"), done)
		}
	}
	for _, back := range []string{"https://example.com/", "//example.com/dashboard/", "/dashboard/\r\nX: y", `/dashboard/\..`, ""} {
		if l := ask(d, "POST", "/dashboard/do/rebalance", url.Values{"back": {back}}, nil).Header().Get("Location"); !strings.HasPrefix(l, "/dashboard/?said=") {
			t.Errorf("from %q it leads to %q", back, l)
		}
	}
}

// Nobody changes anything from elsewhere: not from another host, through a proxy, from another page, under another
// name, or by a link.
func TestStrangersChangeNothing(t *testing.T) {
	f := newFake(3, 3)
	d := dashboardOf(f)
	form := func() url.Values { return url.Values{"back": {"/dashboard/"}} }
	for name, change := range map[string]func(*http.Request){
		"another host":     func(q *http.Request) { q.RemoteAddr = "10.0.0.9:4000" },
		"another host, 6":  func(q *http.Request) { q.RemoteAddr = "[2001:db8::1]:4000" },
		"no address":       func(q *http.Request) { q.RemoteAddr = "@" },
		"a proxy":          func(q *http.Request) { q.Header.Set("X-Forwarded-For", "127.0.0.1") },
		"a named proxy":    func(q *http.Request) { q.Header.Set("Via", "1.1 proxy") },
		"another page":     func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another origin":   func(q *http.Request) { q.Header.Set("Origin", "http://example.com") },
		"a name that lies": func(q *http.Request) { q.Host = "rebound.example.com:34601" },
		"a link":           func(q *http.Request) { q.Method = "GET" },
	} {
		w := ask(d, "POST", "/dashboard/do/rebalance", form(), change)
		if w.Code != http.StatusForbidden && w.Code != http.StatusMethodNotAllowed || len(f.changes()) != 0 {
			t.Errorf("%s: %d, did %q", name, w.Code, f.changes())
		}
	}
	q := func(q *http.Request) { q.RemoteAddr = "10.0.0.9:4000" }
	if text := ask(d, "GET", "/dashboard/", nil, q).Body.String(); strings.Contains(text, "<form method=\"post\"") || !strings.Contains(text, "read only") {
		t.Error("who may change nothing is offered a form")
	}
	if w := ask(d, "POST", "/dashboard/do/rebalance", form(), func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "same-origin") }); w.Code != http.StatusSeeOther {
		t.Errorf("the dashboard itself: %d", w.Code)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1 << 40: "1 TiB", 1<<20 - 1: "1024 KiB", 1536: "1.5 KiB", 200 << 30: "200 GiB", -1: "-1 B"} {
		if have := size(n); have != want {
			t.Errorf("%d is %s, want %s", n, have, want)
		}
	}
}
