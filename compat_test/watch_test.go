package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/meta/probe"
)

// asked returns the body of a page, and how long it took to arrive.
func asked(t *testing.T, url, accept string) ([]byte, time.Duration, error) {
	t.Helper()
	q, err := http.NewRequestWithContext(runContext(t, time.Minute), http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	if accept != "" {
		q.Header.Set("Accept", accept)
	}
	began := time.Now()
	r, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true}}).Do(q)
	if err != nil {
		return nil, 0, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.200s", url, r.Status, b)
	}
	return b, time.Since(began), err
}

// The probes of partitions say what a client would find: all is available, then the servers of most replicas are killed, then they are
// back. Meanwhile what upstream's collector writes is written into the table stat, for its scripts. And the servers show all metrics of upstream's
// that metrics/upstream.go doesn't say are absent.
func TestAvailability(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Tables: "temp:8,stat:2", Config: "[probe]\ninterval = \"1s\"\ntimeout = \"5s\"\nstat_table = \"stat\"\n"})
	ctx := runContext(t, 6*time.Minute)
	cli := func(args ...string) (string, error) {
		return c.CLI(ctx, append(args, "--meta", c.Metas()[0])...)
	}
	temp := func() (probe.Table, error) {
		out, err := cli("table", "availability", "temp", "-o", "json")
		if err != nil {
			return probe.Table{}, err
		}
		var a probe.Answer
		if err := json.Unmarshal([]byte(out), &a); err != nil || len(a.Tables) != 1 {
			return probe.Table{}, fmt.Errorf("%w: %s", err, out)
		}
		return a.Tables[0], nil
	}
	wait := func(what string, ok func(probe.Table) bool) {
		t.Helper()
		if err := cluster.Poll(2*time.Minute, func() error {
			a, err := temp()
			if err == nil && !ok(a) {
				err = fmt.Errorf("%+v", a)
			}
			return err
		}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := range 50 {
		if _, err := cli("set", "temp", "h"+strconv.Itoa(i), "s", "v"); err != nil {
			t.Fatal(err)
		}
	}
	wait("all is available", func(a probe.Table) bool { return a.Failing == 0 && a.HourProbes >= 8*12 }) // each was written twice
	before, err := temp()                                                                                // a busy machine may have been slow
	if err != nil || before.Hour < 0.5 {
		t.Fatalf("%+v, %v", before, err)
	}
	upstreamsNames(t, c)

	servers := []string{"replica1", "replica2"}
	for _, s := range servers {
		if err := c.Kill(s); err != nil {
			t.Fatal(err)
		}
	}
	wait("two of three servers are dead", func(a probe.Table) bool { return a.Failing == 8 && a.Hour < before.Hour && a.Now[0].Write != "" })
	if out, err := cli("table", "availability", "temp"); err != nil || !strings.Contains(out, "partition 0 fails since") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := cli("status"); err == nil || !strings.Contains(out, "partitions that fail now: ") {
		t.Errorf("%v: %s", err, out)
	}
	for _, s := range servers {
		if err := c.Restart(s); err != nil {
			t.Fatal(err)
		}
	}
	wait("they are back", func(a probe.Table) bool { return a.Failing == 0 })
	if a, err := temp(); err != nil || a.Hour >= before.Hour {
		t.Errorf("it was never away: %+v, %v", a, err)
	}

	// Nothing but what was set is in the table, and the rows of upstream's collector are in the other one.
	if out, err := cli("count", "temp"); err != nil || out != "50\n" {
		t.Errorf("%v: %s rows", err, out)
	}
	if err := cluster.Poll(3*time.Minute, func() error {
		out, err := cli("scan", "stat")
		if err != nil {
			return err
		}
		for _, want := range []string{`"detect_available_minute" : "20`, `: "cu@` + c.Replicas()[2], `: "ss" => "{`} {
			if !strings.Contains(out, want) {
				err = errors.Join(err, fmt.Errorf("no %s", want))
			}
		}
		if err != nil {
			return fmt.Errorf("%w in %s", err, out)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// upstreamsNames looks for upstream's metrics in the answers of all servers.
func upstreamsNames(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	shown := map[string]bool{}
	for _, addr := range append(c.Metas(), c.Replicas()...) {
		b, _, err := asked(t, "http://"+addr+"/metrics", "")
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Entities []struct {
				Metrics []struct{ Name string }
			}
		}
		if err := json.Unmarshal(b, &a); err != nil {
			t.Fatal(err)
		}
		for _, e := range a.Entities {
			for _, m := range e.Metrics {
				shown[m.Name] = true
			}
		}
	}
	known, err := os.ReadFile("../metrics/testdata/upstream.txt")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, absent, _ := strings.Cut(string(doc), "## Upstream's metrics that aren't here")
	n := 0
	for line := range strings.Lines(string(known)) {
		entity, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") || entity == "backup_policy" || entity == "replica" && strings.HasPrefix(name, "bulk_load_") { // there is none
			continue
		}
		n++
		said := false
		for row := range strings.Lines(absent) {
			names, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
			for _, x := range strings.Split(names, ", ") {
				said = said || x == name
			}
		}
		if shown[name] == said {
			t.Errorf("%s of %s: shown: %t, said to be absent: %t", name, entity, shown[name], said)
		}
	}
	if n < 200 {
		t.Errorf("%d metrics", n)
	}
}

// spentBy returns the processor time of a process, in steps of 10 ms: the machine may be busy.
func spentBy(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A scrape of a real server with many replicas takes less than half a second of a processor and 5 MB. With PEGASUS_SCRAPE_REPLICAS=1000 it is done with so many.
func TestScrapeOfServer(t *testing.T) {
	replicas := 200
	if s := os.Getenv("PEGASUS_SCRAPE_REPLICAS"); s != "" {
		var err error
		if replicas, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	c := cluster.Start(t, cluster.Options{Tables: "-"})
	ctx := runContext(t, 9*time.Minute)
	began := time.Now()
	const tables = 8
	for i := range tables {
		if _, err := c.CLI(ctx, "table", "create", "t"+strconv.Itoa(i), "-p", strconv.Itoa(replicas/tables), "--wait", "3m", "--meta", c.Metas()[0]); err != nil {
			t.Fatal(err)
		}
	}
	created := time.Since(began)
	for i := range tables { // so that there are latencies of each table
		if out, err := c.CLI(ctx, "bench", "--op", "mixed", "--count", "4000", "--keys", "2000", "--value-size", "100", "--progress=false", "--table", "t"+strconv.Itoa(i), "--meta", c.Metas()[0]); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	addr := c.Replicas()[0]
	pid, err := c.Pid("replica1")
	if err != nil {
		t.Fatal(err)
	}
	for _, accept := range []string{"text/plain;version=0.0.4", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", ""} {
		best, cpu, size := time.Hour, time.Hour, 0
		for range 5 {
			began := spentBy(t, pid)
			b, took, err := asked(t, "http://"+addr+"/metrics", accept)
			if err != nil {
				t.Fatal(err)
			}
			cpu = min(cpu, spentBy(t, pid)-began)
			if accept == "text/plain;version=0.0.4" && !strings.Contains(string(b), `pegasus_left_out_series{`) {
				t.Fatalf("an odd answer: %.300s", b)
			}
			best, size = min(best, took), len(b)
		}
		t.Logf("%d replicas, made in %v, Accept %.40q: %v, %v of the server's processor time, %.2f MB", replicas, created, accept, best, cpu, float64(size)/1e6)
		if accept != "" && (cpu > 500*time.Millisecond || size > 5e6) { // the JSON is upstream's: it has each replica's metrics with their descriptions
			t.Errorf("a scrape of %d replicas takes %v of a processor and %d bytes", replicas, cpu, size)
		}
	}
}
