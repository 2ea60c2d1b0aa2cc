package compat

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// checkDashboards asks each meta, leading or not, for the pages of a cluster with a table temp. "/" leads a browser there, and is
// still the list of paths for others.
func checkDashboards(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	web := &http.Client{Timeout: time.Minute}
	get := func(url, accept string) (string, string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Accept", accept)
		r, err := web.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v: %s", url, r.Status, err, b)
		}
		return string(b), r.Request.URL.Path
	}
	replica := c.Replicas()[0]
	for _, meta := range c.Metas() {
		for path, want := range map[string]string{
			"/": "Everything is in order: 1 table on 3 servers.", "/dashboard": "Everything is in order", "/dashboard/servers": replica, "/dashboard/servers/" + replica: "in order",
			"/dashboard/tables": "temp", "/dashboard/tables/temp": "4 partitions with 3 replicas", "/dashboard/hot/temp": "Hot keys of temp", "/dashboard/work": "No rebalancing is under way",
			"/dashboard/quorum": "3 of 3 meta servers answer", "/dashboard/events": "leads the cluster",
		} {
			text, at := get("http://"+meta+path, "text/html")
			if !strings.Contains(text, want) || !strings.HasPrefix(at, "/dashboard/") || strings.Contains(text, "Not shown") || strings.Contains(text, "doesn't tell") {
				t.Errorf("%s%s lacks %q, or says that it lacks something, at %s: %s", meta, path, want, at, text)
			}
		}
		if text, at := get("http://"+meta+"/", "*/*"); at != "/" || !strings.Contains(text, `"/meta/health"`) {
			t.Errorf("the paths of %s, at %s: %s", meta, at, text)
		}
	}
}
