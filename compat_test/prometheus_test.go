package compat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/monitoring"
)

// quiet are panels whose queries answer nothing on a cluster that is well and has no backup, no other cluster.
var quiet = map[string]string{
	"Partitions that aren't healthy": "all are",
	"Lag of what is received, p99":   "no other cluster sends",
	"Partitions whose probe fails":   "none does",
}

// unused are metrics of features that such a cluster doesn't use.
var unused = []string{"pegasus_backup_recent_failed", "pegasus_backup_overdue", "pegasus_table_dup_time_lag_seconds_bucket"}

// scraped has a Prometheus, configured with nothing but addresses and our rules, scrape a cluster with a table: it gets every metric that rules and
// dashboards name, the queries of the dashboards return data, and no alert fires.
func scraped(t *testing.T, metas, replicas []string) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus is missing: install Debian's package prometheus")
		}
		t.Log("left out: prometheus isn't installed, Debian's package prometheus has it")
		return
	}
	dir := t.TempDir()
	rules, err := monitoring.Files.ReadFile("prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	targets, err := json.Marshal(slices.Concat(metas, replicas)) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"alerts.yml": string(rules), "prometheus.yml": "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [alerts.yml]\n" +
		"scrape_configs: [{job_name: pegasus, static_configs: [{targets: " + string(targets) + "}]}]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(runContext(t, 3*time.Minute), program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--web.enable-lifecycle", "--log.level=warn")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	p := prom{"http://" + addr}
	servers := len(metas) + len(replicas)
	if err := cluster.Poll(2*time.Minute, func() error { return p.complete(servers) }); err != nil {
		t.Errorf("%v; Prometheus said: %s", err, &said)
	}
	firing, err := p.query(`ALERTS{alertstate="firing"}`)
	if err != nil || len(firing) > 0 {
		t.Errorf("%v fire: %v", firing, err)
	}
}

// prom asks a Prometheus at a base URL.
type prom struct{ url string }

// complete says what of the answer to each question is missing.
func (p prom) complete(servers int) error {
	up, err := p.query("up == 1")
	if err != nil {
		return err
	}
	if len(up) != servers {
		return fmt.Errorf("%d of %d servers were scraped", len(up), servers)
	}
	var known []string
	if err := p.get("/api/v1/label/__name__/values", &known); err != nil {
		return err
	}
	qs, err := monitoring.Queries()
	if err != nil {
		return err
	}
	_, exprs, err := monitoring.Alerts()
	if err != nil {
		return err
	}
	var missing []error
	for _, q := range qs {
		exprs = append(exprs, q.Expr)
		got, err := p.query(q.Fill())
		if err == nil && len(got) == 0 && quiet[q.Panel] == "" {
			err = errors.New("no data")
		}
		if err != nil {
			missing = append(missing, fmt.Errorf("%s, %s: %w: %s", q.Dashboard, q.Panel, err, q.Fill()))
		}
	}
	for _, e := range exprs {
		for _, name := range monitoring.Metrics(e) {
			if !slices.Contains(known, name) && !slices.Contains(unused, name) {
				missing = append(missing, fmt.Errorf("no server shows %s", name))
			}
		}
	}
	return errors.Join(missing...)
}

// query returns the labels of what a query answers.
func (p prom) query(expr string) ([]map[string]string, error) {
	var a struct {
		Result []struct{ Metric map[string]string }
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expr), &a); err != nil {
		return nil, err
	}
	var out []map[string]string
	for _, r := range a.Result {
		out = append(out, r.Metric)
	}
	return out, nil
}

func (p prom) get(path string, data any) error {
	c := http.Client{Timeout: 10 * time.Second}
	r, err := c.Get(p.url + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	a := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		return fmt.Errorf("%s: %s: %w", path, r.Status, err)
	}
	if a.Status != "success" {
		return fmt.Errorf("%s: %s", strings.TrimSpace(path), a.Error)
	}
	return nil
}
