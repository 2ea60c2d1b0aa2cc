// Package metrics holds what servers count and shows it: as the JSON that upstream's shell
// and collector read, and as Prometheus text.
//
// It owns the one definition of every metric (defs.go; a feature defines its own by Define), from which docs/metrics.md is made,
// and the small types that count on hot paths. A server gathers its values into a Snapshot
// when somebody asks; nothing runs in between. It must not know where values come from.
package metrics
