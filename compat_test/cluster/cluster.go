package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/base/config"
	"pegasus/onebox"
)

// Options say what Start starts. The zero value is one meta, three replica servers, a table
// `temp` of 8 partitions, on free ports.
type Options struct {
	Port     int           // of the first meta; 0: free ones are looked for
	Metas    int           // 0: 1
	Replicas int           // 0: 3
	Tables   string        // as onebox takes it, "temp:8,other:4"; "" is "temp:8", "-" is none
	Config   string        // TOML sections that all servers start from
	Program  string        // the executable that the servers begin with; "": Binary
	Ready    time.Duration // how long the cluster may take to become ready; 0: two minutes
}

// Cluster is a running cluster.
type Cluster struct {
	Dir string

	bin  string // of CLI
	opts onebox.Options
	box  *onebox.Cluster // nil: stopped
	log  *os.File        // what the driver says
}

// Start starts a cluster and returns when it is ready. It is stopped at the end of the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c := &Cluster{Dir: tb.TempDir(), bin: Binary(tb)}
	metas, replicas := cmp.Or(o.Metas, 1), cmp.Or(o.Replicas, 3)
	if o.Port == 0 {
		o.Port = FreePort(tb, metas, replicas)
	}
	tables, err := onebox.ParseTables(strings.TrimPrefix(cmp.Or(o.Tables, "temp:8"), "-"))
	if err != nil {
		tb.Fatal(err)
	}
	cfg := config.Default()
	if o.Config != "" {
		file := filepath.Join(c.Dir, "base.toml")
		if err := os.WriteFile(file, []byte(o.Config), 0o644); err != nil {
			tb.Fatal(err)
		}
		if cfg, err = config.Load(file); err != nil {
			tb.Fatal(err)
		}
	}
	if c.log, err = os.Create(filepath.Join(c.Dir, "onebox.log")); err != nil {
		tb.Fatal(err)
	}
	c.opts = onebox.Options{
		Dir: c.Dir, Port: o.Port, Metas: metas, Replicas: replicas, Tables: tables, Config: cfg,
		Program: cmp.Or(o.Program, c.bin), Err: c.log, ReadyTimeout: cmp.Or(o.Ready, 2*time.Minute), StopTimeout: 40 * time.Second,
	}
	tb.Cleanup(func() { c.stop(tb) })
	c.StartAgain(tb)
	return c
}

// StartAgain starts the same cluster on the same directory, after KillAll or Stop.
func (c *Cluster) StartAgain(tb testing.TB) {
	tb.Helper()
	box, err := onebox.Open(c.opts)
	if err != nil {
		tb.Fatal(err)
	}
	c.box = box
	if err := box.Start(context.Background()); err != nil {
		tb.Fatalf("%v\n%s", err, c.Logs())
	}
}

// Metas returns the addresses of the meta servers, Replicas those of the replica servers, in the
// order of their names.
func (c *Cluster) Metas() []string { return c.addresses("meta") }

// Replicas returns the addresses of the replica servers.
func (c *Cluster) Replicas() []string { return c.addresses("replica") }

func (c *Cluster) addresses(role string) (as []string) {
	for _, s := range c.opts.Servers() {
		if s.Role == role {
			as = append(as, s.Addr)
		}
	}
	return as
}

// Servers returns the names of all servers: meta1..., replica1...
func (c *Cluster) Servers() (names []string) {
	for _, s := range c.opts.Servers() {
		names = append(names, s.Name)
	}
	return names
}

// Addr returns the address of the server of that name.
func (c *Cluster) Addr(name string) string {
	for _, s := range c.opts.Servers() {
		if s.Name == name {
			return s.Addr
		}
	}
	panic("no server " + name)
}

// Name returns the name of the server at addr, "" if it is none of this cluster.
func (c *Cluster) Name(addr string) string {
	for _, s := range c.opts.Servers() {
		if s.Addr == addr {
			return s.Name
		}
	}
	return ""
}

// server returns the server of that name of a cluster that wasn't stopped.
func (c *Cluster) server(name string) (*onebox.Server, error) {
	if c.box != nil {
		if s := c.box.Server(name); s != nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no server %s runs in %s", name, c.Dir)
}

// Pid returns the process id of a server that runs.
func (c *Cluster) Pid(name string) (int, error) {
	s, err := c.server(name)
	if err != nil {
		return 0, err
	}
	if pid := s.Pid(); pid != 0 {
		return pid, nil
	}
	return 0, fmt.Errorf("%s doesn't run", name)
}

// Alive tells whether the server's process runs.
func (c *Cluster) Alive(name string) bool {
	s, err := c.server(name)
	return err == nil && s.Running()
}

// Kill kills one server with SIGKILL and returns when it is gone.
func (c *Cluster) Kill(name string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	if !s.Running() {
		return fmt.Errorf("kill %s: it doesn't run", name)
	}
	onebox.Kill(s)
	return nil
}

// Signal sends a signal (SIGSTOP, SIGCONT, SIGTERM...) to one server.
func (c *Cluster) Signal(name string, sig syscall.Signal) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	return s.Signal(sig)
}

// Restart starts a dead server and returns when it accepts connections.
func (c *Cluster) Restart(name string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	if s.Running() {
		return fmt.Errorf("restart %s: it still runs", name)
	}
	if err := s.Start(); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return Poll(time.Minute, func() error {
		if !s.Running() {
			return fmt.Errorf("restarted %s ended: %s", name, s.LastLine())
		}
		conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// Terminate stops one server with SIGTERM and returns when it is gone.
func (c *Cluster) Terminate(name string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	if _, err := s.Stop(c.opts.StopTimeout); errors.Is(err, onebox.ErrKilled) {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

// SetProgram makes program the executable that Restart starts a server with.
func (c *Cluster) SetProgram(name, program string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	return c.box.SetProgram(s, program)
}

// SetArgs gives the command that Restart runs more arguments; they take the place of those that it
// was given by SetArgs before.
func (c *Cluster) SetArgs(name string, args ...string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	return c.box.SetArgs(s, args...)
}

// Log returns what a server has written to its log.
func (c *Cluster) Log(name string) string {
	b, err := os.ReadFile(filepath.Join(c.Dir, name, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// KillAll kills every server with SIGKILL and returns when all are gone.
func (c *Cluster) KillAll(tb testing.TB) {
	tb.Helper()
	box := c.box
	c.box = nil
	if err := box.Kill(); err != nil {
		tb.Fatal(err)
	}
}

// Stop stops the cluster with SIGTERM and fails the test if it doesn't end cleanly. The
// directory stays until the end of the test.
func (c *Cluster) Stop(tb testing.TB) {
	tb.Helper()
	if err := c.close(); err != nil {
		tb.Errorf("stop: %v\n%s", err, c.Logs())
	}
}

func (c *Cluster) stop(tb testing.TB) {
	err := c.close()
	switch {
	case tb.Failed():
		tb.Logf("the cluster's logs:\n%s", c.Logs())
	case err != nil:
		tb.Errorf("stop: %v\n%s", err, c.Logs())
	}
	c.log.Close()
}

func (c *Cluster) close() error {
	box := c.box
	c.box = nil
	if box == nil {
		return nil
	}
	return box.Close()
}

// Logs returns the last lines of every log file in the cluster's directory.
func (c *Cluster) Logs() string {
	var sb strings.Builder
	files, _ := filepath.Glob(filepath.Join(c.Dir, "*.log"))
	more, _ := filepath.Glob(filepath.Join(c.Dir, "*", "log"))
	for _, f := range append(files, more...) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		const most = 6000
		if len(b) > most {
			b = append([]byte("...\n"), b[len(b)-most:]...)
		}
		rel, _ := filepath.Rel(c.Dir, f)
		fmt.Fprintf(&sb, "--- %s\n%s\n", rel, b)
	}
	return sb.String()
}

// CLI runs the pegasus command with these arguments and returns its standard output; the error
// carries its standard error.
func (c *Cluster) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.bin, args...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("pegasus %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errOut.String())
	}
	return out.String(), nil
}

// Poll calls f until it returns nil or the time is over, in which case it returns f's last error.
func Poll(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s: %w", limit, err)
		}
		<-time.After(wait)
	}
}
