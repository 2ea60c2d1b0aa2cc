package metrics

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Prometheus shows the Snapshots of one server to Prometheus. It remembers what a table's replicas counted, see totals.
type Prometheus struct {
	mu       sync.Mutex
	replicas []string
	limit    int
	own      bool // the process's own metrics, too
	totals   totals
}

// NewPrometheus returns one that shows those metrics of single replicas (their names; "*": all), and at most so many series of
// tables and replicas.
func NewPrometheus(replicas []string, limit int) *Prometheus {
	p := &Prometheus{own: true}
	p.Limit(replicas, limit)
	return p
}

// Limit changes what NewPrometheus says.
func (p *Prometheus) Limit(replicas []string, limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicas, p.limit = replicas, limit
}

// Asks tells whether who sends the header is Prometheus, or what scrapes as it does: it says which of its forms it takes. Upstream's
// tools say nothing, or "*/*".
func Asks(h http.Header) bool {
	accept := strings.Join(h.Values("Accept"), ",")
	return strings.Contains(accept, "text/plain") || strings.Contains(accept, "application/openmetrics-text") || strings.Contains(accept, "io.prometheus.client.MetricFamily")
}

// Encode returns what f leaves of a Snapshot in the form that the header asks for, or else in text, and its type.
func (p *Prometheus) Encode(s *Snapshot, f *Filter, h http.Header) (body []byte, contentType string, err error) {
	format := expfmt.NegotiateAccept(h, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, format)
	families, err := p.families(s, f)
	if err != nil {
		return nil, "", err
	}
	for _, m := range families {
		if err := enc.Encode(m); err != nil {
			return nil, "", fmt.Errorf("encoding %s: %w", m.GetName(), err)
		}
	}
	if c, ok := enc.(expfmt.Closer); ok {
		if err := c.Close(); err != nil {
			return nil, "", fmt.Errorf("encoding the end: %w", err)
		}
	}
	return b.Bytes(), string(format), nil
}

// runtimeMetrics has what Prometheus' own library shows of a Go process.
var runtimeMetrics = sync.OnceValue(func() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
})

// families returns what is shown, sorted by name.
func (p *Prometheus) families(s *Snapshot, f *Filter) ([]*dto.MetricFamily, error) {
	p.mu.Lock()
	x := exposition{s: s, f: f, replicas: p.replicas, left: p.limit, by: map[string]*dto.MetricFamily{},
		common: []*dto.LabelPair{label("cluster", s.Cluster), label("role", s.Role)}}
	p.mu.Unlock()
	tables, server := p.totals.fold(s)
	x.server()
	x.operations(server)
	x.tables(tables)
	x.eachReplica()
	x.leftOut()
	list := make([]*dto.MetricFamily, 0, len(x.by))
	for _, m := range x.by {
		list = append(list, m)
	}
	if f.all() && p.own {
		own, err := runtimeMetrics().Gather()
		if err != nil {
			return nil, fmt.Errorf("the process's own metrics: %w", err)
		}
		list = append(list, own...)
	}
	slices.SortFunc(list, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return list, nil
}

// all tells whether nothing is chosen.
func (f *Filter) all() bool { return len(f.Types)+len(f.IDs)+len(f.Attrs)+len(f.Metrics) == 0 }

// exposition is one answer in the making.
type exposition struct {
	s        *Snapshot
	f        *Filter
	replicas []string
	common   []*dto.LabelPair
	by       map[string]*dto.MetricFamily
	left     int // how many series may be added of tables and replicas
	out      int // how many weren't
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// labels returns those of all series, and more.
func (x *exposition) labels(more ...*dto.LabelPair) []*dto.LabelPair {
	return append(slices.Clip(x.common), more...)
}

// of returns the labels of an entity.
func (x *exposition) of(e *Entity) []*dto.LabelPair {
	l := x.labels()
	for i := 0; i+1 < len(e.attrs); i += 2 {
		l = append(l, label(e.attrs[i], e.attrs[i+1]))
	}
	if id := e.attr("table_id"); id != "" {
		l = append(l, label("table", x.s.tables[id]))
	}
	return l
}

// server adds the metrics of the server and its parts.
func (x *exposition) server() {
	x.s.shown(x.f, func(e *Entity, vs []value) {
		if e.typ == Table || e.typ == Replica || e.typ == Partition || e.typ == Profiler {
			return
		}
		l := x.of(e)
		for i := range vs {
			x.add(prefix(e.typ), &vs[i], l)
		}
	})
}

// operations adds the sums of all tables.
func (x *exposition) operations(c *counted) {
	if !x.f.has(Server) {
		return
	}
	for _, m := range catalogue {
		if v := c.value(m); v != nil && m.op != "" && x.f.named(m) && (v.h != nil || v.n > 0) {
			x.add(prefix(Server), v, x.common)
		}
	}
}

func (c *counted) value(m *Metric) *value {
	if h := c.h[m]; h != nil {
		return &value{m: m, h: h}
	}
	if n, ok := c.n[m]; ok {
		return &value{m: m, n: n}
	}
	return nil
}

// has tells whether entities of a type are shown. One that is named by an id or an attribute is an entity of the JSON.
func (f *Filter) has(typ string) bool {
	return len(f.IDs)+len(f.Attrs) == 0 && (len(f.Types) == 0 || slices.Contains(f.Types, typ))
}

func (f *Filter) named(m *Metric) bool {
	return len(f.Metrics) == 0 || slices.Contains(f.Metrics, m.Name)
}

// series are what one metric has of tables, or of replicas.
type series struct {
	labels []*dto.LabelPair
	v      *value
}

// tables adds the metrics of tables, those that the meta has and the sums of replicas.
func (x *exposition) tables(sums map[string]*counted) {
	by := map[*Metric][]series{}
	x.s.shown(x.f, func(e *Entity, vs []value) {
		if e.typ == Table {
			collect(by, x.of(e), vs)
		}
	})
	if x.f.has(Table) {
		for id, c := range sums {
			l := x.labels(label("table", x.s.tables[id]), label("table_id", id))
			for _, m := range catalogue {
				if v := c.value(m); v != nil && x.f.named(m) && (m.op == "" || v.h != nil || v.n > 0) {
					by[m] = append(by[m], series{l, v})
				}
			}
		}
	}
	x.addAll(prefix(Table), by)
}

func collect(by map[*Metric][]series, l []*dto.LabelPair, vs []value) {
	for i := range vs {
		by[vs[i].m] = append(by[vs[i].m], series{l, &vs[i]})
	}
}

// eachReplica adds the metrics of single replicas and partitions.
func (x *exposition) eachReplica() {
	by := map[*Metric][]series{}
	asked := len(x.f.IDs)+len(x.f.Attrs)+len(x.f.Metrics) > 0 || slices.Contains(x.replicas, "*")
	x.s.shown(x.f, func(e *Entity, vs []value) {
		if e.typ != Replica && e.typ != Partition {
			return
		}
		named := asked || slices.Contains(x.f.Types, e.typ)
		if !named {
			vs = slices.DeleteFunc(slices.Clone(vs), func(v value) bool { return !slices.Contains(x.replicas, v.m.Name) })
		}
		if len(vs) > 0 {
			collect(by, x.of(e), vs)
		}
	})
	for _, typ := range []string{Replica, Partition} {
		x.addAll(prefix(typ), ofType(by, typ))
	}
}

func ofType(by map[*Metric][]series, typ string) map[*Metric][]series {
	some := map[*Metric][]series{}
	for m, l := range by {
		if m.Entity == typ {
			some[m] = l
		}
	}
	return some
}

// addAll adds the metrics of which all series fit, histograms last.
func (x *exposition) addAll(prefix string, by map[*Metric][]series) {
	for _, histograms := range []bool{false, true} {
		for _, m := range catalogue {
			list := by[m]
			if (m.Kind == Percentile) != histograms || len(list) == 0 {
				continue
			}
			n := len(list)
			if histograms {
				n *= classic + 3
			}
			if n > x.left {
				x.out += n
				continue
			}
			x.left -= n
			for _, s := range list {
				x.add(prefix, s.v, s.labels)
			}
		}
	}
}

// leftOut says whether something is missing.
func (x *exposition) leftOut() {
	if x.f.has(Server) && x.f.named(LeftOut) {
		x.add(prefix(Server), &value{m: LeftOut, n: int64(x.out)}, x.common)
	}
}

// add adds one value.
func (x *exposition) add(prefix string, v *value, l []*dto.LabelPair) {
	name, by := v.m.base()
	name = prefix + name
	fam := x.by[name]
	if fam == nil {
		help, typ := v.m.help(), dto.MetricType_GAUGE
		switch v.m.Kind {
		case Counter:
			typ = dto.MetricType_COUNTER
		case Percentile:
			typ = dto.MetricType_HISTOGRAM
		}
		fam = &dto.MetricFamily{Name: &name, Help: &help, Type: &typ}
		x.by[name] = fam
	}
	if v.m.op != "" {
		l = append(slices.Clip(l), label("op", v.m.op))
	}
	out := &dto.Metric{Label: l}
	n := float64(v.n) * by
	switch v.m.Kind {
	case Counter:
		out.Counter = &dto.Counter{Value: &n}
	case Percentile:
		out.Histogram = v.h.encode()
	default:
		out.Gauge = &dto.Gauge{Value: &n}
	}
	fam.Metric = append(fam.Metric, out)
}

// help returns the line of a metric, without what only one operation has.
func (m *Metric) help() string {
	if m.op != "" {
		return map[string]string{"requests": "Requests served, by operation.", "request_bytes": "Size of the keys and values of the requests, by operation.",
			"request_duration_seconds": "Reads: time from admission to the answer. Writes: time from the proposal to the commit."}[m.prom]
	}
	return m.Desc
}

// The classic histogram has whole octaves.
const (
	classicFirst = -17 // 7.6 us
	classicLast  = 3   // 8 s
	classic      = classicLast - classicFirst + 1
	schema       = 2 // of the native one: bounds are powers of 2^(1/4)
)

// encode returns the classic and the native form. h may be nil: nothing was counted.
func (h *Histogram) encode() *dto.Histogram {
	if h == nil {
		h = &Histogram{}
	}
	out := &dto.Histogram{Bucket: make([]*dto.Bucket, 0, classic)}
	n, octave := h.Buckets[0], firstOctave
	for i := 1; ; i++ {
		if (i-1)%octaveBuckets == 0 { // n are those up to this octave
			octave = firstOctave + (i-1)/octaveBuckets
			if octave >= classicFirst && octave <= classicLast {
				out.Bucket = append(out.Bucket, &dto.Bucket{CumulativeCount: ptr(uint64(n)), UpperBound: ptr(math.Ldexp(1, octave+h.Shift))})
			}
		}
		if i == numBuckets {
			break
		}
		n += h.Buckets[i]
	}
	out.SampleCount, out.SampleSum = ptr(uint64(n)), ptr(h.Sum.Seconds())
	out.Schema, out.ZeroThreshold, out.ZeroCount = ptr(int32(schema)), ptr(math.Ldexp(1, firstOctave+h.Shift)), ptr(uint64(h.Buckets[0]))
	var last int64
	for i := 1; i < numBuckets; i++ {
		c := h.Buckets[i]
		if c == 0 {
			continue
		}
		index := int32((firstOctave+h.Shift)*octaveBuckets + i)
		if k := len(out.PositiveSpan); k == 0 {
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: ptr(index), Length: ptr(uint32(1))})
		} else if h.Buckets[i-1] != 0 && i > 1 {
			*out.PositiveSpan[k-1].Length++
		} else {
			gap := int32(0)
			for j := i - 1; h.Buckets[j] == 0; j-- {
				gap++
			}
			out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: ptr(gap), Length: ptr(uint32(1))})
		}
		out.PositiveDelta = append(out.PositiveDelta, c-last)
		last = c
	}
	if len(out.PositiveSpan) == 0 { // or it would be no native one
		out.PositiveSpan = append(out.PositiveSpan, &dto.BucketSpan{Offset: ptr(int32(0)), Length: ptr(uint32(0))})
	}
	return out
}

func ptr[T any](v T) *T { return &v }
