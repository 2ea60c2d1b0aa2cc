package replica

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pegasus/base/config"
)

// TestReload: each key that can be changed takes the least and the greatest value that it may have,
// under load, and what is refused changes nothing. With the defaults again rows are written and read.
func TestReload(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", "1")
	s := g.nodes[0].srv
	get := func(page string) string {
		t.Helper()
		res, err := http.Get("http://" + s.name + "/" + page)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s %v", page, res.StatusCode, b, err)
		}
		return string(b)
	}
	set := func(key, value string) string {
		t.Helper()
		return get("updateConfig?" + url.QueryEscape(key) + "=" + url.QueryEscape(value))
	}
	var keys []config.Entry
	c := s.cfg
	for _, e := range c.Entries() {
		if strings.Contains(get("config?name="+e.Path()), "FT_MUTABLE") {
			keys = append(keys, e)
		}
	}
	if len(keys) < 10 {
		t.Fatalf("mutable: %v", keys)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for w := range 3 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				_ = g.put(0, fmt.Sprintf("w%d-%d", w, i%50), strings.Repeat("v", i%3000))
				_ = g.read(0, "a")
			}
		})
	}
	for _, e := range keys {
		for _, v := range []string{"0", "-1", "1", "x", "", "9223372036854775807", "1000000000", "0s", "1ms", "876000h", "true", "false", "debug", "99", "100", "NaN"} {
			set(e.Path(), v)
		}
	}
	for _, e := range keys {
		if a := set(e.Path(), e.Value); !strings.Contains(a, "ERR_OK") {
			t.Errorf("%s = %s: %s", e.Path(), e.Value, a)
		}
	}
	stop.Store(true)
	wg.Wait()
	if n := s.rpc.Stats().Panics; n > 0 {
		t.Errorf("%d handlers panicked", n)
	}
	until(t, "a row is written and read", func() bool { return g.put(0, "b", "2") == nil && g.read(0, "b") == nil })
	g.wantGet(0, "a", "1")
	g.same(0, 1)
}
