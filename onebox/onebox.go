package onebox

import (
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
)

// Options describe the cluster and how it is run.
type Options struct {
	Dir      string
	Port     int // first meta's; metas go up from it, replica servers from it + 200
	Metas    int
	Replicas int
	Tables   []TableSpec
	Config   config.Config // sections that all servers start from
	Restart  bool          // start servers again that died

	// Command returns the command line of a server.
	Command func(role, configFile, pidFile string) []string
	Cluster Cluster
	Out     io.Writer // the ready line
	Err     io.Writer // what happens

	ReadyTimeout  time.Duration // 0: 5 min
	StopTimeout   time.Duration // of a server that was asked to end; 0: 10 s
	RestartPause  time.Duration // before a died server is started again; 0: 1 s
	PortsPatience time.Duration // for servers of a killed predecessor to vanish; 0: 3 s
}

// Cluster is the running cluster as its clients see it.
type Cluster interface {
	// Absent returns in words which of that many replica servers the meta hasn't heard of,
	// "" if none.
	Absent(ctx context.Context, replicas int) (string, error)
	// Ensure makes the table unless it is there.
	Ensure(ctx context.Context, t TableSpec) error
	// Missing returns in words what a table still lacks to have all its replicas, "" if
	// nothing.
	Missing(ctx context.Context, table string) (string, error)
}

// Run starts the cluster and supervises it until ctx ends, then stops it in order. An
// error is one that kept the cluster from becoming ready.
func Run(ctx context.Context, o Options) error {
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
		return err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("--dir %s: %w", o.Dir, err)
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory: %w; give a --dir that can be written", err)
	}
	l, err := lock(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	if err := o.checkIdentity(); err != nil {
		return err
	}
	members := o.members()
	if err := awaitFree(members, o.PortsPatience); err != nil {
		return err
	}
	for _, m := range members {
		if err := o.prepare(m, o.Config); err != nil {
			return err
		}
	}
	s := &supervisor{o: o, out: newSpawner(), procs: map[string]*process{}, died: make(chan *process), over: make(chan struct{})}
	defer s.out.close()
	return s.run(ctx, members)
}

type supervisor struct {
	o    Options
	out  *spawner
	died chan *process
	over chan struct{} // closed when nobody listens to died any more

	mu    sync.Mutex // guards what is written to o.Err and the fields below
	procs map[string]*process
}

func (s *supervisor) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.o.Err, "onebox: "+format+"\n", args...)
}

func (s *supervisor) run(ctx context.Context, members []member) error {
	defer s.stopAll()
	for _, m := range members {
		if err := s.start(m); err != nil {
			return err
		}
	}
	rctx, cancel := context.WithTimeout(ctx, s.o.ReadyTimeout)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- s.becomeReady(rctx) }()
	isReady := false
	restarts := make(chan member)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ready:
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			isReady, ready = true, nil
			fmt.Fprintf(s.o.Out, "ready meta=%s\n", strings.Join(s.o.MetaAddrs(), ","))
		case p := <-s.died:
			p.dropPid()
			last := lastLine(p.file("log"))
			if last == "" {
				last = "(nothing)"
			}
			if !isReady && p.failed && !s.o.Restart {
				return fmt.Errorf("%s (process %d, %s) ended before the cluster was ready: %s; its log %s ends: %s",
					p.name, p.pid(), p.addr, p.state, p.file("log"), last)
			}
			next := "start it again with: sh " + shellQuote([]string{p.file("cmd")})
			if s.o.Restart {
				next = "it is started again"
			}
			s.say("%s died (process %d, %s): %s; its log %s ends: %s; %s", p.name, p.pid(), p.addr, p.state, p.file("log"), last, next)
			if s.o.Restart {
				time.AfterFunc(s.o.RestartPause, func() {
					select {
					case restarts <- p.member:
					case <-ctx.Done():
					}
				})
			}
		case m := <-restarts:
			if err := checkFree([]member{m}); err != nil {
				s.say("%s isn't started again: %v", m.name, err)
			} else if err := s.start(m); err != nil {
				s.say("%v", err)
			}
		}
	}
}

func (s *supervisor) start(m member) error {
	p, err := s.out.start(m, s.o.Command(m.role, m.file("config.toml"), m.file("pid")))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.procs[m.name] = p
	s.mu.Unlock()
	go func() {
		<-p.exited
		select {
		case s.died <- p:
		case <-s.over:
		}
	}()
	return nil
}

// stopAll stops replica servers, then metas, each kind at once: a replica server that is
// stopped while its meta lives can still say good-bye to it.
func (s *supervisor) stopAll() {
	close(s.over) // deaths are expected from here on
	for _, role := range []string{"replica", "meta"} {
		var wg sync.WaitGroup
		for _, p := range s.procs {
			if p.role == role {
				wg.Go(func() {
					if !p.stop(s.o.StopTimeout) {
						s.say("%s (process %d) didn't end in %v after SIGTERM and was killed; its log is %s", p.name, p.pid(), s.o.StopTimeout, p.file("log"))
					}
					p.dropPid()
				})
			}
		}
		wg.Wait()
	}
	for _, m := range s.o.members() {
		if pid := m.survivor(); pid != 0 {
			s.say("%s was started by hand as process %d: it is left running", m.name, pid)
		}
	}
}

// becomeReady waits until a meta leads and knows all replica servers, makes the tables and
// waits until all their partitions have all replicas.
func (s *supervisor) becomeReady(ctx context.Context) error {
	if err := s.await(ctx, "servers", func() (string, error) { return s.o.Cluster.Absent(ctx, s.o.Replicas) }); err != nil {
		return err
	}
	for _, t := range s.o.Tables {
		if err := s.o.Cluster.Ensure(ctx, t); err != nil {
			return s.notReady(ctx, fmt.Errorf("make table %s: %w", t.Name, err))
		}
	}
	for _, t := range s.o.Tables {
		if err := s.await(ctx, "table "+t.Name, func() (string, error) { return s.o.Cluster.Missing(ctx, t.Name) }); err != nil {
			return err
		}
	}
	return nil
}

// await asks until nothing is missing of what, and says now and then what is.
func (s *supervisor) await(ctx context.Context, what string, ask func() (missing string, err error)) error {
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
			s.say("waiting for %s: %s", what, missing)
		}
		select {
		case <-ctx.Done():
			return s.notReady(ctx, fmt.Errorf("%s: %s", what, missing))
		case <-time.After(pause):
		}
		pause = min(pause*2, 200*time.Millisecond)
	}
}

func (s *supervisor) notReady(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("not ready after %v: %w; the servers' logs are in %s", s.o.ReadyTimeout, err, filepath.Join(s.o.Dir, "*", "log"))
	}
	return err
}
