package compat

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// TestBadConfig: a server whose configuration is wrong says in one line what, where, and what to
// do, and ends with status 1.
func TestBadConfig(t *testing.T) {
	bin := cluster.Binary(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	dir := t.TempDir()
	for _, c := range []struct {
		name, role, file string
		args             []string
		says             []string // all of these
	}{
		{"unknown key", "replica", "[replica]\nlissten = \"127.0.0.1:1\"\n", nil, []string{"c.toml:2", "replica.lissten"}},
		{"unknown section", "meta", "[replika]\nlisten = \"127.0.0.1:1\"\n", nil, []string{"c.toml:1", "replika"}},
		{"bad number", "replica", "[rpc]\nmax_connections = \"many\"\n", nil, []string{"c.toml:2", "rpc.max_connections"}},
		{"bad duration", "replica", "[failure_detector]\nlease = \"soon\"\n", nil, []string{"c.toml:2", "failure_detector.lease"}},
		{"lease longer than grace", "meta", "[failure_detector]\nlease = \"10s\"\ngrace = \"5s\"\n", nil, []string{"c.toml", "grace"}},
		{"no TOML", "replica", "this is = = nothing\n", nil, []string{"c.toml:1"}},
		{"missing file", "meta", "", []string{"--config", filepath.Join(dir, "nowhere.toml")}, []string{"nowhere.toml"}},
		{"missing directory", "replica", "[replica]\nlisten = \"" + free.Addr().String() + "\"\ndata_dirs = [\"" + filepath.Join(dir, "no", "such", "dir") + "\"]\n", nil, []string{filepath.Join(dir, "no")}},
		{"port in use, replica", "replica", "[replica]\nlisten = \"" + taken.Addr().String() + "\"\ndata_dirs = [\"" + dir + "\"]\n", nil, []string{taken.Addr().String(), "in use"}},
		{"port in use, meta", "meta", "[cluster]\nmeta_servers = [\"" + taken.Addr().String() + "\"]\n[meta]\nlisten = \"" + taken.Addr().String() + "\"\ndata_dir = \"" + dir + "\"\n", nil, []string{taken.Addr().String(), "in use"}},
		{"bad address", "replica", "[replica]\nlisten = \"nowhere\"\n", nil, []string{"c.toml:2", "replica.listen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{c.role}, c.args...)
			if len(c.args) == 0 {
				file := filepath.Join(t.TempDir(), "c.toml")
				if err := os.WriteFile(file, []byte(c.file), 0o644); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", file)
			}
			cmd := exec.CommandContext(runContext(t, 20*time.Second), bin, args...)
			cmd.Dir = t.TempDir()
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Fatalf("%v, want exit status 1\n%s%s", err, out.String(), errOut.String())
			}
			line := strings.TrimSuffix(errOut.String(), "\n")
			if strings.Contains(line, "\n") || line == "" || out.Len() > 0 {
				t.Errorf("not one line on standard error:\n%s%s", errOut.String(), out.String())
			}
			for _, s := range c.says {
				if !strings.Contains(line, s) {
					t.Errorf("%q doesn't say %q", line, s)
				}
			}
			t.Log(line)
		})
	}
}
