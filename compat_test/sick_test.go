package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// TestSickCluster: in each state of a sick cluster the commands say what clients can do, who is to blame, and
// what a person should do.
func TestSickCluster(t *testing.T) {
	const config = "[failure_detector]\nbeacon_interval = \"300ms\"\nlease = \"6s\"\ngrace = \"7s\"\n[replica]\nconfig_sync_interval = \"500ms\"\n"
	c := cluster.Start(t, cluster.Options{Tables: "temp:8", Config: config})
	cli := func(args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := c.CLI(ctx, append(args, "--meta", strings.Join(c.Metas(), ","))...)
		if err != nil {
			out += "\nfailed: " + err.Error()
		}
		return out
	}
	// says waits until a command says all of that; it may fail.
	says := func(t *testing.T, command string, texts ...string) {
		t.Helper()
		if err := cluster.Poll(time.Minute, func() error {
			out := cli(strings.Fields(command)...)
			for _, text := range texts {
				if not, negated := strings.CutPrefix(text, "!"); negated == strings.Contains(out, strings.TrimPrefix(not, "!")) {
					return fmt.Errorf("%s says, against %q:\n%s", command, text, out)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	well := func(t *testing.T) {
		t.Helper()
		says(t, "table show temp", "8 healthy, 8 readable, 8 writable", "!what to do")
	}
	well(t)
	says(t, "health", "healthy", "!failed")
	says(t, "set temp h s v", "!failed")

	t.Run("rows that aren't flushed count", func(t *testing.T) {
		if r, err := runBench(t, c, "--op", "set", "--count", "5000", "--keys", "5000", "--value-size", "1000"); err != nil || r.Ops != 5000 {
			t.Fatalf("%d sets, %v", r.Ops, err)
		}
		if err := cluster.Poll(90*time.Second, func() error {
			var nodes []struct {
				Bytes int64 `json:"bytes"`
			}
			out := cli("node", "ls", "-o", "json")
			if err := json.Unmarshal([]byte(out), &nodes); err != nil || len(nodes) != 3 {
				return fmt.Errorf("%w: %s", err, out)
			}
			for _, n := range nodes {
				if n.Bytes < 4_500_000 {
					return fmt.Errorf("5 MB were written, and node ls says %s", out)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})

	t.Run("one server's disk is full", func(t *testing.T) {
		full := c.Addr("replica3")
		set := func(percent string) {
			t.Helper()
			res, err := http.Get("http://" + full + "/updateConfig?disk_min_available_space_ratio=" + percent)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if !strings.Contains(string(b), "ERR_OK") {
				t.Fatalf("updateConfig: %s", b)
			}
		}
		set("100")
		disk := `the disk "data" of ` + full
		says(t, "table show temp", "0 healthy, 8 readable, 0 writable", disk, "free space on "+full)
		says(t, "table show temp --why", "not writable", disk)
		says(t, "table ls", "not writable", disk)
		says(t, "health", "not writable", disk, "failed")
		says(t, "set temp h s v --timeout 2s", "ERR_DISK_INSUFFICIENT", disk, "free space on "+full)
		says(t, "disk ls", "SPACE_INSUFFICIENT", "writes are refused until there is more room")
		set("0")
		well(t)
	})

	t.Run("a primary is stopped", func(t *testing.T) {
		stopped := c.Addr("replica1")
		if err := c.Signal("replica1", syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer c.Signal("replica1", syscall.SIGCONT)
		says(t, "table show temp --why", "in doubt", "the primary "+stopped+" has been silent")
		says(t, "health", "silent", stopped, "failed")
		says(t, "table show temp", "8 readable, 8 writable", "it has 2 of 3 replicas") // the others have taken over
		says(t, "health", "dead: "+stopped, "pegasus node forget")
		if err := c.Signal("replica1", syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		well(t)
	})

	t.Run("the only replica is lost", func(t *testing.T) {
		says(t, "table create lone -p 2 -r 1", "!failed")
		cfg, err := c.Config("lone")
		if err != nil {
			t.Fatal(err)
		}
		name := c.Name(cfg.Partitions[0].Primary.String())
		if err := c.Kill(name); err != nil {
			t.Fatal(err)
		}
		says(t, "table show lone", "all its members are dead", "start "+c.Addr(name))
		emptyDir(t, filepath.Join(c.Dir, name, "data"))
		if err := c.Restart(name); err != nil {
			t.Fatal(err)
		}
		says(t, "table show lone", "dead", "!2 healthy", "--accept-loss")
		says(t, "table show lone --why", "reads: no; writes: no; no usable copy is known to live")
		says(t, "table drop lone", "!failed")
		well(t)
	})

	t.Run("nobody is there", func(t *testing.T) {
		out, err := c.CLI(runContext(t, time.Minute), "meta", "status", "--meta", "127.0.0.1:1")
		if err == nil || !strings.Contains(err.Error(), "check the addresses") || strings.Contains(out+err.Error(), "recover-quorum") {
			t.Errorf("%v: %s", err, out)
		}
	})

	t.Run("after recover-quorum nothing is served", func(t *testing.T) {
		before := unserved(t, c)
		if err := c.Kill("meta1"); err != nil {
			t.Fatal(err)
		}
		if err := cluster.Poll(time.Minute, func() error { // the leases end
			if n := unserved(t, c); n < before+3 {
				return fmt.Errorf("%d of 3 servers serve no more", n-before)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if out, err := c.CLI(runContext(t, time.Minute), "meta", "recover-quorum", "--yes", "--config", filepath.Join(c.Dir, "meta1", "config.toml")); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := c.Restart("meta1"); err != nil {
			t.Fatal(err)
		}
		says(t, "table show temp", "0 readable, 0 writable", "serves nothing", "what to do: pegasus recover")
		says(t, "table show temp --why", "not readable", "pegasus recover")
		says(t, "table ls", "pegasus recover")
		says(t, "health", "pegasus recover", "failed")
		says(t, "get temp h s --timeout 2s", "failed", "pegasus recover")
		says(t, "table create x", "failed", "run `pegasus recover`", "!too few")
		says(t, "rebalance --wait 0s", "failed", "run `pegasus recover`")
		says(t, "meta status", "may be old", "pegasus recover")
		says(t, "recover", "recovered table temp")
		well(t)
	})

	t.Run("the metas lost their state", func(t *testing.T) {
		loseMeta(t, c)
		says(t, "table ls", "lost their state", "pegasus recover, before any table is created")
		says(t, "table show temp", "ERR_OBJECT_NOT_FOUND", "pegasus recover", "!`pegasus table create`")
		says(t, "get temp h s", "failed", "pegasus recover", "!`pegasus table create`")
		says(t, "table create temp", "failed", "isn't created", "pegasus recover")
		says(t, "recover --skip-lost-partitions", "recovered table temp") // what was dropped and lost is found, too
		well(t)
		says(t, "get temp h s", "v", "!failed")
	})
}

// unserved counts how often replica servers found that their leases had ended.
func unserved(t *testing.T, c *cluster.Cluster) (n int) {
	t.Helper()
	for _, s := range c.Servers() {
		if !strings.HasPrefix(s, "replica") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(c.Dir, s, "log"))
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(b), "not serving until one does")
	}
	return n
}
