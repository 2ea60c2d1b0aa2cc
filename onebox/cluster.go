package onebox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pegasus/base/config"
	"pegasus/client"
)

// Options describe the cluster and how it is run.
type Options struct {
	Dir      string
	Port     int // first meta's; metas go up from it, replica servers from it + 200
	Metas    int
	Replicas int
	Tables   []TableSpec
	// TablesOfNew: the Tables are only for a new directory, nobody asked for them by name.
	TablesOfNew bool
	Config      config.Config // sections that all servers start from
	Restart     bool          // start servers again that died

	// Program is the executable that the servers run.
	Program string
	// Command returns the command line of a server; nil: of Program.
	Command func(role, configFile, pidFile string) []string
	// Admin is asked whether the cluster is ready. Nil: a client of our own.
	Admin Admin
	Out   io.Writer // the line of Run that says that the cluster is ready
	Err   io.Writer // what happens

	ReadyTimeout  time.Duration // 0: 5 min
	StopTimeout   time.Duration // of a server that was asked to end; 0: 10 s
	RestartPause  time.Duration // before a died server is started again; 0: 1 s
	PortsPatience time.Duration // for servers of a killed predecessor to vanish; 0: 3 s
}

// Cluster is the servers of one directory, started and watched by this process.
type Cluster struct {
	Servers []*Server // metas first

	o       Options
	program map[string]string   // by server's name
	args    map[string][]string // more arguments
	before  dataBefore
	lock    *os.File
	release func() // of the client that Open made

	early chan error // that a server ended by itself before the cluster was ready

	mu      sync.Mutex
	ready   bool
	closing bool

	restarts sync.Mutex // held while a server that died is started again
	say      sync.Mutex // guards what is written to o.Err
}

// Open takes the directory and lays the cluster out in it. It starts nothing.
func Open(o Options) (*Cluster, error) {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.ReadyTimeout, 5*time.Minute)
	def(&o.StopTimeout, 10*time.Second)
	def(&o.RestartPause, time.Second)
	def(&o.PortsPatience, 3*time.Second)
	if err := o.check(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("--dir %s: %w", o.Dir, err)
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the directory: %w; give a writable --dir", err)
	}
	c := &Cluster{o: o, Servers: o.Servers(), program: map[string]string{}, args: map[string][]string{}, release: func() {}, early: make(chan error, 1)}
	if c.lock, err = lock(dir); err != nil {
		return nil, err
	}
	if err := c.layOut(); err != nil {
		c.lock.Close()
		return nil, err
	}
	if c.o.Admin == nil {
		k := client.New(o.MetaAddrs(), client.Options{Timeout: 15 * time.Second})
		c.o.Admin, c.release = Connect(k), func() { k.Close() }
	}
	return c, nil
}

// layOut writes what the servers need, once no other one is in their place.
func (c *Cluster) layOut() error {
	if err := c.o.checkIdentity(); err != nil {
		return err
	}
	if err := awaitFree(c.Servers, c.o.PortsPatience); err != nil {
		return err
	}
	var err error
	if c.before, err = c.o.findData(c.Servers); err != nil {
		return err
	}
	base := c.o.Config
	if base.Replica.DiskMinSpace == config.Default().Replica.DiskMinSpace {
		// The disk of somebody who tries is often fuller than that, and holds little of this.
		base.Replica.DiskMinSpace = 1
	}
	for _, s := range c.Servers {
		s.Argv = func() []string { return c.argv(s) }
		s.OnExit = func(e Exit) { c.ended(s, e) }
		if err := s.WriteConfig(base, c.o.MetaAddrs()); err != nil {
			return err
		}
		if err := c.writeCmd(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) argv(s *Server) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.o.Command != nil {
		return c.o.Command(s.Role, s.File("config.toml"), s.File("pid"))
	}
	program := cmp.Or(c.program[s.Name], c.o.Program)
	return append([]string{program, s.Role, "--config", s.File("config.toml"), "--pid-file", s.File("pid")}, c.args[s.Name]...)
}

// writeCmd writes the shell script that starts the server by hand.
func (c *Cluster) writeCmd(s *Server) error {
	return writeFile(s.File("cmd"), []byte("exec "+shellQuote(c.argv(s))+" >>"+shellQuote([]string{s.File("log")})+" 2>&1\n"))
}

// SetProgram has a server run another executable from its next start on.
func (c *Cluster) SetProgram(s *Server, program string) error {
	c.mu.Lock()
	c.program[s.Name] = program
	c.mu.Unlock()
	return c.writeCmd(s)
}

// SetArgs gives a server these arguments beside its own from its next start on.
func (c *Cluster) SetArgs(s *Server, args ...string) error {
	c.mu.Lock()
	c.args[s.Name] = args
	c.mu.Unlock()
	return c.writeCmd(s)
}

// Server returns the server of that name, nil if there is none.
func (c *Cluster) Server(name string) *Server {
	for _, s := range c.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Run starts the cluster and supervises it until ctx ends, then stops it in order. An
// error is one that kept the cluster from becoming ready.
func Run(ctx context.Context, o Options) error {
	c, err := Open(o)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	fmt.Fprintf(o.Out, "ready meta=%s\n", strings.Join(o.MetaAddrs(), ","))
	<-ctx.Done()
	return nil
}

// Start starts all servers and returns when every partition of every table has its replicas.
func (c *Cluster) Start(ctx context.Context) error {
	for _, s := range c.Servers {
		if err := s.Start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.ReadyTimeout)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- c.becomeReady(ctx) }()
	select {
	case err := <-ready:
		if err != nil {
			return err
		}
	case err := <-c.early:
		cancel()
		<-ready
		return err
	}
	c.mu.Lock()
	c.ready = true
	c.mu.Unlock()
	return nil
}

// ended deals with the end of a server's process.
func (c *Cluster) ended(s *Server, e Exit) {
	if e.Asked || c.isClosing() {
		return
	}
	last := cmp.Or(s.LastLine(), "(nothing)")
	c.mu.Lock()
	ready := c.ready
	c.mu.Unlock()
	if !ready && !e.signaled() && !c.o.Restart {
		select {
		case c.early <- fmt.Errorf("%s (process %d, %s) ended before the cluster was ready: %s; its log %s ends with: %s",
			s.Name, e.Pid, s.Addr, e.State, s.File("log"), last):
		default:
		}
		return
	}
	next := "to restart it, run: sh " + shellQuote([]string{s.File("cmd")})
	if c.o.Restart {
		next = "restarting it"
	}
	c.note("%s died (process %d, %s): %s; its log %s ends with: %s; %s", s.Name, e.Pid, s.Addr, e.State, s.File("log"), last, next)
	if c.o.Restart {
		time.AfterFunc(c.o.RestartPause, func() { c.restart(s) })
	}
}

// restart starts a server again, unless it was started by hand meanwhile or the cluster is closed.
func (c *Cluster) restart(s *Server) {
	c.restarts.Lock()
	defer c.restarts.Unlock()
	if c.isClosing() || s.Running() {
		return
	}
	if err := checkFree([]*Server{s}); err != nil {
		c.note("%s is not restarted: %v", s.Name, err)
	} else if err := s.Start(); err != nil {
		c.note("%v", err)
	}
}

// Close stops all servers in order and gives the directory back. The error says which servers had
// to be killed or ended with an error.
func (c *Cluster) Close() error {
	c.close()
	var mu sync.Mutex
	var errs []error
	StopAll(c.Servers, c.o.StopTimeout, func(s *Server, e Exit, err error) {
		switch {
		case errors.Is(err, ErrKilled):
			err = fmt.Errorf("%s (process %d) was killed because it didn't end within %v of SIGTERM; its log is %s", s.Name, e.Pid, c.o.StopTimeout, s.File("log"))
		case err != nil:
			err = fmt.Errorf("%s (process %d) failed after SIGTERM: %w; its log %s ends with: %s", s.Name, e.Pid, err, s.File("log"), s.LastLine())
		default:
			return
		}
		c.note("%v", err)
		mu.Lock()
		errs = append(errs, err)
		mu.Unlock()
	})
	for _, s := range c.Servers {
		if pid := s.survivor(); pid != 0 {
			c.note("%s runs as process %d, which was started by hand: leaving it running", s.Name, pid)
		}
	}
	c.release()
	return errors.Join(append(errs, c.lock.Close())...)
}

// close ends restarts: deaths are expected from here on.
func (c *Cluster) close() {
	c.restarts.Lock()
	defer c.restarts.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
}

func (c *Cluster) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// Kill kills all servers and gives the directory back.
func (c *Cluster) Kill() error {
	c.close()
	Kill(c.Servers...)
	c.release()
	return c.lock.Close()
}

func (c *Cluster) note(format string, args ...any) {
	c.say.Lock()
	defer c.say.Unlock()
	fmt.Fprintf(c.o.Err, "onebox: "+format+"\n", args...)
}

// becomeReady waits until a meta leads and knows all replica servers, makes the tables and
// waits until all their partitions have all replicas.
func (c *Cluster) becomeReady(ctx context.Context) error {
	if err := c.await(ctx, "servers", func() (string, error) { return c.o.Admin.Absent(ctx, c.o.Replicas) }); err != nil {
		return err
	}
	tables, err := c.tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := c.await(ctx, "table "+t.Name, func() (string, error) { return c.o.Admin.Missing(ctx, t.Name) }); err != nil {
			return err
		}
	}
	return nil
}

// tables makes the tables, if that is right, and returns those to wait for.
func (c *Cluster) tables(ctx context.Context) (list []TableSpec, err error) {
	if !c.before.lost && (c.before.none || !c.o.TablesOfNew) {
		for _, t := range c.o.Tables {
			if err := c.o.Admin.Ensure(ctx, t); err != nil {
				return nil, c.notReady(ctx, fmt.Errorf("create table %s: %w", t.Name, err))
			}
		}
		return c.o.Tables, c.o.tablesAreMade()
	}
	if c.before.lost {
		c.note("the replica servers in %s have data and the meta servers have none: no table is created; `pegasus recover --meta %s` recovers the tables", c.o.Dir, c.o.MetaAddrs()[0])
	}
	for _, t := range c.o.Tables {
		err := c.await(ctx, "table "+t.Name, func() (string, error) {
			has, err := c.o.Admin.Has(ctx, t.Name)
			if has {
				list = append(list, t)
			}
			return "", err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// await asks until nothing is missing of what, and says now and then what is.
func (c *Cluster) await(ctx context.Context, what string, ask func() (missing string, err error)) error {
	const say = 5 * time.Second
	pause, told := 20*time.Millisecond, time.Now()
	for {
		missing, err := ask()
		if err == nil && missing == "" {
			return nil
		}
		if err != nil {
			missing = err.Error()
		}
		if time.Since(told) > say {
			told = time.Now()
			c.note("waiting for %s: %s", what, missing)
		}
		select {
		case <-ctx.Done():
			return c.notReady(ctx, fmt.Errorf("%s: %s", what, missing))
		case <-time.After(pause):
		}
		pause = min(pause*2, 200*time.Millisecond)
	}
}

func (c *Cluster) notReady(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not ready after %v: %w; the servers' logs are in %s", c.o.ReadyTimeout, err, filepath.Join(c.o.Dir, "*", "log"))
	}
	return err
}
