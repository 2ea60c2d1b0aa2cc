package monitoring

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Files are grafana/*.json and prometheus/*.yml.
//
//go:embed grafana/*.json prometheus/*.yml
var Files embed.FS

// Query is one query of a dashboard.
type Query struct {
	Dashboard, Panel string
	Expr             string
}

// Fill returns the query with values for Grafana's variables, as Grafana puts them in: every cluster, table and server.
func (q *Query) Fill() string {
	return strings.NewReplacer("$__rate_interval", "1m", "$cluster", ".*", "$table", ".*", "$instance", ".*").Replace(q.Expr)
}

type panel struct {
	Title   string
	Type    string
	Targets []struct{ Expr string }
}

// Queries returns those of all dashboards, and of the variables of each.
func Queries() ([]Query, error) {
	names, err := fs.Glob(Files, "grafana/*.json")
	if err != nil {
		return nil, err
	}
	var all []Query
	for _, name := range names {
		b, err := Files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var d struct{ Panels []panel }
		if err := json.Unmarshal(b, &d); err != nil {
			return nil, fmt.Errorf("dashboard %s: %w", name, err)
		}
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				all = append(all, Query{Dashboard: path.Base(name), Panel: p.Title, Expr: t.Expr})
			}
		}
	}
	return all, nil
}

var (
	aMetric = regexp.MustCompile(`\b(?:pegasus|go|process)_[a-z0-9_]+`)
	anAlert = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
	anExpr  = regexp.MustCompile(`(?m)^ *expr: (.*)$`)
)

// Metrics returns the names of the metrics in a query.
func Metrics(expr string) []string {
	names := aMetric.FindAllString(expr, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

// Alerts returns the names of the alert rules, and their expressions.
func Alerts() (names, exprs []string, err error) {
	b, err := Files.ReadFile("prometheus/alerts.yml")
	if err != nil {
		return nil, nil, err
	}
	for _, m := range anAlert.FindAllSubmatch(b, -1) {
		names = append(names, string(m[1]))
	}
	for _, m := range anExpr.FindAllSubmatch(b, -1) {
		exprs = append(exprs, string(m[1]))
	}
	return names, exprs, nil
}
