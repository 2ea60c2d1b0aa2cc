package usage

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/metrics"
)

// world is a leader with a table whose partitions one server leads, and a clock.
type world struct {
	service.Leader
	t     *testing.T
	st    *state.State
	s     *Service
	now   time.Time
	table int32
	units map[base.Gpid]*[2]int64
	node  base.RPCAddress
}

func addr(s string) base.RPCAddress {
	a, err := base.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return a
}

func (w *world) Read(f func(*state.State)) { f(w.st) }

func (w *world) apply(c state.Command) state.Result {
	w.t.Helper()
	res, err := w.st.Apply(state.Encode(c))
	if err != nil || res.Err != base.ErrOK {
		w.t.Fatal(res.Err, err)
	}
	return res
}

func newWorld(t *testing.T, partitions int) *world {
	w := &world{t: t, st: state.New(), now: time.Date(2026, 11, 30, 10, 59, 0, 0, time.UTC), units: map[base.Gpid]*[2]int64{}, node: addr("127.0.0.1:34801")}
	w.s = New(w, Options{Now: func() time.Time { return w.now }})
	w.table = w.apply(&state.CreateTable{Name: "shop", Partitions: int32(partitions), MaxReplicas: 3}).TableID
	for i := range partitions {
		w.lead(i, w.node)
	}
	return w
}

func (w *world) gpid(i int) base.Gpid { return base.Gpid{AppID: w.table, PartitionIndex: int32(i)} }

// lead makes a node the primary of a partition; one that was it becomes a secondary.
func (w *world) lead(i int, node base.RPCAddress) {
	w.t.Helper()
	change := func(adds base.RPCAddress, f func(*state.Config)) {
		w.t.Helper()
		_, cfg, _ := w.st.Config(w.gpid(i))
		cfg.Secondaries = slices.Clone(cfg.Secondaries)
		cfg.Ballot++
		f(&cfg)
		if res := w.apply(&state.ChangeConfigs{Changes: []state.Change{{Gpid: w.gpid(i), Config: cfg, Adds: adds}}}); res.Changes[0].Err != base.ErrOK {
			w.t.Fatal(res.Changes[0].Err)
		}
	}
	if _, cfg, _ := w.st.Config(w.gpid(i)); cfg.Primary != 0 {
		change(node, func(c *state.Config) { c.Secondaries = append(c.Secondaries, node) })
		change(0, func(c *state.Config) { c.Primary, c.Secondaries = node, []base.RPCAddress{cfg.Primary} })
		return
	}
	change(0, func(c *state.Config) { c.Primary = node })
}

// report has a server tell what its replicas counted, five seconds after the last time; add is what each partition counts meanwhile.
func (w *world) report(node base.RPCAddress, add map[int][2]int64) {
	w.now = w.now.Add(5 * time.Second)
	q := &metaadmin.ConfigurationQueryByNodeRequest{}
	q.StoredReplicas.Set = true
	for i, a := range add {
		g := w.gpid(i)
		if w.units[g] == nil {
			w.units[g] = &[2]int64{}
		}
		w.units[g][0] += a[0]
		w.units[g][1] += a[1]
		q.StoredReplicas.V = append(q.StoredReplicas.V, metadata.ReplicaInfo{Pid: g, Bytes: base.Some(int64(1000)), ReadUnits: base.Some(w.units[g][0]), WriteUnits: base.Some(w.units[g][1])})
	}
	w.s.Report(&service.Report{Node: node, State: w.st, Request: q})
}

func (w *world) only() Table {
	w.t.Helper()
	list := w.s.Tables("", true)
	if len(list) != 1 {
		w.t.Fatalf("tables %+v", list)
	}
	return list[0]
}

func TestHours(t *testing.T) {
	w := newWorld(t, 2)
	each := map[int][2]int64{0: {500, 50}, 1: {1000, 0}}
	w.report(w.node, each) // what was counted before isn't the table's
	if got := w.only(); got.units != [2]int64{} || got.ReadPerSec != 0 || got.Bytes != 2000 {
		t.Errorf("after one report: %+v", got)
	}
	for range 20 { // from 10:59:10 to 11:00:45
		w.report(w.node, each)
	}
	got := w.only()
	if got.Name != "shop" || got.ReadPerSec != 300 || got.WritePerSec != 10 || got.units != [2]int64{30000, 1000} || len(got.Hours) != 2 {
		t.Fatalf("%+v", got)
	}
	if h := got.Hours; h[0].ReadUnits != 10*1500 || h[0].WriteUnits != 10*50 || h[1].ReadUnits != 10*1500 || h[0].Bytes != 2000 || h[1].Bytes != 2000 || !h[1].Began.Equal(time.Date(2026, 11, 30, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("hours %+v", h)
	}

	// A replica that was opened anew counts from 0; a server that isn't the primary isn't heard.
	w.units[w.gpid(1)] = &[2]int64{}
	w.report(w.node, map[int][2]int64{1: {70, 0}})
	w.report(addr("127.0.0.1:34802"), map[int][2]int64{1: {1e6, 1e6}})
	if n := w.only().units[read]; n != 30070 {
		t.Errorf("%d units of reads, want 30070", n)
	}

	// Another primary has other counters: what it counted before is left out.
	other := addr("127.0.0.1:34803")
	w.lead(1, other)
	w.report(other, map[int][2]int64{1: {5e6, 0}})
	w.report(other, map[int][2]int64{1: {10, 0}})
	if n := w.only().units[read]; n != 30080 {
		t.Errorf("%d units of reads, want 30080", n)
	}

	// Days later the oldest hours are gone.
	for range Hours + 5 {
		w.now = w.now.Add(time.Hour)
		w.report(w.node, map[int][2]int64{0: {1, 1}})
	}
	if h := w.only().Hours; len(h) != Hours || w.now.Sub(h[0].Began) > Hours*time.Hour {
		t.Errorf("%d hours, from %v on, at %v", len(h), h[0].Began, w.now)
	}

	// Of a table that was dropped nothing is left.
	w.apply(&state.DropTable{ID: w.table, Now: 1, Expire: 100})
	w.now = w.now.Add(2 * time.Minute)
	w.report(w.node, nil)
	if len(w.s.Tables("", true)) != 0 || len(w.s.tables) != 0 || len(w.s.parts) != 0 {
		t.Errorf("%v, %d tables, %d partitions are kept", w.s.Tables("", true), len(w.s.tables), len(w.s.parts))
	}
}

func TestHotPartitions(t *testing.T) {
	w := newWorld(t, 4)
	say := func(reads ...int64) {
		add := map[int][2]int64{}
		for i, n := range reads {
			add[i] = [2]int64{n * 5, 0} // in five seconds
		}
		w.report(w.node, add)
	}
	hot := func(what string, want ...int32) {
		t.Helper()
		var got []int32
		for _, h := range w.only().Hot {
			if h.Kind != "read" || h.Node != w.node.String() {
				t.Errorf("%+v", h)
			}
			got = append(got, h.Partition)
		}
		if len(got) != len(want) || len(want) == 1 && got[0] != want[0] {
			t.Errorf("%s: partitions %v are hot, want %v", what, got, want)
		}
	}
	say(0, 0, 0, 0)
	say(50, 1000, 50, 50)
	say(50, 1000, 50, 50)
	hot("for two reports")
	say(50, 1000, 50, 50)
	hot("for three reports", 1)
	say(500, 1000, 500, 500)
	hot("the others have as much")
	for range 5 {
		say(1, 90, 1, 1)
	}
	hot("the table is little used")
}

func TestShown(t *testing.T) {
	w := newWorld(t, 3)
	for range 5 {
		w.report(w.node, map[int][2]int64{0: {5000, 5}, 1: {5, 5}, 2: {5, 5}})
	}
	page := func(url string) (int, string) {
		q := httptest.NewRequest(http.MethodGet, url, nil)
		var args []httpapi.Arg
		for k, v := range q.URL.Query() {
			args = append(args, httpapi.Arg{Name: k, Value: v[0]})
		}
		r := w.s.page(nil, &httpapi.Request{Request: q, Args: args})
		return r.Status, string(r.Body)
	}
	_, body := page("/meta/usage?name=shop")
	var got struct{ Tables []Table }
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Tables) != 1 || len(got.Tables[0].Hot) != 1 || got.Tables[0].Hours[0].ReadUnits != 4*5010 {
		t.Errorf("%v: %s", err, body)
	}
	if _, body := page("/meta/usage?name=none"); body != `{"tables":[]}`+"\n" {
		t.Errorf("of no table: %s", body)
	}
	if status, _ := page("/meta/usage?x=1"); status != http.StatusBadRequest {
		t.Errorf("an unknown argument: %d", status)
	}

	sn := &metrics.Snapshot{Cluster: "c", Role: "meta"}
	w.s.Collect(sn)
	text, _, err := metrics.NewPrometheus(nil, 100).Encode(sn, &metrics.Filter{Types: []string{metrics.Table}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pegasus_table_usage_read_capacity_units_total{", "} 20040\n", "pegasus_table_hot_read_partitions{", "} 1\n", "pegasus_table_usage_storage_bytes{", "} 3000\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
}
