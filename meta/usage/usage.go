package usage

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/metadata"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/metrics"
)

// Hours is for how many hours tables are remembered, the present one included.
const Hours = 48

// A partition is hot if it has so many capacity units a second, and so many times what the others of its table have in the mean, at
// so many reports of its primary, one after the other.
const (
	hotUnits = 100
	hotTimes = 4
	hotLooks = 3
)

// Options are what a Service needs.
type Options struct {
	Now func() time.Time // nil: time.Now
	// Used is told of the capacity units of reads and writes that the primaries of a table on a server counted since they last told; nil:
	// nobody is. It must not wait, nor call the Service.
	Used func(node base.RPCAddress, table int32, units [2]int64)
}

// EnsureDefaults replaces what isn't set.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Used == nil {
		o.Used = func(base.RPCAddress, int32, [2]int64) {}
	}
}

// Service hears of all partitions while its meta leads.
type Service struct {
	service.Quiet
	leader service.Leader
	now    func() time.Time
	used   func(base.RPCAddress, int32, [2]int64)

	mu     sync.Mutex
	parts  map[base.Gpid]*part
	tables map[int32]*table
	tidied time.Time
}

// part is what the primary of a partition told last.
type part struct {
	node  base.RPCAddress
	at    time.Time
	units [2]int64
	rate  [2]float64 // a second, since the report before
	hot   [2]int     // at how many reports in a row it was
	bytes int64
}

// Reads and writes, in this order everywhere.
const (
	read = iota
	write
)

// table is what a table used.
type table struct {
	units [2]int64 // since the meta leads
	hours []hour   // the oldest first
}

type hour struct {
	began time.Time
	units [2]int64
	bytes int64 // the most at once
}

// New returns a Service of a meta that leads, or of none.
func New(l service.Leader, o Options) *Service {
	o.EnsureDefaults()
	return &Service{leader: l, now: o.Now, used: o.Used, parts: map[base.Gpid]*part{}, tables: map[int32]*table{}}
}

// Register implements service.Service.
func (*Service) Register(r *service.Routes) {
	service.Page(r, "meta/usage", "[name=<table>]: capacity units and storage of each table by hour, and its hot partitions.", (*Service).page)
}

// Report implements service.Service.
func (s *Service) Report(r *service.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if now.Sub(s.tidied) > time.Minute {
		s.tidy(r.State)
		s.tidied = now
	}
	seen := map[int32]bool{}
	for i := range r.Request.StoredReplicas.V {
		rep := &r.Request.StoredReplicas.V[i]
		if t, cfg, ok := r.State.Config(rep.Pid); ok && t.Status == state.Available && cfg.Primary == r.Node {
			s.heard(now, r.Node, rep)
			seen[rep.Pid.AppID] = true
		}
	}
	for id := range seen {
		s.size(now, r.State.Table(id))
	}
}

// heard takes what a primary counted.
func (s *Service) heard(now time.Time, node base.RPCAddress, rep *metadata.ReplicaInfo) {
	p := s.parts[rep.Pid]
	if p == nil {
		p = &part{}
		s.parts[rep.Pid] = p
	}
	units := [2]int64{rep.ReadUnits.V, rep.WriteUnits.V}
	// What nobody saw isn't counted: before the first report, and while another server was the primary.
	if d := now.Sub(p.at).Seconds(); p.node == node && d > 0 && rep.ReadUnits.Set {
		var grew [2]int64
		for k := range units {
			n := units[k] - p.units[k]
			if n < 0 { // it was opened anew
				n = units[k]
			}
			grew[k] = n
			p.rate[k] = float64(n) / d
			t := s.table(now, rep.Pid.AppID)
			t.units[k] += n
			t.hours[len(t.hours)-1].units[k] += n
		}
		s.used(node, rep.Pid.AppID, grew)
	} else {
		p.rate, p.hot = [2]float64{}, [2]int{}
	}
	p.node, p.at, p.units, p.bytes = node, now, units, rep.Bytes.V
}

// table returns a table whose last hour is the present one.
func (s *Service) table(now time.Time, id int32) *table {
	t := s.tables[id]
	if t == nil {
		t = &table{}
		s.tables[id] = t
	}
	began := now.Truncate(time.Hour)
	if n := len(t.hours); n == 0 || t.hours[n-1].began.Before(began) {
		t.hours = append(t.hours, hour{began: began})
		t.hours = slices.DeleteFunc(t.hours, func(h hour) bool { return h.began.Before(began.Add(-(Hours - 1) * time.Hour)) })
	}
	return t
}

// size adds up the partitions of a table, and looks which are hot.
func (s *Service) size(now time.Time, st *state.Table) {
	var bytes int64
	var sum [2]float64
	for i := range st.Parts {
		if p := s.parts[base.Gpid{AppID: st.ID, PartitionIndex: int32(i)}]; p != nil {
			bytes += p.bytes
			sum[read] += p.rate[read]
			sum[write] += p.rate[write]
		}
	}
	h := s.table(now, st.ID).hours
	h[len(h)-1].bytes = max(h[len(h)-1].bytes, bytes)
	for i := range st.Parts {
		p := s.parts[base.Gpid{AppID: st.ID, PartitionIndex: int32(i)}]
		if p == nil || !p.at.Equal(now) {
			continue // each report counts once
		}
		for k := range sum {
			others := float64(len(st.Parts) - 1)
			if others > 0 && p.rate[k] >= hotUnits && p.rate[k] >= hotTimes*(sum[k]-p.rate[k])/others {
				p.hot[k]++
			} else {
				p.hot[k] = 0
			}
		}
	}
}

// tidy forgets what isn't there any more.
func (s *Service) tidy(st *state.State) {
	for g := range s.parts {
		if _, _, ok := st.Config(g); !ok {
			delete(s.parts, g)
		}
	}
	for id := range s.tables {
		if t := st.Table(id); t == nil || t.Status != state.Available {
			delete(s.tables, id)
		}
	}
}

// Table is what a table uses.
type Table struct {
	ID          int32          `json:"table_id"`
	Name        string         `json:"name"`
	ReadPerSec  float64        `json:"read_capacity_units_per_second"`
	WritePerSec float64        `json:"write_capacity_units_per_second"`
	Bytes       int64          `json:"bytes"` // of one copy
	Partitions  int64          `json:"partitions"`
	Told        int64          `json:"partitions_told"` // of which something was heard
	Hot         []HotPartition `json:"hot_partitions"`
	Hours       []Hour         `json:"hours"`

	units [2]int64
}

// HotPartition carries far more than the others.
type HotPartition struct {
	Partition int32   `json:"partition"`
	Kind      string  `json:"kind"` // "read" or "write"
	PerSec    float64 `json:"capacity_units_per_second"`
	Node      string  `json:"node"`
}

// Hour is what a table used in an hour.
type Hour struct {
	Began      time.Time `json:"began"`
	ReadUnits  int64     `json:"read_capacity_units"`
	WriteUnits int64     `json:"write_capacity_units"`
	Bytes      int64     `json:"bytes"`
}

// Tables returns the tables that there are, by name; name "": all. Their hours are left out unless they are asked for.
func (s *Service) Tables(name string, hours bool) []Table {
	var list []Table
	s.leader.Read(func(st *state.State) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, t := range s.tables {
			x := st.Table(id)
			if x == nil || x.Status != state.Available || name != "" && x.Name != name {
				continue
			}
			list = append(list, s.show(x, t, hours))
		}
	})
	slices.SortFunc(list, func(a, b Table) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (s *Service) show(x *state.Table, t *table, hours bool) Table {
	out := Table{ID: x.ID, Name: x.Name, Hot: []HotPartition{}, Hours: []Hour{}, Partitions: int64(len(x.Parts)), units: t.units}
	for i := range x.Parts {
		p := s.parts[base.Gpid{AppID: x.ID, PartitionIndex: int32(i)}]
		if p == nil {
			continue
		}
		out.ReadPerSec += p.rate[read]
		out.WritePerSec += p.rate[write]
		out.Bytes += p.bytes
		out.Told++
		for k, kind := range []string{"read", "write"} {
			if p.hot[k] >= hotLooks {
				out.Hot = append(out.Hot, HotPartition{int32(i), kind, p.rate[k], p.node.String()})
			}
		}
	}
	if hours {
		for _, h := range t.hours {
			out.Hours = append(out.Hours, Hour{h.began.UTC(), h.units[read], h.units[write], h.bytes})
		}
	}
	return out
}

func (s *Service) page(_ *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("name", "hours") || q.Get("hours") != "" && q.Get("hours") != "0" {
		return httpapi.Text(http.StatusBadRequest, "the arguments are name=<table> and hours=0, which leaves the hours out")
	}
	list := s.Tables(q.Get("name"), q.Get("hours") != "0")
	if list == nil {
		list = []Table{}
	}
	b, err := json.Marshal(map[string]any{"tables": list})
	if err != nil {
		return httpapi.Text(http.StatusInternalServerError, err.Error())
	}
	return httpapi.Response{Type: "application/json", Body: append(b, '\n')}
}

var (
	readUnits  = metrics.Define(metrics.Table, "usage_read_capacity_units", metrics.Counter, "units", "Capacity units of reads of the table, on all servers, since this meta leads.")
	writeUnits = metrics.Define(metrics.Table, "usage_write_capacity_units", metrics.Counter, "units", "Capacity units of writes of the table, on all servers, since this meta leads.")
	storage    = metrics.Define(metrics.Table, "usage_storage_bytes", metrics.Gauge, "bytes", "Size of one copy of the table, as primaries told last.").
			Worry("Times the replicas it comes near what the disks have.")
	hotReads = metrics.Define(metrics.Table, "hot_read_partitions", metrics.Gauge, "partitions", "Partitions with at least 100 capacity units of reads a second and four times as many as the others of the table in the mean, for three reports in a row.").
			Worry("Not 0 for an hour: `pegasus table hotkeys` says whether it is one key; else `pegasus table split` halves the partition.")
	hotWrites = metrics.Define(metrics.Table, "hot_write_partitions", metrics.Gauge, "partitions", "The same for writes.").
			Worry("Not 0 for an hour, as hot_read_partitions.")
)

// Collect implements service.Collector.
func (s *Service) Collect(sn *metrics.Snapshot) {
	for _, t := range s.Tables("", false) {
		var hot [2]int64
		for _, h := range t.Hot {
			if h.Kind == "read" {
				hot[read]++
			} else {
				hot[write]++
			}
		}
		id := strconv.Itoa(int(t.ID))
		e := sn.Entity(metrics.Table, id, "table_id", id)
		e.Set(readUnits, t.units[read])
		e.Set(writeUnits, t.units[write])
		e.Set(storage, t.Bytes)
		e.Set(hotReads, hot[read])
		e.Set(hotWrites, hot[write])
	}
}
