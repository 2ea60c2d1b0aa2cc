package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/acl"
	"pegasus/base"
	"pegasus/compat_test/cluster"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

var securitySection = regexp.MustCompile(`(?ms)^\[security\]\n.*?(^\[|\z)`)

// secure changes section [security] of a server's configuration.
func secure(t *testing.T, c *cluster.Cluster, name, mode, secretFile string) {
	t.Helper()
	file := filepath.Join(c.Dir, name, "config.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = securitySection.ReplaceAll(text, []byte("$1"))
	text = append(text, fmt.Sprintf("\n[security]\npeers = %q\nsecret_file = %q\n", mode, secretFile)...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestClusterSecret: under load a cluster goes from trust to a secret by two rolling restarts, and to another secret
// without one. Then nobody but its servers gets files of replicas, takes part in replication or in the quorum.
func TestClusterSecret(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Metas: 3, Tables: "temp:4", Config: "[failure_detector]\nbeacon_interval = \"500ms\"\nlease = \"4s\"\ngrace = \"5s\"\n"})
	load := startLightLoad(t, c)
	secretFile := filepath.Join(t.TempDir(), "secret")
	write := func(lines ...string) {
		t.Helper()
		next := secretFile + ".next" // servers never read half a file
		if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, secretFile); err != nil {
			t.Fatal(err)
		}
	}
	healthy := func(when string) {
		t.Helper()
		if err := c.WaitHealthy("temp", 2*time.Minute); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		load.grown(t)
	}
	const first, second = "the first secret of this cluster", "the second secret of this cluster"
	write(first)
	for _, mode := range []string{"optional", "required"} {
		for _, name := range c.Servers() {
			if err := c.Terminate(name); err != nil {
				t.Fatal(err)
			}
			secure(t, c, name, mode, secretFile)
			if err := c.Restart(name); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, c.Log(name))
			}
			healthy(fmt.Sprintf("%s with security.peers %s", name, mode))
		}
	}

	for i, lines := range [][]string{{first, second}, {second, first}, {second}} {
		write(lines...)
		want := fmt.Sprintf("%d secrets are valid now", len(lines))
		for _, name := range c.Servers() {
			if err := cluster.Poll(time.Minute, func() error {
				if n := strings.Count(c.Log(name), "security.secret_file has changed"); n < i+1 || !strings.Contains(c.Log(name), want) {
					return fmt.Errorf("%s has not taken secrets %d (%d changes)", name, i, n)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		// New connections between servers are made with what is valid now.
		for _, name := range []string{"replica1", "meta2"} {
			if err := c.Kill(name); err != nil {
				t.Fatal(err)
			}
			if err := c.Restart(name); err != nil {
				t.Fatal(err)
			}
		}
		healthy(fmt.Sprintf("secrets %d", i))
	}

	t.Run("strangers", func(t *testing.T) { refusesStrangers(t, c) })

	t.Run("another secret", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(other, []byte("the secret of nobody else\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.Terminate("replica3"); err != nil {
			t.Fatal(err)
		}
		secure(t, c, "replica3", "required", other)
		if err := c.Restart("replica3"); err != nil {
			t.Fatal(err)
		}
		if err := cluster.Poll(time.Minute, func() error {
			if !strings.Contains(c.Log("replica3"), "no cluster secret in common") {
				return errors.New("its log doesn't say why it isn't let in")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if err := cluster.Poll(time.Minute, func() error {
			out, err := c.CLI(runContext(t, time.Minute), "node", "ls", "--meta", strings.Join(c.Metas(), ","))
			if err != nil {
				return err
			}
			if n := strings.Count(out, " dead "); n != 1 {
				return fmt.Errorf("%d servers are dead:\n%s", n, out)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		load.grown(t)
		if err := c.Terminate("replica3"); err != nil {
			t.Fatal(err)
		}
		secure(t, c, "replica3", "required", secretFile)
		if err := c.Restart("replica3"); err != nil {
			t.Fatal(err)
		}
		healthy("replica3 again")
	})
	load.stop()
	<-load.done
	load.check(t)
}

// paths returns the pages of a server.
func paths(t *testing.T, addr string) (all map[string]string) {
	t.Helper()
	res, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil || len(all) < 10 {
		t.Fatalf("the pages of %s: %v, %v", addr, all, err)
	}
	return all
}

// refusesStrangers: of all requests, those between servers are refused, by each server, and no other one is.
func refusesStrangers(t *testing.T, c *cluster.Cluster) {
	pool := rpc.NewPool(rpc.PoolOptions{})
	defer pool.Close()
	ctx := runContext(t, 2*time.Minute)
	cells := 0
	for _, name := range c.Servers() {
		for _, code := range base.RPCNames() {
			what := acl.OfRPC(code)
			// Those that would do harm are asked with what can't be decoded.
			var res metaquorum.QuorumStatusResponse
			for _, framing := range []rpc.Framing{rpc.THFT1, rpc.RDSN} {
				one, cancel := context.WithTimeout(ctx, 5*time.Second)
				err := pool.Call(one, c.Addr(name), rpc.Outgoing{Code: code, Framing: framing, Body: []byte{1}}, &res)
				cancel()
				denied := errors.Is(err, base.ErrACLDeny)
				// Over THFT the connection of who sends it ends with the answer, which may be overtaken.
				if what == acl.Internal && !denied && !errors.Is(err, base.ErrNetworkFailure) {
					t.Errorf("%s: %s of a stranger: %v", name, code, err)
				}
				if what != acl.Internal && denied {
					t.Errorf("%s: %s, which needs %v, is refused: %v", name, code, what, err)
				}
				cells++
			}
		}
		for path := range paths(t, c.Addr(name)) {
			if _, listed := acl.OfPage(strings.TrimPrefix(path, "/")); !listed {
				t.Errorf("%s has the page %s, and acl doesn't say what it needs", name, path)
			}
		}
		for _, q := range []struct{ method, path string }{{"POST", "/replica/checkpoint"}, {"GET", "/replica/checkpoint/file"}, {"POST", "//replica//checkpoint/done"}, {"GET", "/replica/checkpoint?x"}} {
			req, err := http.NewRequestWithContext(ctx, q.method, "http://"+c.Addr(name)+q.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s %s of a stranger: %s", name, q.method, q.path, res.Status)
			}
			cells++
		}
	}
	t.Logf("%d questions of a stranger", cells)
}
