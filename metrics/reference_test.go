package metrics_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// Every metric of upstream's is here, or it is said what is in its place; what is said names metrics that there are.
func TestUpstream(t *testing.T) {
	b, err := os.ReadFile("testdata/upstream.txt")
	if err != nil {
		t.Fatal(err)
	}
	here, prom := map[string]string{}, map[string]bool{}
	for _, m := range metrics.All() {
		here[m.Name] = m.Entity
		for _, n := range metrics.PrometheusNames(m) {
			prom[strings.TrimPrefix(n, "pegasus_")] = true
		}
	}
	gone := map[string]bool{}
	word := regexp.MustCompile(`\b[a-z]+(?:_[a-z0-9]+)+(\*?)`)
	for _, a := range metrics.AbsentOnes {
		for _, n := range a.Names {
			if here[n] != "" || gone[n] {
				t.Errorf("%s is said to be absent, and is here or is said to be so twice", n)
			}
			gone[n] = true
		}
		if a.Instead == "" || !strings.HasSuffix(a.Instead, ".") {
			t.Errorf("%v: %q", a.Names, a.Instead)
		}
		for _, n := range word.FindAllString(a.Instead, -1) {
			if here[n] == "" && !prom[n] && !strings.HasPrefix(n, "go_") && n != "prepare_timeout" {
				t.Errorf("%v: there is no %s", a.Names, n)
			}
		}
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		entity, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		n++
		switch {
		case gone[name]:
			delete(gone, name)
		case here[name] == "":
			t.Errorf("%s of %s is neither here nor said to be absent", name, entity)
		case here[name] != entity:
			t.Logf("%s is of %s here, of %s there", name, here[name], entity)
		}
	}
	if n < 200 || len(gone) > 0 {
		t.Errorf("%d metrics of upstream's; %v aren't", n, gone)
	}
}
