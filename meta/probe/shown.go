package probe

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pegasus/base"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/metrics"
)

// Table is how available a table is.
type Table struct {
	ID   int32  `json:"table_id"`
	Name string `json:"name"`
	// The part of the probes that succeeded, from 0 to 1, and how many there were.
	Hour       float64 `json:"availability_hour"`
	Day        float64 `json:"availability_day"`
	HourProbes int64   `json:"probes_hour"`
	DayProbes  int64   `json:"probes_day"`
	// Now are the partitions that failed in the last round, at most shownFailing of them; Failing is how many there are.
	Failing int          `json:"failing_partitions"`
	Now     []FailingNow `json:"failing"`

	probes, reads, writes int64
}

// FailingNow is a partition that failed in the last round.
type FailingNow struct {
	Partition int32     `json:"partition"`
	Since     time.Time `json:"since"`
	Read      string    `json:"read"` // the error, "" if it can be read
	Write     string    `json:"write"`
}

// shownFailing bounds Table.Now.
const shownFailing = 20

// Answer is what the page meta/availability has.
type Answer struct {
	// Every is the interval of rounds in seconds, 0: none are made (probe.interval).
	Every  float64   `json:"probe_interval_seconds"`
	Rounds int64     `json:"rounds"` // since this meta leads
	Last   time.Time `json:"last_round"`
	// Unknown are partitions on servers that are too old to be asked.
	Unknown int `json:"unasked_partitions"`
	// The cluster in the last whole minute, hour and day; 0 probes: there is none yet.
	Minute Part    `json:"minute"`
	Hour   Part    `json:"hour"`
	Day    Part    `json:"day"`
	Tables []Table `json:"tables"`
}

// Part is which part of the probes succeeded in a period.
type Part struct {
	Probes       int64   `json:"probes"`
	Availability float64 `json:"availability"`
}

// Availability returns what is known of all tables, or of one.
func (s *Service) Availability(name string) Answer {
	a := Answer{Every: s.o.Every.Seconds(), Tables: []Table{}}
	now := s.o.Now()
	s.leader.Read(func(st *state.State) {
		s.mu.Lock()
		defer s.mu.Unlock()
		a.Rounds, a.Last, a.Unknown = s.rounds, s.last.UTC(), s.unknown
		for k, p := range []*Part{&a.Minute, &a.Hour, &a.Day} {
			l := &s.all.last[k]
			*p = Part{l.Probes, l.Availability()}
		}
		at := map[int32]int{}
		for id, t := range s.tables {
			x := st.Table(id)
			if x == nil || x.Status != state.Available || name != "" && x.Name != name {
				continue
			}
			hour, day := t.lately(now)
			at[id] = len(a.Tables)
			a.Tables = append(a.Tables, Table{ID: id, Name: x.Name, Hour: hour.Availability(), Day: day.Availability(), HourProbes: hour.Probes, DayProbes: day.Probes,
				Now: []FailingNow{}, probes: t.probes, reads: t.reads, writes: t.writes})
		}
		for g, f := range s.failing {
			if i, ok := at[g.AppID]; ok {
				t := &a.Tables[i]
				t.Failing++
				t.Now = append(t.Now, FailingNow{g.PartitionIndex, f.since.UTC(), said(f.read), said(f.write)})
			}
		}
	})
	for i := range a.Tables {
		n := a.Tables[i].Now
		slices.SortFunc(n, func(a, b FailingNow) int { return cmp.Compare(a.Partition, b.Partition) })
		a.Tables[i].Now = n[:min(len(n), shownFailing)]
	}
	slices.SortFunc(a.Tables, func(a, b Table) int { return cmp.Compare(a.Name, b.Name) })
	return a
}

func said(code base.ErrorCode) string {
	if code == base.ErrOK {
		return ""
	}
	return string(code)
}

func (s *Service) availabilityPage(_ *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("name") {
		return httpapi.Text(http.StatusBadRequest, "the argument is name=<table>")
	}
	return answerJSON(s.Availability(q.Get("name")))
}

func (s *Service) latencyPage(_ *service.Call, q *httpapi.Request) httpapi.Response {
	name, server := q.Get("name"), q.Get("server")
	if !q.Only("name", "server") || (name == "") == (server == "") {
		return httpapi.Text(http.StatusBadRequest, "the argument is name=<table> or server=<host:port>")
	}
	now := s.o.Now()
	if server != "" {
		node, err := base.ParseAddr(server)
		if err != nil {
			return httpapi.Text(http.StatusBadRequest, err.Error())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return answerJSON(s.latency.servers[node].show(now))
	}
	id := int32(-1)
	s.leader.Read(func(st *state.State) {
		if t := st.TableNamed(name); t != nil {
			id = t.ID
		}
	})
	if id < 0 {
		return httpapi.Text(http.StatusNotFound, "there is no such table")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return answerJSON(s.latency.tables[id].show(now))
}

func answerJSON(v any) httpapi.Response {
	b, err := json.Marshal(v)
	if err != nil {
		return httpapi.Text(http.StatusInternalServerError, err.Error())
	}
	return httpapi.Response{Type: "application/json", Body: append(b, '\n')}
}

const million = 1_000_000

var (
	detected = metrics.Define(metrics.Table, "detect_times", metrics.Counter, "probes", "Probes of partitions of the table since this meta leads: each probe.interval one of each partition.")
	readFail = metrics.Define(metrics.Table, "read_failure_detect_times", metrics.Counter, "probes", "Of these, those after which the partition couldn't be read within probe.timeout.").
			Worry("It grows: `pegasus health` says why.")
	writeFail = metrics.Define(metrics.Table, "write_failure_detect_times", metrics.Counter, "probes", "Of these, those after which no empty mutation was committed within probe.timeout. A partition is written in one probe of six.").
			Worry("It grows: `pegasus health` says why.")
	failingNow = metrics.Define(metrics.Table, "failing_partitions", metrics.Gauge, "partitions", "Partitions that can't be read or written, as of the last probe.").
			Worry("Any for longer than a minute: `pegasus table availability` names them.")
	availableHour = metrics.Define(metrics.Table, "available_hour_ppm", metrics.Gauge, "ppm", "The part of the probes of the last hour that succeeded, in millionths (Prometheus: from 0 to 1).").
			Worry("Below 999000 (0.999).")
	clusterAvailable = [kinds]*metrics.Metric{
		metrics.Define(metrics.Server, "cluster_available_minute_ppm", metrics.Gauge, "ppm", "The part of the probes of all partitions that succeeded in the last whole minute, in millionths (leading meta; upstream's collector: cluster.available.minute)."),
		metrics.Define(metrics.Server, "cluster_available_hour_ppm", metrics.Gauge, "ppm", "The same of the last whole hour (cluster.available.hour).").Worry("Below 999000 (0.999)."),
		metrics.Define(metrics.Server, "cluster_available_day_ppm", metrics.Gauge, "ppm", "The same of the last whole day, by the meta's time zone (cluster.available.day).").Worry("Below 999000 (0.999)."),
	}
)

// Collect implements service.Collector.
func (s *Service) Collect(sn *metrics.Snapshot) {
	if s.o.Every <= 0 {
		return
	}
	a := s.Availability("")
	for k, p := range []Part{a.Minute, a.Hour, a.Day} {
		sn.Entity(metrics.Server, "").Set(clusterAvailable[k], int64(p.Availability*million))
	}
	known := map[int32]bool{}
	for i := range a.Tables {
		known[a.Tables[i].ID] = true
	}
	s.leader.Read(func(st *state.State) {
		st.Tables(func(t *state.Table) {
			if t.Status == state.Available && !known[t.ID] { // it begins at 0, so that its first failure is one more
				a.Tables = append(a.Tables, Table{ID: t.ID, Hour: 1})
			}
		})
	})
	for i := range a.Tables {
		t := &a.Tables[i]
		id := strconv.Itoa(int(t.ID))
		e := sn.Entity(metrics.Table, id, "table_id", id)
		e.Set(detected, t.probes)
		e.Set(readFail, t.reads)
		e.Set(writeFail, t.writes)
		e.Set(failingNow, int64(t.Failing))
		e.Set(availableHour, int64(t.Hour*million))
	}
}
