package metrics_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	_ "pegasus/meta" // and its features: they define metrics
	"pegasus/metrics"
	_ "pegasus/replica"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

func TestReferenceIsUpToDate(t *testing.T) {
	file := filepath.Join("..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(file, metrics.Reference(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, metrics.Reference()) {
		t.Error("docs/metrics.md isn't what the definitions say: go test ./metrics -update")
	}
}

func TestDefinitions(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	seen := map[string]bool{}
	for _, m := range metrics.All() {
		if !name.MatchString(m.Name) || m.Desc == "" {
			t.Errorf("metric %+v", m)
		}
		if seen[m.Name] {
			t.Errorf("two metrics %s: in Prometheus text they would be one", m.Name)
		}
		seen[m.Name] = true
	}
}

// Upstream's collector registers our names beside those of the Prometheus client, which panics if one
// is there already. The client's own, and those that a scraper adds, begin so.
func TestNamesOfTheScraper(t *testing.T) {
	own := regexp.MustCompile(`^(go|process|promhttp|prometheus|scrape|net_conntrack)_|^up$`)
	for _, m := range metrics.All() {
		if own.MatchString(m.Name) {
			t.Errorf("%s may be a name of the Prometheus client", m.Name)
		}
	}
}

// What a feature defines stands with the others of its entity, and no name is taken twice.
func TestDefine(t *testing.T) {
	m := metrics.Define(metrics.Server, "test_of_define", metrics.Gauge, "", "A test.")
	t.Cleanup(metrics.Forget)
	all := metrics.All()
	seen := map[string]bool{}
	for i, d := range all {
		if i > 0 && d.Entity != all[i-1].Entity && seen[d.Entity] {
			t.Errorf("%s is apart from the others of %s", d.Name, d.Entity)
		}
		seen[d.Entity] = true
	}
	if !bytes.Contains(metrics.Reference(), []byte("| "+m.Name+" | `"+m.Name+"` | Gauge |  | A test. | - |")) {
		t.Error("it isn't in the reference")
	}
	defer func() {
		if recover() == nil {
			t.Error("a second one has the name")
		}
	}()
	metrics.Define(metrics.Disk, m.Name, metrics.Counter, "", "Another.")
}
