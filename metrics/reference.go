package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Reference returns docs/metrics.md.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(`# Metrics

Every server serves GET /metrics on its port, in two forms.

**Prometheus** gets its own form without being asked to: who names text/plain, application/openmetrics-text or Prometheus' protobuf in its
Accept header gets what it named, with gzip if it accepts that. ?format=prometheus asks for the text, too. The protobuf has native
histograms besides the classic ones; a Prometheus that takes native ones needs scrape_classic_histograms (always_scrape_classic_histograms since 3.0), as our dashboards and rules use the classic ones.

**Upstream's JSON** is what everybody else gets, as upstream's collector, shells and curl ask for it, with upstream's arguments: with_metric_fields, types,
ids, attributes, metrics (comma-separated lists) and detail=true.

## Names in Prometheus

- A name there begins with ` + "`pegasus_`" + ` (of servers and data directories), ` + "`pegasus_table_`" + ` (of tables) or ` + "`pegasus_replica_`" + ` (of single replicas), and ends with its unit; a counter
  with ` + "`_total`" + `. Seconds and bytes are the units, whatever the JSON has. The tables below have both names. Labels of all: cluster, role (meta or replica).
- ` + "`pegasus_table_*`" + ` of a replica server is the sum of the table's replicas on it (counters go on when a replica leaves the server), or where the table below says so the highest. Its labels
  are table and table_id. Add up the servers for the table: ` + "`sum by (table) (rate(pegasus_table_requests_total[5m]))`" + `. Primaries count requests, except backup requests and received writes.
- Counters of operations have a label op: get, ttl, multi_get, batch_get, sortkey_count, scan, put, multi_put, remove, multi_remove, incr, check_and_set, check_and_mutate, duplicate. An operation appears
  with its first request. ` + "`pegasus_requests_total` and `pegasus_request_duration_seconds`" + ` are the sums of all tables of a server.
- Latencies are histograms: ` + "`histogram_quantile(0.99, sum by (table, op, le) (rate(pegasus_table_request_duration_seconds_bucket[5m])))`" + `. Bounds are powers of two seconds, from 7.6 us to 8 s.
- Single replicas are shown as far as ` + "`metrics.replica_series`" + ` names them, and to who asks for types=replica or names metrics. Series of tables and
  replicas are at most ` + "`metrics.max_series`" + `: a metric that doesn't fit is left out whole, the latencies of tables first, those of replicas before. pegasus_left_out_series then isn't 0.
- Go's own ` + "`go_*` and `process_*`" + ` are there besides.

Counters start at 0 with the process, those of a replica when it is opened. Alert rules and dashboards that use these metrics: ` + "`monitoring/`" + `.

This file is generated from metrics/defs.go and the definitions of features: ` + "`go test ./metrics -update`" + `.
`)
	entity := ""
	for _, m := range All() {
		if m.Entity != entity {
			entity = m.Entity
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| name | Prometheus | type | unit | meaning | worry when |\n|---|---|---|---|---|---|\n", entity, entities[entity])
		}
		names := PrometheusNames(m)
		for i := range names {
			names[i] = "`" + strings.TrimPrefix(names[i], "pegasus_") + "`"
		}
		note := ""
		if m.Entity == Replica && m.Kind == Gauge && m.fold == highest {
			note = " Of a table: the highest."
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s%s | %s |\n", m.Name, strings.Join(slices.Compact(names), " "), m.Kind, m.Unit, m.Desc, note, cmp.Or(m.worry, "-"))
	}
	b.WriteString(referAbsent())
	return []byte(b.String())
}
