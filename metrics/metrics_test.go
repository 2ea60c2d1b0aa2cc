package metrics

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func example() *Snapshot {
	s := &Snapshot{Cluster: "c", Role: "replica", Host: "h", Port: 34801, Time: time.Unix(1, 5)}
	s.Entity(Server, "").Set(PrimaryReplicas, 3)
	for _, p := range []string{"0", "1"} {
		e := s.Entity(Replica, "2."+p, "table_id", "2", "partition_id", p)
		e.Set(SSTFiles, 4)
		e.SetQuantiles(Latency[OpGet], Quantiles{1, 2, 3, 4, 5})
	}
	return s
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		name, want string
		f          Filter
	}{
		{"one entity, two fields", `[{"type":"replica","id":"replica@2.1","attributes":{"partition_id":"1","table_id":"2"},
			"metrics":[{"name":"rdb_total_sst_files","value":4},{"name":"get_latency_ns"}]}]`,
			Filter{Fields: []string{"value", "name"}, IDs: []string{"replica@2.1"}}},
		{"one of two attributes is enough", `[{"type":"replica","id":"replica@2.0","attributes":{"partition_id":"0","table_id":"2"},
			"metrics":[{"name":"get_latency_ns","p99":4}]}]`,
			Filter{Fields: []string{"p99", "name"}, Attrs: []string{"table_id", "9", "partition_id", "0"}, Metrics: []string{"get_latency_ns"}}},
		{"everything of one metric", `[{"type":"server","id":"server","attributes":{},
			"metrics":[{"type":"Gauge","name":"primary_replicas","unit":"replicas","desc":"Primaries.","value":3}]}]`,
			Filter{Metrics: []string{"primary_replicas"}}},
		{"nothing", `[]`, Filter{Types: []string{"table"}}},
	} {
		var got struct {
			Cluster, Role, Host string
			Port                int
			TimestampNS         int64 `json:"timestamp_ns"`
			Entities            json.RawMessage
		}
		if err := json.Unmarshal(example().JSON(&c.f), &got); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var a, b bytes.Buffer
		if json.Compact(&a, got.Entities) != nil || json.Compact(&b, []byte(c.want)) != nil || a.String() != b.String() {
			t.Errorf("%s:\n%s, want\n%s", c.name, a.Bytes(), b.Bytes())
		}
		if got.Cluster != "c" || got.Role != "replica" || got.Host != "h" || got.Port != 34801 || got.TimestampNS != 1000000005 {
			t.Errorf("%s: head %+v", c.name, got)
		}
	}
}

func TestPrometheus(t *testing.T) {
	got := string(example().Prometheus(&Filter{Metrics: []string{"rdb_total_sst_files", "get_latency_ns"}}))
	for _, line := range []string{
		"# TYPE pegasus_rdb_total_sst_files gauge",
		`pegasus_rdb_total_sst_files{cluster="c",role="replica",partition_id="1",table_id="2"} 4`,
		"# TYPE pegasus_get_latency_ns summary",
		`pegasus_get_latency_ns{cluster="c",role="replica",partition_id="0",table_id="2",quantile="0.999"} 5`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if strings.Count(got, "# TYPE pegasus_rdb_total_sst_files") != 1 || strings.Contains(got, "primary_replicas") {
		t.Errorf("got\n%s", got)
	}
}

func TestOps(t *testing.T) {
	var o Ops
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				o.End(OpGet, o.Begin(OpGet))
				o.Took(OpPut, time.Millisecond)
			}
		})
	}
	wg.Wait()
	if g, p, n := o.Requests(OpGet), o.Requests(OpPut), o.Requests(OpIncr); g != 4000 || p != 4000 || n != 0 {
		t.Errorf("%d gets, %d puts, %d incrs, want 4000, 4000, 0", g, p, n)
	}
	if q := QuantilesOf(o.AppendSamples(nil, OpPut)); q.P50 != int64(time.Millisecond) || q.P999 != int64(time.Millisecond) {
		t.Errorf("quantiles %+v of puts that took a millisecond", q)
	}
	if s := o.AppendSamples(nil, OpGet); len(s) < sampleFirst || len(s) > window || slices.Min(s) <= 0 {
		t.Errorf("%d samples of gets, from %d", len(s), slices.Min(s))
	}
	if s := o.AppendSamples(nil, OpIncr); len(s) != 0 {
		t.Errorf("samples %v of no incr", s)
	}
}

func TestQuantiles(t *testing.T) {
	s := make([]int64, 1000)
	for i := range s {
		s[i] = int64(1000 - i)
	}
	if got, want := QuantilesOf(s), (Quantiles{501, 901, 951, 991, 1000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func BenchmarkOps(b *testing.B) {
	var o Ops
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o.End(OpGet, o.Begin(OpGet))
		}
	})
}

// Each entity that has a metric is explained.
func TestEntities(t *testing.T) {
	for _, m := range All() {
		if entities[m.Entity] == "" {
			t.Errorf("metric %s is of %q", m.Name, m.Entity)
		}
	}
}

// Who adds to an entity that is there already finds it: it appears once.
func TestEntityOnce(t *testing.T) {
	var s Snapshot
	s.Entity(Server, "").Set(TotalReplicas, 1)
	s.Entity(Disk, "a", "tag", "a").Set(DiskTotal, 2)
	s.Entity(Server, "").Set(OpeningReplicas, 3)
	if n := len(s.entities); n != 2 || len(s.entities[0].values) != 2 {
		t.Errorf("%d entities: %+v", n, s.entities)
	}
}
