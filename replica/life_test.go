package replica

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pegasus/base/config"
)

// fewerGoroutines waits until no more than so many goroutines run, and tells which do otherwise.
func fewerGoroutines(t *testing.T, limit int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > limit {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			b = b[:runtime.Stack(b, true)]
			t.Fatalf("%d goroutines, at first %d:\n%s", runtime.NumGoroutine(), limit, b)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestLife: a server that couldn't be made, one that was made and not started, and one that is
// closed leave no goroutine, and can be closed twice.
func TestLife(t *testing.T) {
	cfg := testConfig(t)
	cfg.Replica.DataDirs = []string{filepath.Join(t.TempDir(), "data")}
	cfg.Replica.Listen = "127.0.0.1:0"
	cfg.Cluster.MetaServers = []string{"127.0.0.1:1"} // nobody is there
	limit := runtime.NumGoroutine()
	for name, change := range map[string]func(*config.Config){
		"gate":     func(c *config.Config) { c.RPC.MaxInFlightBytes = -1 },
		"observer": func(c *config.Config) { c.Replica.ReadUnit = 3 },
		"link":     func(c *config.Config) { c.FD.Lease, c.FD.Grace = c.FD.Grace, c.FD.Lease },
		"no metas": func(c *config.Config) { c.Cluster.MetaServers = nil },
		"disks":    func(c *config.Config) { c.Replica.DataDirs = nil },
		"a disk": func(c *config.Config) {
			c.Replica.DataDirs = append(c.Replica.DataDirs, filepath.Join(t.TempDir(), "no", "such"))
		},
		"engine": func(c *config.Config) { c.Storage.Compactions = -1 },
		"stray": func(c *config.Config) {
			d := t.TempDir()
			c.Replica.DataDirs = []string{d}
			if err := os.MkdirAll(filepath.Join(d, "reps", "nonsense.pegasus"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"fine": func(*config.Config) {},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			c := cfg
			change(&c)
			s, err := New(c, addrOf("127.0.0.1:1"), quiet())
			if err != nil {
				t.Log(err)
				fewerGoroutines(t, limit+1) // the subtest's own
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), answerTime)
			defer cancel()
			for range 2 {
				if err := s.Close(ctx); err != nil {
					t.Error(err)
				}
			}
			fewerGoroutines(t, limit+1) // the subtest's own
		})
	}
}
