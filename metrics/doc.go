// Package metrics holds what servers count and shows it: as the JSON that upstream's shell
// and collector read, and in the forms of Prometheus.
//
// It owns the one definition of every metric (defs.go; a feature defines its own by Define), from which docs/metrics.md is made,
// and the small types that count on hot paths. A server gathers its values into a Snapshot
// when somebody asks; nothing runs in between. What Prometheus is shown of tables never falls but when the process, or the
// last replica of the table there, begins anew (totals.go); its size has a bound. It must not know where values come from.
package metrics
