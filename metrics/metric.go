package metrics

import (
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

// catalogue is every definition in the order of defs.go.
var catalogue []*Metric

func def(entity, name string, kind Kind, unit, desc string) *Metric {
	m := &Metric{entity, name, kind, unit, desc}
	catalogue = append(catalogue, m)
	return m
}

// All returns every definition.
func All() []*Metric { return slices.Clone(catalogue) }

// Reference returns docs/metrics.md.
func Reference() []byte {
	var b strings.Builder
	b.WriteString(`# Metrics

Every server answers GET /metrics on its port. The answer is upstream's JSON; a scraper that accepts
Prometheus text (or ?format=prometheus) gets that: each name below with the prefix ` + "`pegasus_`" + `, counters with the
suffix ` + "`_total`" + `, percentiles as a summary. Arguments of the JSON form are upstream's: with_metric_fields, types, ids,
attributes, metrics (lists with commas) and detail=true. Counters begin at 0 with the process.

This file is generated from metrics/defs.go: ` + "`go test ./metrics -update`" + `.
`)
	entity := ""
	for _, m := range catalogue {
		if m.Entity != entity {
			entity = m.Entity
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| name | type | unit | meaning |\n|---|---|---|---|\n", entity, entities[entity])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Name, m.Kind, m.Unit, m.Desc)
	}
	return []byte(b.String())
}
