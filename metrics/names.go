package metrics

import "strings"

// unit returns a name with Prometheus' unit, and by what a value is multiplied.
//
// Values of metrics in MB are set in bytes, see Entity.Set.
func unit(name string) (string, float64) {
	for _, u := range [...]struct {
		from, to string
		by       float64
	}{{"_ns", "_seconds", 1e-9}, {"_us", "_seconds", 1e-6}, {"_ms", "_seconds", 1e-3}, {"_mb", "_bytes", 1}, {"_ppm", "_ratio", 1e-6}} {
		if base, ok := strings.CutSuffix(name, u.from); ok {
			return base + u.to, u.by
		}
	}
	return name, 1
}

func (m *Metric) inMB() bool { return strings.HasSuffix(m.Name, "_mb") }

// nanos returns how many nanoseconds one of a duration is.
func (m *Metric) nanos() int64 {
	if _, by := unit(m.Name); by != 1 {
		return int64(by*1e9 + 0.5)
	}
	return 1
}

// prefix returns how names of an entity begin.
func prefix(entity string) string {
	switch entity {
	case Table:
		return "pegasus_table_"
	case Replica:
		return "pegasus_replica_"
	case Partition:
		return "pegasus_partition_"
	}
	return "pegasus_"
}

// base returns the name without a prefix, and by what a value is multiplied.
func (m *Metric) base() (string, float64) {
	name, by := unit(m.Name)
	switch {
	case m.prom != "":
		name = m.prom
	case m.Entity == Partition:
		name = strings.TrimPrefix(name, "partition_")
	}
	// What ends so looks like a part of a histogram.
	name = strings.TrimSuffix(name, "_count")
	if m.Kind == Counter {
		name += "_total"
	}
	return name, by
}

// PrometheusNames returns the names that a metric has there: of the server, of tables, and of replicas. None if it isn't shown.
func PrometheusNames(m *Metric) []string {
	name, _ := m.base()
	switch {
	case m.Entity == Profiler:
		return nil // pegasus_request_duration_seconds tells more
	case m.Entity == Replica && m.fold == apart:
		return []string{prefix(Replica) + name}
	case m.Entity == Replica && m.op != "":
		return []string{prefix(Server) + name, prefix(Table) + name, prefix(Replica) + name}
	case m.Entity == Replica:
		return []string{prefix(Table) + name, prefix(Replica) + name}
	}
	return []string{prefix(m.Entity) + name}
}
