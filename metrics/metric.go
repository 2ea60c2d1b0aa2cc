package metrics

import (
	"cmp"
	"fmt"
	"slices"
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

	worry string
	prom  string // name for Prometheus without its prefix; "": made of Name
	op    string // the client operation, if it is of one
	fold  fold
}

// fold says how the values of a table's replicas become one.
type fold uint8

const (
	apart  fold = iota // not at all
	summed             // counters are
	highest
)

// Worry says when an operator should: it stands in docs/metrics.md. It returns m, as all these do that are for definitions.
func (m *Metric) Worry(when string) *Metric {
	m.worry = when
	return m
}

// Sum says that the sum of a table's replicas means something.
func (m *Metric) Sum() *Metric {
	m.fold = summed
	return m
}

// Max says that the highest value of a table's replicas means something.
func (m *Metric) Max() *Metric {
	m.fold = highest
	return m
}

// As gives m another name for Prometheus than the one made of its name: without pegasus_ and the kind of entity.
func (m *Metric) As(name string) *Metric {
	m.prom = name
	return m
}

// of says that m is of one client operation; name is that of all operations together.
func (m *Metric) of(name, op string) *Metric {
	m.prom, m.op = name, op
	return m
}

// catalogue is every definition: those of defs.go in its order, then those of features.
var catalogue []*Metric

func def(entity, name string, kind Kind, unit, desc string) *Metric {
	m := &Metric{Entity: entity, Name: name, Kind: kind, Unit: unit, Desc: desc}
	if kind != Gauge && entity == Replica {
		m.fold = summed
	}
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
