package compat

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRestoreLarge restores a partition of PEGASUS_RESTORE_MB megabytes that don't compress on one server, as fast as it can. It tells how
// fast that was, and demands that the server's memory is bounded.
func TestRestoreLarge(t *testing.T) {
	mb := 300
	if s := os.Getenv("PEGASUS_RESTORE_MB"); s != "" {
		var err error
		if mb, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	w := newRestoreWorld(t, 1, "[replica]\nrestore_bytes_per_second = 0\n")
	of := w.makeBackup(1, mb<<10, 1000)
	idle, most := map[string]int64{}, map[string]int64{}
	for _, s := range w.c.Servers() {
		idle[s] = w.resident(s)
	}
	began := time.Now()
	id := w.start(of, "big")
	for done := false; !done; {
		list, err := w.cl.Admin().Restores(t.Context(), id)
		if err != nil || len(list) != 1 || list[0].Reason != "" || time.Since(began) > 10*time.Minute {
			t.Fatalf("%+v, %v\n%s", list, err, w.c.Logs())
		}
		for _, s := range w.c.Servers() {
			most[s] = max(most[s], w.resident(s))
		}
		done = list[0].PartitionsDone == 1
	}
	took := time.Since(began)
	t.Logf("%d MB in %v: %.0f MB/s", mb, took.Round(time.Millisecond), float64(mb)/took.Seconds())
	for _, s := range w.c.Servers() {
		if more := most[s] - idle[s]; more > 256<<20 {
			t.Errorf("%s takes %d MiB more than before", s, more>>20)
		} else {
			t.Logf("%s: %d MiB, before %d", s, most[s]>>20, idle[s]>>20)
		}
	}
	w.sameDigests("big", of)
}

// resident returns the memory of a server, in bytes.
func (w *restoreWorld) resident(server string) int64 {
	w.Helper()
	pid, err := w.c.Pid(server)
	if err != nil {
		w.Fatal(err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		w.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "RssAnon:" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				w.Fatal(err)
			}
			return n << 10
		}
	}
	w.Fatalf("no RssAnon of process %d", pid)
	return 0
}
