package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
)

// Load is what a partition, a table or a server had to do and has: counters since the servers' start, or the
// rates of them.
type Load struct {
	Reads      float64 `json:"reads"`
	Writes     float64 `json:"writes"`
	ReadUnits  float64 `json:"read_units"`
	WriteUnits float64 `json:"write_units"`
	Throttled  float64 `json:"throttled"`
	Slow       float64 `json:"slow"` // reads that were slow or large
}

func (l *Load) add(o Load) {
	l.Reads += o.Reads
	l.Writes += o.Writes
	l.ReadUnits += o.ReadUnits
	l.WriteUnits += o.WriteUnits
	l.Throttled += o.Throttled
	l.Slow += o.Slow
}

// since is the rate from an older count to this one. A server that restarted meanwhile has counted from 0.
func (l Load) since(old Load, seconds float64) Load {
	rate := func(now, then float64) float64 {
		if now < then {
			then = 0
		}
		return (now - then) / seconds
	}
	return Load{rate(l.Reads, old.Reads), rate(l.Writes, old.Writes), rate(l.ReadUnits, old.ReadUnits), rate(l.WriteUnits, old.WriteUnits), rate(l.Throttled, old.Throttled), rate(l.Slow, old.Slow)}
}

// Room is what the replicas of something take.
type Room struct {
	Bytes    int64 `json:"bytes"` // files of all replicas
	Files    int64 `json:"files"`
	Memtable int64 `json:"memtable_bytes"`
	Rows     int64 `json:"rows"` // about, each counted once
}

// counters says of each metric of a replica what it counts for.
var counters = map[string]func(*Load, float64){}

func init() {
	for _, op := range []string{"get", "ttl", "multi_get", "batch_get", "sortkey_count", "scan"} {
		counters[op+"_requests"] = func(l *Load, n float64) { l.Reads += n }
	}
	for _, op := range []string{"put", "multi_put", "remove", "multi_remove", "incr", "check_and_set", "check_and_mutate", "duplicate"} {
		counters[op+"_requests"] = func(l *Load, n float64) { l.Writes += n }
	}
	for _, name := range []string{"throttling_delayed_write_requests", "throttling_rejected_write_requests", "throttling_delayed_read_requests", "throttling_rejected_read_requests"} {
		counters[name] = func(l *Load, n float64) { l.Throttled += n }
	}
	counters["read_capacity_units"] = func(l *Load, n float64) { l.ReadUnits += n }
	counters["write_capacity_units"] = func(l *Load, n float64) { l.WriteUnits += n }
	counters["abnormal_read_requests"] = func(l *Load, n float64) { l.Slow += n }
}

// rooms are the metrics that tell what a replica takes.
var rooms = map[string]func(*Room, int64){
	"rdb_total_sst_size_mb":        func(r *Room, n int64) { r.Bytes += n << 20 },
	"rdb_total_sst_files":          func(r *Room, n int64) { r.Files += n },
	"rdb_memtable_mem_usage_bytes": func(r *Room, n int64) { r.Memtable += n },
	"rdb_estimated_keys":           func(r *Room, n int64) { r.Rows += n },
}

// sample is what all replica servers count at a moment.
type sample struct {
	at     time.Time
	loads  map[base.Gpid]map[string]Load // by server
	rooms  map[base.Gpid]map[string]Room
	silent []answerOf[*metricsPage]
}

type metricsPage struct {
	Entities []struct {
		Attributes map[string]string `json:"attributes"`
		Metrics    []struct {
			Name  string `json:"name"`
			Value int64  `json:"value"`
			Unit  string `json:"unit"`
		} `json:"metrics"`
	} `json:"entities"`
}

// sampleAll asks all live replica servers.
func (s Servers) sampleAll(ctx context.Context) (*sample, error) {
	nodes, err := s.Client.Admin().ListNodes(ctx)
	if err != nil {
		return nil, err
	}
	var list []server
	for _, n := range nodes {
		if n.Alive {
			list = append(list, server{n.Addr.String(), "replica"})
		}
	}
	query := url.Values{"types": {"replica"}, "with_metric_fields": {"name,value"},
		"metrics": {strings.Join(slices.Concat(slices.Sorted(maps.Keys(counters)), slices.Sorted(maps.Keys(rooms))), ",")}}
	out := &sample{at: time.Now(), loads: map[base.Gpid]map[string]Load{}, rooms: map[base.Gpid]map[string]Room{}}
	for _, a := range askEach(list, func(x server) (*metricsPage, error) {
		b, err := s.Client.Admin().Page(ctx, x.Addr, "metrics", query)
		if err != nil {
			return nil, err
		}
		p := &metricsPage{}
		return p, json.Unmarshal(b, p)
	}) {
		if a.err != nil {
			out.silent = append(out.silent, a)
			continue
		}
		for _, en := range a.got.Entities {
			g, err := base.ParseGpid(en.Attributes["table_id"] + "." + en.Attributes["partition_id"])
			if err != nil {
				continue
			}
			var l Load
			var r Room
			for _, m := range en.Metrics {
				if f := counters[m.Name]; f != nil {
					f(&l, float64(m.Value))
				}
				if f := rooms[m.Name]; f != nil {
					f(&r, m.Value)
				}
			}
			if out.loads[g] == nil {
				out.loads[g], out.rooms[g] = map[string]Load{}, map[string]Room{}
			}
			out.loads[g][a.Addr], out.rooms[g][a.Addr] = l, r
		}
	}
	if len(out.silent) == len(list) && len(list) > 0 {
		return nil, silent(out.silent)
	}
	return out, nil
}

// rates are what each partition had to do between two samples, on each server.
func (s *sample) rates(old *sample) map[base.Gpid]map[string]Load {
	seconds := max(s.at.Sub(old.at).Seconds(), 0.001)
	out := map[base.Gpid]map[string]Load{}
	for g, by := range s.loads {
		out[g] = map[string]Load{}
		for addr, l := range by {
			if was, ok := old.loads[g][addr]; ok {
				out[g][addr] = l.since(was, seconds)
			}
		}
	}
	return out
}

// saySilent tells which servers weren't counted.
func (s Servers) saySilent(x *sample) {
	for _, a := range x.silent {
		fmt.Fprintf(s.Out, "%s isn't counted: %s\n", a.Addr, Explain(a.err))
	}
}

type tableStatsJSON struct {
	Name       string `json:"name"`
	ID         int32  `json:"id"`
	Partitions int32  `json:"partitions"`
	Load
	Hottest      *int32  `json:"hottest_partition,omitempty"`
	HottestShare float64 `json:"hottest_percent"`
}

// Stats shows what clients ask of each table, or of each partition of one, in a second: measured over an interval.
func (s Servers) Stats(ctx context.Context, table string, over time.Duration) error {
	tables, err := s.tables(ctx, table)
	if err != nil {
		return err
	}
	old, err := s.sampleAll(ctx)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(over):
	}
	now, err := s.sampleAll(ctx)
	if err != nil {
		return err
	}
	rates := now.rates(old)
	if table != "" {
		return s.partitionStats(&tables[0], rates, now)
	}
	list := tableRates(tables, rates)
	if s.JSON {
		return s.json(list)
	}
	g := newGrid("table", "#reads/s", "#writes/s", "#read units/s", "#write units/s", "#throttled/s", "#slow/s", "hottest partition")
	for _, t := range list {
		hot := "-"
		if t.Hottest != nil {
			hot = fmt.Sprintf("%d (%.0f %%)", *t.Hottest, t.HottestShare)
		}
		g.add(Escape([]byte(t.Name)), perSecond(t.Reads), perSecond(t.Writes), perSecond(t.ReadUnits), perSecond(t.WriteUnits), perSecond(t.Throttled), perSecond(t.Slow), hot)
	}
	if err := g.print(s.Out); err != nil {
		return err
	}
	s.saySilent(now)
	return nil
}

// tables are those that are available, or the one of a name.
func (s Servers) tables(ctx context.Context, name string) ([]layer2.AppInfo, error) {
	if name == "" {
		return s.Client.Admin().ListTables(ctx, layer2.AS_AVAILABLE)
	}
	t, err := s.tableNamed(ctx, name)
	if err != nil {
		return nil, err
	}
	return []layer2.AppInfo{*t}, nil
}

// tableRates adds up what the partitions of each table had to do; those with most are first.
func tableRates(tables []layer2.AppInfo, rates map[base.Gpid]map[string]Load) []tableStatsJSON {
	list := make([]tableStatsJSON, 0, len(tables))
	for i := range tables {
		a := &tables[i]
		t := tableStatsJSON{Name: a.AppName, ID: a.AppId, Partitions: a.PartitionCount}
		most := 0.0
		for p := range a.PartitionCount {
			var sum Load
			for _, l := range rates[base.Gpid{AppID: a.AppId, PartitionIndex: p}] {
				sum.add(l)
			}
			t.add(sum)
			if n := sum.Reads + sum.Writes; n > most {
				most, t.Hottest = n, &p
			}
		}
		if t.Hottest != nil {
			t.HottestShare = 100 * most / (t.Reads + t.Writes)
		}
		list = append(list, t)
	}
	slices.SortStableFunc(list, func(a, b tableStatsJSON) int { return cmp.Compare(b.Reads+b.Writes, a.Reads+a.Writes) })
	return list
}

func (s Servers) partitionStats(a *layer2.AppInfo, rates map[base.Gpid]map[string]Load, now *sample) error {
	type row struct {
		Partition int32  `json:"partition"`
		Server    string `json:"server"`
		Load
	}
	list := []row{}
	g := newGrid("#partition", "server", "#reads/s", "#writes/s", "#read units/s", "#write units/s", "#throttled/s", "#slow/s")
	for p := range a.PartitionCount {
		by := rates[base.Gpid{AppID: a.AppId, PartitionIndex: p}]
		for _, addr := range slices.Sorted(maps.Keys(by)) {
			l := by[addr]
			if l == (Load{}) {
				continue // most secondaries
			}
			list = append(list, row{p, addr, l})
			g.add(p, addr, perSecond(l.Reads), perSecond(l.Writes), perSecond(l.ReadUnits), perSecond(l.WriteUnits), perSecond(l.Throttled), perSecond(l.Slow))
		}
	}
	if s.JSON {
		return s.json(list)
	}
	if len(list) == 0 {
		fmt.Fprintf(s.Out, "nobody asked anything of table %s\n", Escape([]byte(a.AppName)))
	} else if err := g.print(s.Out); err != nil {
		return err
	}
	s.saySilent(now)
	return nil
}

// perSecond writes a rate: small ones with a decimal.
func perSecond(n float64) string {
	if n > 0 && n < 10 {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return strconv.FormatFloat(n, 'f', 0, 64)
}

// Usage shows what each table takes on disks and in memory.
func (s Servers) Usage(ctx context.Context, table string) error {
	tables, err := s.tables(ctx, table)
	if err != nil {
		return err
	}
	now, err := s.sampleAll(ctx)
	if err != nil {
		return err
	}
	type row struct {
		Name       string `json:"name"`
		ID         int32  `json:"id"`
		Partitions int32  `json:"partitions"`
		Replicas   int    `json:"replicas"` // that were counted
		Room
		Load // since the servers started
	}
	list := make([]row, 0, len(tables))
	g := newGrid("table", "#replicas", "#rows (about)", "#on disks", "#files", "#in memtables", "#reads so far", "#writes so far")
	for i := range tables {
		a := &tables[i]
		t := row{Name: a.AppName, ID: a.AppId, Partitions: a.PartitionCount}
		for p := range a.PartitionCount {
			id := base.Gpid{AppID: a.AppId, PartitionIndex: p}
			var rows int64
			for addr, r := range now.rooms[id] {
				t.Replicas++
				t.Bytes += r.Bytes
				t.Files += r.Files
				t.Memtable += r.Memtable
				rows = max(rows, r.Rows)
				t.add(now.loads[id][addr])
			}
			t.Rows += rows
		}
		list = append(list, t)
		g.add(Escape([]byte(t.Name)), t.Replicas, t.Rows, size(t.Bytes), t.Files, size(t.Memtable), int64(t.Reads), int64(t.Writes))
	}
	if s.JSON {
		return s.json(list)
	}
	if err := g.print(s.Out); err != nil {
		return err
	}
	s.saySilent(now)
	return nil
}

// ServerStats shows the metrics of servers, or those whose names begin with a prefix.
func (s Servers) ServerStats(ctx context.Context, w Which, prefix string) error {
	list, err := s.find(ctx, w)
	if err != nil {
		return err
	}
	type value struct {
		Address string `json:"address"`
		Name    string `json:"name"`
		Value   int64  `json:"value"`
		Unit    string `json:"unit,omitempty"`
	}
	all := askEach(list, func(x server) (*metricsPage, error) {
		b, err := s.Client.Admin().Page(ctx, x.Addr, "metrics", url.Values{"types": {"server"}, "with_metric_fields": {"name,value,unit"}})
		if err != nil {
			return nil, err
		}
		p := &metricsPage{}
		return p, json.Unmarshal(b, p)
	})
	out := []value{}
	g := newGrid("address", "name", "#value", "unit")
	for _, a := range all {
		if a.err != nil {
			continue
		}
		for _, en := range a.got.Entities {
			for _, m := range en.Metrics {
				if strings.HasPrefix(m.Name, prefix) {
					out = append(out, value{a.Addr, m.Name, m.Value, m.Unit})
					g.add(a.Addr, m.Name, m.Value, m.Unit)
				}
			}
		}
	}
	if s.JSON {
		if err := s.json(out); err != nil {
			return err
		}
	} else if err := g.print(s.Out); err != nil {
		return err
	}
	return silent(all)
}
