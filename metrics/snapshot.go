package metrics

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Snapshot is the values of one server at one moment.
type Snapshot struct {
	Cluster string
	Role    string // "meta" or "replica"
	Host    string
	Port    int
	Time    time.Time

	entities []*Entity
	byID     map[string]*Entity
	tables   map[string]string // names, by the attribute table_id
}

// NameTable says what the table of an id is called. Prometheus shows it; upstream's JSON has only ids.
func (s *Snapshot) NameTable(id, name string) {
	if s.tables == nil {
		s.tables = map[string]string{}
	}
	s.tables[id] = name
}

// Entity is what a group of metrics is about.
type Entity struct {
	typ, id string
	attrs   []string // names and values in turn, sorted by name
	values  []value
}

type value struct {
	m *Metric
	n int64
	q Quantiles
	h *Histogram // of a Percentile; nil: there is none
}

// Entity returns the entity of a type and a name, and adds it if it isn't there yet. Its id is
// "<type>@<name>", or the type alone for name ""; attrs are names and values in turn, those of the first call.
func (s *Snapshot) Entity(typ, name string, attrs ...string) *Entity {
	id := typ
	if name != "" {
		id += "@" + name
	}
	if e := s.byID[id]; e != nil {
		return e
	}
	e := &Entity{typ: typ, id: id, attrs: attrs}
	for i := 2; i < len(attrs); i += 2 { // few: an insertion sort of pairs
		for j := i; j > 0 && attrs[j] < attrs[j-2]; j -= 2 {
			attrs[j], attrs[j-2] = attrs[j-2], attrs[j]
			attrs[j+1], attrs[j-1] = attrs[j-1], attrs[j+1]
		}
	}
	if s.byID == nil {
		s.byID = map[string]*Entity{}
	}
	s.byID[id] = e
	s.entities = append(s.entities, e)
	return e
}

// Set adds a value. The metric must be one of the entity's type. Those in MB are set in bytes.
func (e *Entity) Set(m *Metric, n int64) {
	e.check(m)
	e.values = append(e.values, value{m: m, n: n})
}

// SetBool adds 1 or 0.
func (e *Entity) SetBool(m *Metric, on bool) {
	if on {
		e.Set(m, 1)
	} else {
		e.Set(m, 0)
	}
}

// SetQuantiles adds the value of a Percentile.
func (e *Entity) SetQuantiles(m *Metric, q Quantiles) {
	e.check(m)
	e.values = append(e.values, value{m: m, q: q})
}

// SetTimes adds the value of a Percentile, nil if nothing was counted, and returns how many durations it is of.
func (e *Entity) SetTimes(m *Metric, t *Times) int64 {
	e.check(m)
	v := value{m: m}
	if t == nil {
		e.values = append(e.values, v)
		return 0
	}
	samples := t.AppendSamples(nil)
	if by := m.nanos(); by > 1 {
		for i := range samples {
			samples[i] /= by
		}
	}
	v.q, v.h = QuantilesOf(samples), t.Histogram()
	e.values = append(e.values, v)
	return v.h.Count()
}

// attr returns the value of an attribute, "" if the entity doesn't have it.
func (e *Entity) attr(name string) string {
	for i := 0; i+1 < len(e.attrs); i += 2 {
		if e.attrs[i] == name {
			return e.attrs[i+1]
		}
	}
	return ""
}

func (e *Entity) check(m *Metric) {
	if m.Entity != e.typ {
		panic(fmt.Sprintf("metric %s is of %s, not of %s", m.Name, m.Entity, e.typ))
	}
}

// Filter chooses what of a Snapshot is shown. Empty lists choose everything.
type Filter struct {
	Fields  []string
	Types   []string
	IDs     []string
	Attrs   []string // names and values in turn: one of the pairs must match
	Metrics []string
}

func (f *Filter) entity(e *Entity) bool {
	in := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	if !in(f.Types, e.typ) || !in(f.IDs, e.id) {
		return false
	}
	if len(f.Attrs) == 0 {
		return true
	}
	for i := 0; i+1 < len(f.Attrs); i += 2 {
		for j := 0; j+1 < len(e.attrs); j += 2 {
			if e.attrs[j] == f.Attrs[i] && e.attrs[j+1] == f.Attrs[i+1] {
				return true
			}
		}
	}
	return false
}

// shown calls f for the entities and values that the filter leaves.
func (s *Snapshot) shown(f *Filter, show func(*Entity, []value)) {
	for _, e := range s.entities {
		if !f.entity(e) {
			continue
		}
		vs := e.values
		if len(f.Metrics) > 0 {
			vs = nil
			for _, v := range e.values {
				if slices.Contains(f.Metrics, v.m.Name) {
					vs = append(vs, v)
				}
			}
		}
		if len(vs) > 0 {
			show(e, vs)
		}
	}
}

// list returns the fields of a Percentile.
func (q *Quantiles) list() [5]struct {
	name string
	n    int64
} {
	return [5]struct {
		name string
		n    int64
	}{{"p50", q.P50}, {"p90", q.P90}, {"p95", q.P95}, {"p99", q.P99}, {"p999", q.P999}}
}

// JSON returns upstream's form: an object with the server and its entities, indented by four.
func (s *Snapshot) JSON(f *Filter) []byte {
	var b bytes.Buffer
	str := func(s string) {
		q, err := json.Marshal(s)
		if err != nil {
			q = []byte(`""`)
		}
		b.Write(q)
	}
	b.WriteString(`{"cluster":`)
	str(s.Cluster)
	b.WriteString(`,"role":`)
	str(s.Role)
	b.WriteString(`,"host":`)
	str(s.Host)
	fmt.Fprintf(&b, `,"port":%d,"timestamp_ns":%d,"entities":[`, s.Port, s.Time.UnixNano())
	has := func(field string) bool { return len(f.Fields) == 0 || slices.Contains(f.Fields, field) }
	first := true
	s.shown(f, func(e *Entity, vs []value) {
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`{"type":`)
		str(e.typ)
		b.WriteString(`,"id":`)
		str(e.id)
		b.WriteString(`,"attributes":{`)
		for i := 0; i+1 < len(e.attrs); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			str(e.attrs[i])
			b.WriteByte(':')
			str(e.attrs[i+1])
		}
		b.WriteString(`},"metrics":[`)
		for i := range vs {
			if i > 0 {
				b.WriteByte(',')
			}
			v, sep := &vs[i], byte('{')
			field := func(name string) bool {
				if !has(name) {
					return false
				}
				b.WriteByte(sep)
				sep = ','
				b.WriteString(`"` + name + `":`)
				return true
			}
			for _, t := range [][2]string{{"type", v.m.Kind.String()}, {"name", v.m.Name}, {"unit", v.m.Unit}, {"desc", v.m.Desc}} {
				if field(t[0]) {
					str(t[1])
				}
			}
			if v.m.Kind != Percentile {
				if field("value") {
					n := v.n
					if v.m.inMB() {
						n >>= 20
					}
					b.WriteString(strconv.FormatInt(n, 10))
				}
			} else {
				for _, q := range v.q.list() {
					if field(q.name) {
						b.WriteString(strconv.FormatInt(q.n, 10))
					}
				}
			}
			if sep == '{' {
				b.WriteByte('{')
			}
			b.WriteByte('}')
		}
		b.WriteString(`]}`)
	})
	b.WriteString(`]}`)
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "    "); err != nil {
		return b.Bytes()
	}
	out.WriteByte('\n')
	return out.Bytes()
}
