package compat

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pegasus/compat_test/cluster"
)

// importMB is what an importing process may have in memory, whatever the number of rows is.
const importMB = 400

// transfers exports a table in each format, into a directory and to the places, and imports it again: every time it is the same table, and the
// memory of the commands is bounded. It tells the rates beside that of multi-set in the same run.
func (w *restoreWorld) transfers(table string, rows int, urls map[string]string) {
	w.Helper()
	metas := strings.Join(w.c.Metas(), ",")
	run := func(args ...string) (took float64, mb int64, out string) {
		w.Helper()
		cmd := exec.CommandContext(runContext(w.T, 10*time.Minute), cluster.Binary(w.T), args...)
		began := time.Now()
		b, err := cmd.CombinedOutput()
		if err != nil {
			w.Fatalf("%q: %v: %s", args, err, b)
		}
		return time.Since(began).Seconds(), maxRSS(cmd.ProcessState.SysUsage().(*syscall.Rusage)), string(b)
	}
	run("table", "create", "multi", "-p", "4", "--meta", metas)
	took, _, _ := run("bench", "--op", "multi-set", "--table", "multi", "--keys", fmt.Sprint(rows), "--count", fmt.Sprint(rows/100), "--rows-per-hash", "100", "--value-size", "32",
		"--outstanding", "64", "--progress=false", "-o", "json", "--meta", metas)
	set := float64(rows) / took
	dir := w.TempDir()
	for _, to := range []string{filepath.Join(dir, "rows.jsonl"), filepath.Join(dir, "rows.csv"), filepath.Join(dir, "rows.parquet"), urls["s3"], urls["hdfs"]} {
		place, _, _ := strings.Cut(to, "?")
		copied := "from" + strings.NewReplacer("/", "_", ":", "_", ".", "_").Replace(strings.TrimPrefix(place, dir))
		run("table", "create", copied, "-p", "8", "--meta", metas)
		exported, _, _ := run("export", table, to, "--meta", metas)
		imported, mb, _ := run("import", to, copied, "--meta", metas)
		_, _, out := run("compare", "table", table, "--from", metas, "--to", metas, "--name-there", copied, "-o", "json")
		var r struct {
			From int `json:"rows_from"`
			To   int `json:"rows_to"`
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil || r.From != rows || r.To != rows {
			w.Fatalf("%s: %v, %s", place, err, out)
		}
		if mb > importMB {
			w.Errorf("%s: the import had %d MB in memory", place, mb)
		}
		rate := float64(rows) / imported
		w.Logf("%s: exported %.0f rows a second, imported %.0f with %d MB, %.2f of multi-set's %.0f", place, float64(rows)/exported, rate, mb, rate/set, set)
	}
}

// maxRSS is how many MiB a process had at most, on Linux.
func maxRSS(u *syscall.Rusage) int64 { return u.Maxrss >> 10 }
