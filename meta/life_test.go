package meta

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pegasus/base/config"
)

// fewerGoroutines waits until no more than so many goroutines run, and tells which do otherwise.
func fewerGoroutines(t *testing.T, limit int) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > limit {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, at first %d:\n%s", runtime.NumGoroutine(), limit, b[:runtime.Stack(b, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestLife: a server that couldn't be made, one that wasn't started, and one that is stopped leave
// no goroutine and no open directory, and can be stopped twice.
func TestLife(t *testing.T) {
	limit := runtime.NumGoroutine()
	for name, x := range map[string]struct {
		change func(*testing.T, *config.Config)
		fails  bool
		start  bool
	}{
		"lease":      {func(_ *testing.T, c *config.Config) { c.FD.Lease = c.FD.Grace }, true, false},
		"tables":     {func(_ *testing.T, c *config.Config) { c.Meta.DefaultTables = []string{"x"} }, true, false},
		"no parent":  {func(_ *testing.T, c *config.Config) { c.Meta.DataDir += "/no/such" }, true, false},
		"damaged":    {func(t *testing.T, c *config.Config) { damage(t, c.Meta.DataDir) }, true, false},
		"not begun":  {func(*testing.T, *config.Config) {}, false, false},
		"begun":      {func(*testing.T, *config.Config) {}, false, true},
		"not member": {func(_ *testing.T, c *config.Config) { c.Meta.Join = true }, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig()
			l := listen(t, "127.0.0.1:0")
			defer func() { l.Close() }()
			c.Cluster.MetaServers = []string{l.Addr().String()}
			c.Meta.DataDir = t.TempDir()
			x.change(t, &c)
			for range 2 { // what is left of one is not in the way of the next
				s, err := New(Options{Config: c, Listener: l, Log: testLog()})
				if (err != nil) != x.fails {
					t.Fatalf("New: %v", err)
				}
				if err != nil {
					continue
				}
				if x.start {
					if err := s.Start(); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				for range 2 {
					if err := s.Stop(ctx); err != nil {
						t.Error(err)
					}
				}
				cancel()
				l.Close() // of a server that wasn't started
				l = listen(t, l.Addr().String())
			}
			fewerGoroutines(t, limit+1) // the subtest's own
		})
	}
}

// damage makes files that are no log of a meta server.
func damage(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"raft.db", "identity.json", "meta.json", "log.db"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("nonsense"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
