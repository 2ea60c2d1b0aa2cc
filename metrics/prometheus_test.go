package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pegasus/internal/repo"
)

const (
	asksText    = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.8,*/*;q=0.1"
	asksDefault = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1" // Prometheus 2.42
	asksNative  = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

func header(accept string) http.Header { return http.Header{"Accept": {accept}} }

// scrape returns the series of an answer in text, by their names with labels.
func scrape(t *testing.T, p *Prometheus, s *Snapshot, f *Filter) map[string]float64 {
	t.Helper()
	body, _, err := p.Encode(s, f, header("text/plain;version=0.0.4"))
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	if _, err := parser.TextToMetricFamilies(bytes.NewReader(body)); err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			t.Fatal(err)
		}
		out[line[:i]] = v
	}
	return out
}

// server returns a Snapshot of that many replicas, in tables of so many each, that served n gets and puts.
func server(replicas, each, n int) *Snapshot {
	s := &Snapshot{Cluster: "c", Role: "replica", Time: time.Unix(1, 5)}
	s.Entity(Server, "").Set(PrimaryReplicas, int64(replicas))
	for i := range replicas {
		addReplica(s, i/each+1, i%each, n)
	}
	return s
}

func addReplica(s *Snapshot, table, part, n int) {
	id := strconv.Itoa(table)
	s.NameTable(id, "table_"+id)
	e := s.Entity(Replica, fmt.Sprintf("%d.%d", table, part), "table_id", id, "partition_id", strconv.Itoa(part))
	var o Ops
	for range n {
		o.Took(OpGet, 100*time.Microsecond)
		o.Took(OpPut, 3*time.Millisecond)
	}
	o.Collect(e)
	for _, m := range catalogue {
		if m.Entity == Replica && m.Kind != Percentile && (m.op == "" || m.Name == "get_bytes") {
			e.Set(m, int64(n)<<20)
		}
	}
}

func TestTables(t *testing.T) {
	p := NewPrometheus([]string{"role"}, 1000)
	s := server(2, 2, 3)
	s.Entity(Server, "").Set(ResidentMem, 5<<20)
	s.Entity(Server, "").Set(ClockOffset, 1500)
	got := scrape(t, p, s, &Filter{})
	for name, want := range map[string]float64{
		`pegasus_primary_replicas{cluster="c",role="replica"}`:                                                                             2,
		`pegasus_resident_mem_usage_bytes{cluster="c",role="replica"}`:                                                                     5 << 20,
		`pegasus_clock_offset_seconds{cluster="c",role="replica"}`:                                                                         1.5,
		`pegasus_requests_total{cluster="c",role="replica",op="get"}`:                                                                      6,
		`pegasus_request_duration_seconds_count{cluster="c",role="replica",op="put"}`:                                                      6,
		`pegasus_table_requests_total{cluster="c",role="replica",table="table_1",table_id="1",op="get"}`:                                   6,
		`pegasus_table_request_bytes_total{cluster="c",role="replica",table="table_1",table_id="1",op="get"}`:                              6 << 20,
		`pegasus_table_request_duration_seconds_sum{cluster="c",role="replica",table="table_1",table_id="1",op="put"}`:                     0.018,
		`pegasus_table_request_duration_seconds_bucket{cluster="c",role="replica",table="table_1",table_id="1",op="put",le="0.001953125"}`: 0,
		`pegasus_table_request_duration_seconds_bucket{cluster="c",role="replica",table="table_1",table_id="1",op="put",le="0.00390625"}`:  6,
		`pegasus_table_request_duration_seconds_bucket{cluster="c",role="replica",table="table_1",table_id="1",op="put",le="+Inf"}`:        6,
		`pegasus_table_rdb_total_sst_size_bytes{cluster="c",role="replica",table="table_1",table_id="1"}`:                                  6 << 20,
		`pegasus_table_rdb_read_amplification{cluster="c",role="replica",table="table_1",table_id="1"}`:                                    3 << 20,
		`pegasus_replica_role{cluster="c",role="replica",partition_id="1",table_id="1",table="table_1"}`:                                   3 << 20,
		`pegasus_left_out_series{cluster="c",role="replica"}`:                                                                              0,
	} {
		if v, ok := got[name]; !ok || math.Abs(v-want) > 1e-9 {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	for name := range got {
		switch {
		case strings.HasPrefix(name, "pegasus_replica_") && !strings.HasPrefix(name, "pegasus_replica_role{"):
			t.Errorf("%s is shown, of a replica", name)
		case strings.Contains(name, `op="incr"`):
			t.Errorf("%s is shown, and no incr was served", name)
		case strings.HasPrefix(name, "pegasus_table_ballot"):
			t.Errorf("%s is a sum of ballots", name)
		}
	}
	if _, ok := got["go_goroutines"]; !ok {
		t.Error("Go's own metrics aren't there")
	}
	// What is asked for by its name is shown of each replica.
	got = scrape(t, p, s, &Filter{Metrics: []string{"committed_decree"}})
	if v := got[`pegasus_replica_committed_decree{cluster="c",role="replica",partition_id="1",table_id="1",table="table_1"}`]; v != 3<<20 || len(got) != 2 {
		t.Errorf("asked for committed_decree: %v", got)
	}
	got = scrape(t, p, s, &Filter{Types: []string{Replica}})
	if v := got[`pegasus_replica_requests_total{cluster="c",role="replica",partition_id="0",table_id="1",table="table_1",op="get"}`]; v != 3 || len(got) < 100 {
		t.Errorf("%v gets of a replica, %d series", v, len(got))
	}
}

// The sums of a table go on when replicas leave, come back, or come from elsewhere with what they counted here since.
func TestTotalsGoOn(t *testing.T) {
	p := NewPrometheus(nil, 10000)
	const requests = `pegasus_table_requests_total{cluster="c",role="replica",table="table_1",table_id="1",op="get"}`
	const count = `pegasus_table_request_duration_seconds_count{cluster="c",role="replica",table="table_1",table_id="1",op="get"}`
	for _, c := range []struct {
		what  string
		parts map[int]int // requests, by partition
		want  float64
	}{
		{"two replicas", map[int]int{0: 5, 1: 7}, 12},
		{"they serve on", map[int]int{0: 6, 1: 9}, 15},
		{"one leaves", map[int]int{0: 8}, 17},
		{"it is back, and begins anew", map[int]int{0: 8, 1: 2}, 19},
		{"one is opened anew", map[int]int{0: 3, 1: 2}, 22},
	} {
		s := &Snapshot{Cluster: "c", Role: "replica"}
		for part, n := range c.parts {
			addReplica(s, 1, part, n)
		}
		addReplica(s, 2, 0, 1)
		got := scrape(t, p, s, &Filter{})
		if got[requests] != c.want || got[count] != c.want {
			t.Errorf("%s: %v requests, %v in the histogram, want %v", c.what, got[requests], got[count], c.want)
		}
	}
	// Of a table that is gone nothing is kept.
	s := &Snapshot{Cluster: "c", Role: "replica"}
	addReplica(s, 2, 0, 1)
	if got := scrape(t, p, s, &Filter{}); got[requests] != 0 || len(p.totals.tables) != 1 || len(p.totals.last) != 1 {
		t.Errorf("%v requests of a table that is gone, %d tables, %d replicas are kept", got[requests], len(p.totals.tables), len(p.totals.last))
	}
}

// Each scraper gets the form that it asks for, and upstream's tools none of them.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		accept, want string
		asks         bool
	}{
		{"", "text/plain; version=0.0.4", false},
		{"*/*", "text/plain; version=0.0.4", false}, // libcurl, curl
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/plain; version=0.0.4", false},
		{"application/json", "text/plain; version=0.0.4", false},
		{asksText, "text/plain; version=0.0.4", true},
		{asksDefault, "application/openmetrics-text; version=1.0.0", true},
		{asksNative, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", true},
		{"text/plain", "text/plain; version=0.0.4", true},
	} {
		if got := Asks(header(c.accept)); got != c.asks {
			t.Errorf("Accept %q: Prometheus: %v, want %v", c.accept, got, c.asks)
		}
		body, typ, err := NewPrometheus(nil, 1000).Encode(server(1, 1, 1), &Filter{}, header(c.accept))
		if err != nil || !strings.HasPrefix(typ, c.want) || len(body) == 0 {
			t.Errorf("Accept %q: %s, want %s; %v", c.accept, typ, c.want, err)
		}
		if strings.HasPrefix(typ, "application/openmetrics") && !bytes.HasSuffix(body, []byte("# EOF\n")) {
			t.Errorf("%s doesn't end with # EOF", typ)
		}
	}
	if Asks(http.Header{}) {
		t.Error("without a header, as upstream's collector asks")
	}
}

// The native histogram says the same as the classic one.
func TestNativeHistogram(t *testing.T) {
	var o Times
	for i := range 30 {
		o.Add(time.Duration(1) << i) // to half a second, with gaps between the buckets
	}
	o.Add(time.Hour)
	s := server(1, 1, 0)
	s.Entity(Replica, "1.0").SetTimes(Latency[OpScan], &o)
	body, _, err := NewPrometheus(nil, 1000).Encode(s, &Filter{}, header(asksNative))
	if err != nil {
		t.Fatal(err)
	}
	var h *dto.Histogram
	dec := expfmt.NewDecoder(bytes.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var m dto.MetricFamily
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if m.GetName() == "pegasus_table_request_duration_seconds" {
			h = m.Metric[0].Histogram
		}
	}
	if h == nil || h.GetSchema() != schema {
		t.Fatalf("histogram %v", h)
	}
	// bounds of native buckets are 2^(index/4): count those up to each classic bound.
	for _, b := range h.Bucket {
		n, count, index, k := h.GetZeroCount(), int64(0), int32(0), 0
		for i, span := range h.PositiveSpan {
			if i == 0 {
				index = span.GetOffset()
			} else {
				index += span.GetOffset()
			}
			for range span.GetLength() {
				count += h.PositiveDelta[k]
				k++
				if math.Exp2(float64(index)/4) <= b.GetUpperBound()*(1+1e-9) {
					n += uint64(count)
				}
				index++
			}
		}
		if n != b.GetCumulativeCount() {
			t.Errorf("up to %v: %d in the classic histogram, %d in the native one", b.GetUpperBound(), b.GetCumulativeCount(), n)
		}
	}
	if h.GetSampleCount() != 31 {
		t.Errorf("%d samples, want 31", h.GetSampleCount())
	}
}

// cpu returns the processor time that the process took: it says the same on a busy machine.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A scrape of a server with 1,000 replicas takes less than half a second of one processor and 5 MB, however many tables they are of.
func TestScrapeOfManyReplicas(t *testing.T) {
	for _, each := range []int{100, 8, 1} {
		s := server(1000, each, 200)
		p := NewPrometheus([]string{"role", "read_capacity_units", "write_capacity_units", "rdb_total_sst_size_mb"}, 40000)
		for _, accept := range []string{asksText, asksNative} {
			best := time.Hour
			size := 0
			for range 3 {
				began := cpu(t)
				body, _, err := p.Encode(s, &Filter{}, header(accept))
				if err != nil {
					t.Fatal(err)
				}
				best, size = min(best, cpu(t)-began), len(body)
			}
			left := scrape(t, p, s, &Filter{})[`pegasus_left_out_series{cluster="c",role="replica"}`]
			t.Logf("%d tables, %.40s: %v, %.2f MB, %v series left out", 1000/each, accept, best, float64(size)/1e6, left)
			if size > 5e6 {
				t.Errorf("%d tables: %d bytes", 1000/each, size)
			}
			if best > 500*time.Millisecond {
				t.Errorf("%d tables: %v", 1000/each, best)
			}
		}
	}
}

// promtool has no complaint about the answer to Prometheus.
func TestPromtoolCheck(t *testing.T) {
	tool := repo.Tool(t, "promtool", "prometheus")
	s := server(2, 1, 2)
	for _, m := range catalogue {
		switch m.Entity {
		case Replica, Profiler:
		default:
			s.Entity(m.Entity, "x", "tag", "x", "table_id", "1").Set(m, 1)
		}
	}
	p := NewPrometheus([]string{"*"}, 100000)
	p.own = false // promtool complains of Go's own
	body, _, err := p.Encode(s, &Filter{}, header(asksText))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func BenchmarkScrape(b *testing.B) {
	s := server(1000, 8, 10)
	p := NewPrometheus([]string{"role", "read_capacity_units", "write_capacity_units", "rdb_total_sst_size_mb"}, 40000)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Encode(s, &Filter{}, header(asksText)); err != nil {
			b.Fatal(err)
		}
	}
}
