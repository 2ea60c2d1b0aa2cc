package metrics

import (
	"bytes"
	"encoding/json"
	"math"
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

func TestOps(t *testing.T) {
	var o Ops
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				o.Took(OpGet, time.Microsecond)
				o.Took(OpPut, time.Millisecond)
			}
		})
	}
	wg.Wait()
	if g, p := o.Of(OpGet).Count(), o.Of(OpPut).Count(); g != 4000 || p != 4000 || o.Of(OpIncr) != nil {
		t.Errorf("%d gets, %d puts, incrs %v, want 4000, 4000, none", g, p, o.Of(OpIncr))
	}
	if q := QuantilesOf(o.AppendSamples(nil, OpPut)); q.P50 != int64(time.Millisecond) || q.P999 != int64(time.Millisecond) {
		t.Errorf("quantiles %+v of puts that took a millisecond", q)
	}
	if h := o.Of(OpPut).Histogram(); h.Count() != 4000 || h.Sum != 4*time.Second || h.Buckets[bucket(time.Millisecond)] != 4000 {
		t.Errorf("histogram %+v", h)
	}
	if s := o.AppendSamples(nil, OpGet); len(s) != window {
		t.Errorf("%d samples of gets", len(s))
	}
	if s := o.AppendSamples(nil, OpIncr); len(s) != 0 {
		t.Errorf("samples %v of no incr", s)
	}
	if n := testing.AllocsPerRun(100, func() { o.Took(OpGet, time.Microsecond) }); n != 0 {
		t.Errorf("counting one op allocates %v times", n)
	}
}

// A bucket has what is above the bound before it, up to its own.
func TestBuckets(t *testing.T) {
	for i := range numBuckets - 1 {
		bound := math.Exp2(firstOctave+float64(i)/octaveBuckets) * 1e9
		below, above := time.Duration(bound), time.Duration(bound)+1
		if below > 0 && bucket(below) > i || bucket(above) <= i {
			t.Errorf("bound %v of bucket %d: %v is in bucket %d, %v in %d", bound, i, below, bucket(below), above, bucket(above))
		}
	}
	if bucket(time.Second) != -firstOctave*octaveBuckets {
		t.Errorf("one second is in bucket %d: an upper bound belongs to its bucket", bucket(time.Second))
	}
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, 1: 0, time.Hour: numBuckets - 1, math.MaxInt64: numBuckets - 1} {
		if got := bucket(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
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
			o.Took(OpGet, 3*time.Microsecond)
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

func TestOctaves(t *testing.T) {
	var times Times
	for range 99 {
		times.Add(time.Millisecond)
	}
	times.Add(time.Second)
	var o Octaves
	times.Histogram().AddTo(&o)
	if o.Count() != 100 || o.Quantile(0.5) > 1954*time.Microsecond || o.Quantile(0.5) < 977*time.Microsecond || o.Quantile(0.99) > 1954*time.Microsecond || o.Quantile(1) > time.Second || o.Quantile(1) < time.Second/2 {
		t.Errorf("%v: %v, %v, %v", o, o.Quantile(0.5), o.Quantile(0.99), o.Quantile(1))
	}
	times.Add(time.Hour)
	times.Add(0)
	o = Octaves{}
	times.Histogram().AddTo(&o)
	if o[0] != 1 || o[len(o)-1] != 1 || o.Quantile(1) != 16*time.Second {
		t.Errorf("%v: at most %v", o, o.Quantile(1))
	}
	if (&Octaves{}).Quantile(0.99) != 0 {
		t.Error("of nothing there is a quantile")
	}
}
