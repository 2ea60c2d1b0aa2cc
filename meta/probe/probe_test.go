package probe

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/tbin"
	wire "pegasus/gen/probe"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/metrics"
)

// world is a leader with a table, servers that answer as they are told, and a clock.
type world struct {
	service.Leader
	t     *testing.T
	st    *state.State
	s     *Service
	now   time.Time
	table int32

	mu     sync.Mutex
	answer func(node base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error
	asked  []wire.ProbeOf
	ended  []Period
}

func addr(s string) base.RPCAddress {
	a, err := base.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

var one, two = addr("127.0.0.1:34801"), addr("127.0.0.1:34802")

func (w *world) Read(f func(*state.State)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.st)
}

func (w *world) Call(ctx context.Context, node base.RPCAddress, code string, arg tbin.Encoder, answer tbin.Decoder) error {
	q, a := arg.(*wire.ProbeRequest), answer.(*wire.ProbeResponse)
	if _, ok := ctx.Deadline(); !ok || code != base.RPCProbe || q.TimeoutMs <= 0 {
		w.t.Errorf("asks %s without a deadline, %d ms", code, q.TimeoutMs)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, q.Partitions...)
	return w.answer(node, q, a)
}

func (w *world) apply(c state.Command) state.Result {
	w.t.Helper()
	res, err := w.st.Apply(state.Encode(c))
	if err != nil || res.Err != base.ErrOK {
		w.t.Fatal(res.Err, err)
	}
	return res
}

// fine answers that all is well.
func fine(_ base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error {
	a.Err = base.ErrOK
	for _, p := range q.Partitions {
		r := wire.ProbeResult{Pid: p.Pid, ReadErr: base.ErrOK, Wrote: p.Write}
		if p.Write {
			r.WriteErr = base.ErrOK
		}
		a.Results = append(a.Results, r)
	}
	return nil
}

func newWorld(t *testing.T, partitions int) *world {
	w := &world{t: t, st: state.New(), now: time.Date(2026, 11, 30, 10, 59, 0, 0, time.UTC), answer: fine}
	w.s = New(w, Options{Every: time.Second, Timeout: 3 * time.Second, Now: func() time.Time { return w.now }, Ended: func(p Period) { w.ended = append(w.ended, p) }})
	w.table = w.apply(&state.CreateTable{Name: "shop", Partitions: int32(partitions), MaxReplicas: 3}).TableID
	for i := range partitions {
		w.lead(i, one)
	}
	return w
}

// lead makes a node the primary of a partition.
func (w *world) lead(i int, node base.RPCAddress) {
	w.t.Helper()
	g := base.Gpid{AppID: w.table, PartitionIndex: int32(i)}
	change := func(adds base.RPCAddress, f func(*state.Config)) {
		w.t.Helper()
		_, cfg, _ := w.st.Config(g)
		cfg.Secondaries = slices.Clone(cfg.Secondaries)
		cfg.Ballot++
		f(&cfg)
		if res := w.apply(&state.ChangeConfigs{Changes: []state.Change{{Gpid: g, Config: cfg, Adds: adds}}}); res.Changes[0].Err != base.ErrOK {
			w.t.Fatal(res.Changes[0].Err)
		}
	}
	_, was, _ := w.st.Config(g)
	switch {
	case was.Primary == 0:
		change(0, func(c *state.Config) { c.Primary = node })
	default:
		change(node, func(c *state.Config) { c.Secondaries = append(c.Secondaries, node) })
		change(0, func(c *state.Config) { c.Primary, c.Secondaries = node, nil })
	}
}

func (w *world) round(n int64) {
	w.t.Helper()
	w.now = w.now.Add(10 * time.Second)
	w.s.round(w.t.Context(), n)
}

func (w *world) only() Table {
	w.t.Helper()
	a := w.s.Availability("")
	if len(a.Tables) != 1 {
		w.t.Fatalf("tables %+v", a.Tables)
	}
	return a.Tables[0]
}

// Each partition is read in each round, and written in one of six.
func TestRounds(t *testing.T) {
	w := newWorld(t, 8)
	reads, writes := map[base.Gpid]int{}, map[base.Gpid]int{}
	for n := range int64(12) {
		w.round(n)
	}
	for _, p := range w.asked {
		reads[p.Pid]++
		if p.Write {
			writes[p.Pid]++
		}
	}
	for g, n := range reads {
		if n != 12 || writes[g] != 2 {
			t.Errorf("%v: %d reads, %d writes", g, n, writes[g])
		}
	}
	if got := w.only(); len(reads) != 8 || got.Hour != 1 || got.HourProbes != 96 || got.DayProbes != 96 || got.Failing != 0 || got.probes != 96 {
		t.Errorf("%d partitions, %+v", len(reads), got)
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t, 2)
	w.answer = func(node base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error {
		_ = fine(node, q, a)
		for i := range a.Results {
			if r := &a.Results[i]; r.Pid.PartitionIndex == 1 && r.Wrote {
				r.WriteErr = base.ErrNotEnoughMember
			}
		}
		return nil
	}
	w.round(5) // partition 1 is written
	got := w.only()
	if got.Failing != 1 || len(got.Now) != 1 || got.Now[0].Partition != 1 || got.Now[0].Read != "" || got.Now[0].Write != string(base.ErrNotEnoughMember) || got.Hour != 0.5 || got.writes != 1 || got.reads != 0 {
		t.Errorf("%+v", got)
	}
	since := got.Now[0].Since
	w.round(6) // it isn't written: it counts as it was
	if got = w.only(); got.Failing != 1 || got.HourProbes != 4 || got.Hour != 0.5 || got.writes != 1 || !got.Now[0].Since.Equal(since) {
		t.Errorf("in a round without a write: %+v", got)
	}
	w.answer = fine
	for n := int64(7); n < 12; n++ {
		w.round(n)
	}
	if got = w.only(); got.Failing != 0 || got.HourProbes != 14 {
		t.Errorf("once it works: %+v", got)
	}

	// A server that says nothing fails with all that it leads.
	w.answer = func(base.RPCAddress, *wire.ProbeRequest, *wire.ProbeResponse) error { return base.ErrTimeout }
	w.round(12)
	if got = w.only(); got.Failing != 2 || got.Now[0].Read != string(base.ErrTimeout) || got.Now[1].Read != string(base.ErrTimeout) || got.reads != 2 {
		t.Errorf("a silent server: %+v", got)
	}
}

// A failover that ends in time isn't a failure.
func TestFailover(t *testing.T) {
	w := newWorld(t, 1)
	w.answer = func(node base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error {
		if node == one {
			w.lead(0, two)
			return base.ErrNetworkFailure
		}
		return fine(node, q, a)
	}
	w.round(0)
	if got := w.only(); got.Failing != 0 || got.Hour != 1 || got.HourProbes != 1 || len(w.asked) != 2 {
		t.Errorf("%+v, asked %v", got, w.asked)
	}
}

// Older servers, tables that were dropped and partitions that never had a primary aren't counted.
func TestNotCounted(t *testing.T) {
	w := newWorld(t, 2)
	w.answer = func(base.RPCAddress, *wire.ProbeRequest, *wire.ProbeResponse) error { return base.ErrHandlerNotFound }
	w.round(0)
	if a := w.s.Availability(""); a.Unknown != 2 || len(a.Tables) != 0 || a.Rounds != 1 {
		t.Errorf("an older server: %+v", a)
	}
	w.answer = func(node base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error {
		w.apply(&state.DropTable{ID: w.table, Now: 1, Expire: 100})
		return base.ErrTimeout
	}
	w.round(1)
	if a := w.s.Availability(""); len(a.Tables) != 0 || len(w.s.tables) != 0 || len(w.s.failing) != 0 {
		t.Errorf("a table that was dropped meanwhile: %+v, %d tables", a, len(w.s.tables))
	}
	w.apply(&state.CreateTable{Name: "new", Partitions: 4, MaxReplicas: 3})
	w.table = w.apply(&state.CreateTable{Name: "newer", Partitions: 1, MaxReplicas: 3, Now: w.now.Unix() + 9}).TableID
	w.lead(0, one)
	w.asked, w.answer = nil, fine
	w.round(2)
	if a := w.s.Availability(""); len(w.asked) != 0 || len(a.Tables) != 0 {
		t.Errorf("a table that is being made: %+v", a)
	}
}

// Minutes, hours and days end, and are told once.
func TestPeriods(t *testing.T) {
	w := newWorld(t, 1)
	w.now = time.Date(2026, 11, 30, 23, 58, 30, 0, time.UTC)
	bad := false
	w.answer = func(node base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error {
		_ = fine(node, q, a)
		if bad {
			a.Results[0].Pid.PartitionIndex = 7 // an answer about another one is none
		}
		return nil
	}
	w.s.o.Timeout = time.Millisecond
	for n := range int64(12) { // to 00:00:30
		bad = n == 4
		w.round(1 + 6*n)
	}
	if len(w.ended) != 4 {
		t.Fatalf("ended: %+v", w.ended)
	}
	for i, want := range []Period{{Minute, time.Date(2026, 11, 30, 23, 58, 0, 0, time.UTC), Counts{2, 0}}, {Minute, time.Date(2026, 11, 30, 23, 59, 0, 0, time.UTC), Counts{6, 1}},
		{Hour, time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC), Counts{8, 1}}, {Day, time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), Counts{8, 1}}} {
		if w.ended[i] != want {
			t.Errorf("%d: %+v, want %+v", i, w.ended[i], want)
		}
	}
	if a := w.s.Availability("shop"); a.Minute.Probes != 6 || math.Abs(a.Minute.Availability-5./6) > 1e-9 || a.Day.Probes != 8 {
		t.Errorf("%+v", a)
	}
	// What is older than a day is forgotten.
	w.now = w.now.Add(23*time.Hour + 59*time.Minute)
	if got := w.only(); got.HourProbes != 0 || got.Hour != 1 || got.DayProbes != 4 {
		t.Errorf("a day later: %+v", got)
	}
}

func TestLatencies(t *testing.T) {
	w := newWorld(t, 1)
	w.now = time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	var reads metrics.Octaves
	w.answer = func(node base.RPCAddress, q *wire.ProbeRequest, a *wire.ProbeResponse) error {
		a.Latencies = []wire.TableLatency{{AppId: w.table, Reads: slices.Clone(reads[:])}}
		return fine(node, q, a)
	}
	reads[15] = 5000 // nobody knows when
	w.round(0)
	for n := range int64(6) { // from 10:00:20 to 10:01:10
		reads[10] += 297
		reads[15] += 3 // of up to 32 ms
		w.round(n)
	}
	for _, h := range []History{w.s.latency.tables[w.table].show(w.now), w.s.latency.servers[one].show(w.now)} {
		if n := len(h.ReadRate); n != Slots-1 || h.ReadRate[n-1] != 30 || h.WriteRate[n-1] != 0 || h.ReadP99[n-1] > 1000 || h.ReadP99[n-1] < 900 || h.ReadRate[n-2] != 10 || h.ReadRate[n-3] != 0 {
			t.Errorf("%+v", h)
		}
	}
	// A server whose replicas were opened anew says less than before.
	reads = metrics.Octaves{10: 5}
	w.round(7)
	reads[10] += 10
	w.round(8) // 10:01:30
	if h := w.s.latency.tables[w.table].show(w.now.Add(Slot)); h.ReadRate[len(h.ReadRate)-1] != 10./30 {
		t.Errorf("after a restart: %v", h.ReadRate)
	}
	// Half an hour later nothing of it is left.
	w.now = w.now.Add(Slots*Slot + Slot)
	w.round(9)
	if len(w.s.latency.tables)+len(w.s.latency.servers) != 0 || len(w.s.latency.last) != 1 {
		t.Errorf("%d tables, %d servers, %d sources are kept", len(w.s.latency.tables), len(w.s.latency.servers), len(w.s.latency.last))
	}
}

func TestShown(t *testing.T) {
	w := newWorld(t, 2)
	page := func(url string, f func(*service.Call, *httpapi.Request) httpapi.Response) (int, string) {
		q := httptest.NewRequest(http.MethodGet, url, nil)
		var args []httpapi.Arg
		for k, v := range q.URL.Query() {
			args = append(args, httpapi.Arg{Name: k, Value: v[0]})
		}
		r := f(nil, &httpapi.Request{Request: q, Args: args})
		return r.Status, string(r.Body)
	}
	collected := func(wants ...string) {
		t.Helper()
		sn := &metrics.Snapshot{Cluster: "c", Role: "meta"}
		sn.NameTable("1", "shop")
		w.s.Collect(sn)
		text, _, err := metrics.NewPrometheus(nil, 100).Encode(sn, &metrics.Filter{Types: []string{metrics.Table, metrics.Server}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want+"\n") {
				t.Errorf("no %q in %s", want, text)
			}
		}
	}
	const labels = `{cluster="c",role="meta",table_id="1",table="shop"} `
	collected(`pegasus_table_detect_times_total`+labels+`0`, `pegasus_table_available_hour_ratio`+labels+`1`)
	w.round(0)
	_, body := page("/meta/availability?name=shop", w.s.availabilityPage)
	var a Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil || len(a.Tables) != 1 || a.Tables[0].Hour != 1 || a.Every != 1 {
		t.Errorf("%v: %s", err, body)
	}
	for url, want := range map[string]int{"/meta/availability?x=1": http.StatusBadRequest, "/meta/availability?name=none": 0} {
		if status, body := page(url, w.s.availabilityPage); status != want || want == 0 && !strings.Contains(body, `"tables":[]`) {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}
	for url, want := range map[string]int{"/meta/latency": http.StatusBadRequest, "/meta/latency?name=a&server=b": http.StatusBadRequest, "/meta/latency?name=none": http.StatusNotFound,
		"/meta/latency?server=x": http.StatusBadRequest, "/meta/latency?server=127.0.0.1:34801": 0, "/meta/latency?name=shop": 0} {
		if status, body := page(url, w.s.latencyPage); status != want {
			t.Errorf("%s: %d %s", url, status, body)
		}
	}

	collected(`pegasus_table_detect_times_total`+labels+`2`, `pegasus_table_available_hour_ratio`+labels+`1`, `pegasus_cluster_available_day_ratio{cluster="c",role="meta"} 1`)
	off := New(w, Options{})
	sn := &metrics.Snapshot{}
	off.Collect(sn)
	off.Lead(t.Context()) // returns at once
	if text, _, err := metrics.NewPrometheus(nil, 100).Encode(sn, &metrics.Filter{Types: []string{metrics.Table, metrics.Server}}, nil); err != nil || strings.Contains(string(text), "available") {
		t.Errorf("without probes: %v %s", err, text)
	}
}
