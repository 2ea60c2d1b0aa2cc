package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say what Start starts. The zero value is one meta, three replica servers, a table
// `temp` of 8 partitions, on free ports.
type Options struct {
	Port     int           // of the first meta; 0: free ones are looked for
	Metas    int           // 0: 1
	Replicas int           // 0: 3
	Tables   string        // as onebox takes it, "temp:8,other:4"; "" is "temp:8", "-" is none
	Args     []string      // more arguments for onebox
	Config   string        // TOML sections that all servers start from
	Ready    time.Duration // how long `ready` may take; 0: two minutes
}

// Cluster is a running onebox.
type Cluster struct {
	Dir string // onebox's --dir

	bin  string
	opts Options

	mu     sync.Mutex
	onebox *process
	own    map[string]*process // servers restarted by us, not by onebox
}

// process is a child of ours.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has been waited for
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Start starts a cluster and returns when it says ready. It is stopped at the end of the test.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	if o.Metas == 0 {
		o.Metas = 1
	}
	if o.Replicas == 0 {
		o.Replicas = 3
	}
	if o.Tables == "" {
		o.Tables = "temp:8"
	}
	if o.Ready == 0 {
		o.Ready = 2 * time.Minute
	}
	if o.Port == 0 {
		o.Port = freePort(tb, o.Metas, o.Replicas)
	}
	c := &Cluster{Dir: tb.TempDir(), bin: Binary(tb), opts: o, own: map[string]*process{}}
	tb.Cleanup(func() { c.stop(tb) })
	c.StartAgain(tb)
	return c
}

// StartAgain runs the same onebox command on the same directory, after KillAll or Stop.
func (c *Cluster) StartAgain(tb testing.TB) {
	tb.Helper()
	args := []string{
		"onebox", "--dir", c.Dir, "--port", strconv.Itoa(c.opts.Port),
		"--metas", strconv.Itoa(c.opts.Metas), "--replicas", strconv.Itoa(c.opts.Replicas),
	}
	if c.opts.Tables != "-" {
		args = append(args, "--tables", c.opts.Tables)
	} else {
		args = append(args, "--tables", "")
	}
	if c.opts.Config != "" {
		file := filepath.Join(c.Dir, "base.toml")
		if err := os.WriteFile(file, []byte(c.opts.Config), 0o644); err != nil {
			tb.Fatal(err)
		}
		args = append(args, "--config", file)
	}
	args = append(args, c.opts.Args...)
	cmd := exec.Command(c.bin, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := start(cmd, filepath.Join(c.Dir, "onebox.log"))
	if err != nil {
		tb.Fatalf("start onebox: %v", err)
	}
	c.mu.Lock()
	c.onebox = p
	c.mu.Unlock()

	ready := make(chan string, 1)
	go func() {
		s := bufio.NewScanner(out)
		for s.Scan() {
			if line := s.Text(); strings.HasPrefix(line, "ready ") {
				select {
				case ready <- line:
				default:
				}
			}
		}
		// The pipe must be drained before the process is waited for.
		cmd.Wait()
		close(p.done)
	}()
	select {
	case <-ready:
	case <-p.done:
		tb.Fatalf("onebox ended before it was ready\n%s", c.Logs())
	case <-time.After(c.opts.Ready):
		tb.Fatalf("onebox wasn't ready after %s\n%s", c.opts.Ready, c.Logs())
	}
}

// start runs cmd with its standard error (and, if not taken, output) appended to a file. The
// caller waits for the process if it took the output, otherwise start does.
func start(cmd *exec.Cmd, log string) (*process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the child has its own descriptor
	cmd.Stderr = f
	taken := cmd.Stdout != nil
	if !taken {
		cmd.Stdout = f
	}
	// A test binary that is killed takes its servers with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := spawn(cmd); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	if !taken {
		go func() {
			cmd.Wait()
			close(p.done)
		}()
	}
	return p, nil
}

var spawner struct {
	once sync.Once
	work chan func()
}

// spawn starts cmd from an operating-system thread that lives as long as this process: a
// child's parent-death signal comes when the thread that made it ends.
func spawn(cmd *exec.Cmd) error {
	spawner.once.Do(func() {
		spawner.work = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range spawner.work {
				f()
			}
		}()
	})
	err := make(chan error)
	spawner.work <- func() { err <- cmd.Start() }
	return <-err
}

// Metas returns the addresses of the meta servers, Replicas those of the replica servers.
func (c *Cluster) Metas() []string { return addresses(c.opts.Port, c.opts.Metas) }

// Replicas returns the addresses of the replica servers, in the order of their names.
func (c *Cluster) Replicas() []string { return addresses(c.opts.Port+200, c.opts.Replicas) }

func addresses(port, n int) []string {
	as := make([]string, n)
	for i := range as {
		as[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i))
	}
	return as
}

// Servers returns the names of all servers: meta1..., replica1...
func (c *Cluster) Servers() []string {
	var ns []string
	for i := range c.opts.Metas {
		ns = append(ns, "meta"+strconv.Itoa(i+1))
	}
	for i := range c.opts.Replicas {
		ns = append(ns, "replica"+strconv.Itoa(i+1))
	}
	return ns
}

// Addr returns the address of the server of that name.
func (c *Cluster) Addr(name string) string {
	as, num := c.Metas(), strings.TrimPrefix(name, "meta")
	if strings.HasPrefix(name, "replica") {
		as, num = c.Replicas(), strings.TrimPrefix(name, "replica")
	}
	n, err := strconv.Atoi(num)
	if err != nil || n < 1 || n > len(as) {
		panic("no server " + name)
	}
	return as[n-1]
}

// Name returns the name of the server at addr, "" if it is none of this cluster.
func (c *Cluster) Name(addr string) string {
	for _, n := range c.Servers() {
		if c.Addr(n) == addr {
			return n
		}
	}
	return ""
}

// Pid returns the process id of a server. The process was checked to be ours.
func (c *Cluster) Pid(name string) (int, error) {
	c.mu.Lock()
	p := c.own[name]
	c.mu.Unlock()
	if p != nil {
		return p.cmd.Process.Pid, nil
	}
	b, err := os.ReadFile(filepath.Join(c.Dir, name, "pid"))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s: bad pid file %q", name, b)
	}
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err == nil && len(line) > 0 && !strings.Contains(string(line), filepath.Join(c.Dir, name)) {
		return 0, fmt.Errorf("%s: process %d is another one: %q", name, pid, line)
	}
	return pid, nil
}

// Alive tells whether the server's process runs.
func (c *Cluster) Alive(name string) bool {
	pid, err := c.Pid(name)
	return err == nil && running(pid)
}

func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	// A zombie whose parent hasn't looked yet is dead for us.
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	i := strings.LastIndexByte(string(b), ')')
	return i < 0 || i+2 >= len(b) || b[i+2] != 'Z'
}

// Kill kills one server with SIGKILL and returns when it is gone.
func (c *Cluster) Kill(name string) error {
	pid, err := c.Pid(name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s (%d): %w", name, pid, err)
	}
	return c.gone(name, pid)
}

func (c *Cluster) gone(name string, pid int) error {
	if err := Poll(20*time.Second, func() error {
		if running(pid) {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.mu.Lock()
	delete(c.own, name)
	c.mu.Unlock()
	return nil
}

// Signal sends a signal (SIGSTOP, SIGCONT, SIGTERM...) to one server.
func (c *Cluster) Signal(name string, sig syscall.Signal) error {
	pid, err := c.Pid(name)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

// Restart runs a dead server's own command again, the shell script `cmd` that onebox wrote,
// and returns when it accepts connections.
func (c *Cluster) Restart(name string) error {
	if c.Alive(name) {
		return fmt.Errorf("restart %s: it still runs", name)
	}
	file := filepath.Join(c.Dir, name, "cmd")
	if _, err := os.Stat(file); err != nil {
		return err
	}
	p, err := start(exec.Command("sh", file), filepath.Join(c.Dir, "restarted.log"))
	if err != nil {
		return fmt.Errorf("restart %s: %w", name, err)
	}
	c.mu.Lock()
	c.own[name] = p
	c.mu.Unlock()
	return Poll(time.Minute, func() error {
		if !p.alive() {
			return fmt.Errorf("restarted %s ended: %v", name, p.cmd.ProcessState)
		}
		conn, err := net.DialTimeout("tcp", c.Addr(name), time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// KillAll kills every process of the cluster with SIGKILL, onebox first, and returns when
// all are gone.
func (c *Cluster) KillAll(tb testing.TB) {
	tb.Helper()
	pids := map[string]int{}
	for _, n := range c.Servers() {
		if !c.Alive(n) {
			continue
		}
		pid, err := c.Pid(n)
		if err != nil {
			tb.Fatal(err)
		}
		pids[n] = pid
	}
	c.mu.Lock()
	ob := c.onebox
	c.mu.Unlock()
	if ob != nil && ob.alive() {
		ob.cmd.Process.Kill()
	}
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for n, pid := range pids {
		if err := c.gone(n, pid); err != nil {
			tb.Fatal(err)
		}
	}
	if ob != nil {
		<-ob.done
	}
}

// Stop stops the cluster with SIGTERM and fails the test if it doesn't end cleanly. The
// directory stays until the end of the test.
func (c *Cluster) Stop(tb testing.TB) {
	tb.Helper()
	if err := c.terminate(); err != nil {
		tb.Errorf("stop: %v\n%s", err, c.Logs())
	}
}

func (c *Cluster) stop(tb testing.TB) {
	err := c.terminate()
	switch {
	case tb.Failed():
		tb.Logf("the cluster's logs:\n%s", c.Logs())
	case err != nil:
		tb.Errorf("stop: %v\n%s", err, c.Logs())
	}
}

func (c *Cluster) terminate() error {
	c.mu.Lock()
	ps := []*process{}
	for _, p := range c.own {
		ps = append(ps, p)
	}
	c.own = map[string]*process{}
	if c.onebox != nil {
		ps = append(ps, c.onebox)
		c.onebox = nil
	}
	c.mu.Unlock()
	var errs []error
	for _, p := range ps {
		if p.alive() {
			p.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	for _, p := range ps {
		select {
		case <-p.done:
		case <-time.After(40 * time.Second):
			errs = append(errs, fmt.Errorf("%s didn't stop on SIGTERM", p.cmd.Args))
			p.cmd.Process.Kill()
			<-p.done
		}
	}
	// What onebox left behind isn't left to the machine.
	for _, n := range c.Servers() {
		if pid, err := c.Pid(n); err == nil && running(pid) {
			errs = append(errs, fmt.Errorf("%s (%d) outlived onebox", n, pid))
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return errors.Join(errs...)
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
