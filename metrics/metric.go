package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Kind is what the value of a metric means.
type Kind uint8

// The kinds. The values of a Percentile are upstream's p50 to p999 of the latest samples.
const (
	Gauge Kind = iota
	Counter
	Percentile
)

// String returns upstream's name of the kind.
func (k Kind) String() string { return [...]string{"Gauge", "Counter", "Percentile"}[k] }

// Metric is the definition of a metric.
type Metric struct {
	Entity string // type of the entities that have it
	Name   string
	Kind   Kind
	Unit   string
	Desc   string
}

// catalogue is every definition: those of defs.go in its order, then those of features.
var catalogue []*Metric

func def(entity, name string, kind Kind, unit, desc string) *Metric {
	m := &Metric{entity, name, kind, unit, desc}
	catalogue = append(catalogue, m)
	return m
}

// Define defines a metric of a feature. It is for a package variable of the feature's package: what
// isn't defined when main begins is not in the reference. It panics if another metric has the name.
func Define(entity, name string, kind Kind, unit, desc string) *Metric {
	if slices.ContainsFunc(catalogue, func(m *Metric) bool { return m.Name == name }) {
		panic(fmt.Sprintf("two metrics have the name %s", name))
	}
	return def(entity, name, kind, unit, desc)
}

// All returns every definition, those of an entity together.
func All() []*Metric {
	var order []string
	for _, m := range catalogue {
		if !slices.Contains(order, m.Entity) {
			order = append(order, m.Entity)
		}
	}
	all := slices.Clone(catalogue)
	slices.SortStableFunc(all, func(a, b *Metric) int {
		return cmp.Compare(slices.Index(order, a.Entity), slices.Index(order, b.Entity))
	})
	return all
}

// Reference returns docs/metrics.md.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(`# Metrics

Every server serves GET /metrics on its port. The answer is upstream's JSON, with upstream's arguments:
with_metric_fields, types, ids, attributes, metrics (comma-separated lists) and detail=true. A scraper that accepts Prometheus
text, or asks for ?format=prometheus, gets that instead: each name below with the prefix ` + "`pegasus_`" + `, counters with the
suffix ` + "`_total`" + `, percentiles as a summary. Counters start at 0 with the process.

This file is generated from metrics/defs.go and the definitions of features: ` + "`go test ./metrics -update`" + `.
`)
	entity := ""
	for _, m := range All() {
		if m.Entity != entity {
			entity = m.Entity
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| name | type | unit | meaning |\n|---|---|---|---|\n", entity, entities[entity])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Name, m.Kind, m.Unit, m.Desc)
	}
	return []byte(b.String())
}
