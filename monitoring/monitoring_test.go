package monitoring_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pegasus/internal/repo"
	_ "pegasus/meta" // and its features: they define metrics
	"pegasus/metrics"
	"pegasus/monitoring"
	_ "pegasus/replica"
)

// promtool runs Prometheus' tool, which Debian's package prometheus has.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), repo.Tool(t, "promtool", "prometheus"), args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	promtool(t, "check", "rules", "prometheus/alerts.yml")
	promtool(t, "check", "config", "prometheus/prometheus.yml")
	promtool(t, "test", "rules", "prometheus/alerts_test.yml")
}

// Each query of the dashboards parses: as a rule that records it.
func TestQueriesParse(t *testing.T) {
	qs, err := monitoring.Queries()
	if err != nil || len(qs) < 50 {
		t.Fatalf("%d queries, %v", len(qs), err)
	}
	var b strings.Builder
	b.WriteString("groups:\n- name: all\n  rules:\n")
	for i, q := range qs {
		fmt.Fprintf(&b, "  - {record: 'q%d', expr: %q}\n", i, q.Fill())
	}
	file := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", file)
}

// Each metric that a query or a rule names is one that servers may show.
func TestMetricsAreDefined(t *testing.T) {
	defined := map[string]bool{}
	for _, m := range metrics.All() {
		for _, n := range metrics.PrometheusNames(m) {
			defined[n] = true
			if m.Kind == metrics.Percentile {
				defined[n+"_bucket"], defined[n+"_sum"], defined[n+"_count"] = true, true, true
			}
		}
	}
	check := func(where, expr string) {
		names := monitoring.Metrics(expr)
		if len(names) == 0 && !strings.HasPrefix(expr, "up{") {
			t.Errorf("%s: no metric in %s", where, expr)
		}
		for _, n := range names {
			if strings.HasPrefix(n, "pegasus_") && !defined[n] {
				t.Errorf("%s: there is no metric %s", where, n)
			}
		}
	}
	qs, err := monitoring.Queries()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qs {
		check(q.Dashboard+", "+q.Panel, q.Expr)
	}
	names, exprs, err := monitoring.Alerts()
	if err != nil || len(names) != len(exprs) || len(names) < 20 {
		t.Fatalf("%d names, %d expressions, %v", len(names), len(exprs), err)
	}
	for i, e := range exprs {
		check(names[i], e)
	}
}

// Each rule says what to do, and has a case in which it fires; alerts_test.yml has one in which none does.
func TestAlertsHaveCases(t *testing.T) {
	names, _, err := monitoring.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	cases, err := monitoring.Files.ReadFile("prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := monitoring.Files.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range names {
		if !strings.Contains(string(cases), `alertname="`+n+`"`) {
			t.Errorf("%s has no case in which it fires", n)
		}
		if slices.Index(names, n) != i {
			t.Errorf("%s is there twice", n)
		}
	}
	if !strings.Contains(string(cases), "exp_samples: []") {
		t.Error("no case in which nothing fires")
	}
	for _, of := range []string{"severity: (page|ticket)", "summary: ", "action: "} {
		if n := len(regexp.MustCompile(of).FindAll(rules, -1)); n != len(names) {
			t.Errorf("%d of %d rules have %s", n, len(names), of)
		}
	}
}

// docs/monitor.md has a section for each rule and for nothing else, in the order of the rules, which says how urgent it is as the rule does. The rule's
// annotation leads there. Metrics that the page names exist.
func TestAlertsInManual(t *testing.T) {
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "monitor.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := monitoring.Files.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	names, _, err := monitoring.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	var headings []string
	urgent := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)\n\n(\w+)\.`).FindAllSubmatch(page, -1) {
		headings = append(headings, string(m[1]))
		urgent[string(m[1])] = strings.ToLower(string(m[2]))
	}
	if !slices.Equal(headings, names) {
		t.Errorf("docs/monitor.md has sections for\n%q, and there are the rules\n%q", headings, names)
	}
	parts := regexp.MustCompile(`(?m)^ *- alert: `).Split(string(rules), -1)[1:]
	for i, n := range names {
		if runbook := fmt.Sprintf("\n          runbook: \"docs/monitor.md#%s\"\n", strings.ToLower(n)); !strings.Contains(parts[i], runbook) {
			t.Errorf("%s has no annotation%s", n, runbook)
		}
		if !strings.Contains(parts[i], "{severity: "+urgent[n]+"}") {
			t.Errorf("%s is a %s in docs/monitor.md", n, urgent[n])
		}
	}
	defined := map[string]bool{}
	for _, m := range metrics.All() {
		for _, n := range metrics.PrometheusNames(m) {
			defined[n] = true
		}
	}
	for _, n := range monitoring.Metrics(string(page)) {
		if !defined[n] {
			t.Errorf("docs/monitor.md names %s, which no server has", n)
		}
	}
}

// Dashboards have ids of their own, panels too, and none lies on another.
func TestDashboards(t *testing.T) {
	names, err := fs.Glob(monitoring.Files, "grafana/*.json")
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	uids := map[string]bool{}
	for _, name := range names {
		b, err := monitoring.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID, Title, Description string
			Panels                  []struct {
				ID          int
				Title, Type string
				GridPos     struct{ X, Y, W, H int }
			}
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d.UID == "" || uids[d.UID] || d.Title == "" || d.Description == "" {
			t.Errorf("%s: uid %q, title %q", name, d.UID, d.Title)
		}
		uids[d.UID] = true
		taken := map[[2]int]string{}
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have id %d", name, p.ID)
			}
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if o, ok := taken[[2]int{x, y}]; ok || x > 23 {
						t.Errorf("%s: %s lies on %s at %d,%d", name, p.Title, o, x, y)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}
