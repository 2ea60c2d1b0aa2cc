package onebox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pegasus/base/config"
)

// Server is one server of a cluster: its place in the directory, and the process that runs there
// while one does. The exported fields are set before the first Start.
type Server struct {
	Name string // "meta1", "replica2"
	Role string // "meta", "replica": the subcommand
	Addr string
	Dir  string // absolute

	// Argv returns the command line of a process that is about to start.
	Argv func() []string
	Env  []string // more variables of its environment
	// Spawn starts a process as a child that dies with this one. Nil: Spawn.
	Spawn func(*exec.Cmd) error
	// OnExit, unless nil, is told how a process ended, before those who wait for its end.
	OnExit func(Exit)

	mu  sync.Mutex
	now *process // nil: none runs
}

// process is a server's process that runs.
type process struct {
	cmd   *exec.Cmd
	asked bool          // Stop or Kill asked for its end. Under the server's mu.
	exit  Exit          // valid once gone is closed
	gone  chan struct{} // closed when it has been waited for
}

// Exit is how a process ended.
type Exit struct {
	Pid   int
	State *os.ProcessState
	Asked bool // Stop or Kill asked for it
}

// Err returns nil for exit status 0, and else what the process ended with.
func (e Exit) Err() error {
	if e.State == nil || e.State.Success() {
		return nil
	}
	return errors.New(e.State.String())
}

// signaled tells that a signal ended it, and not the program itself.
func (e Exit) signaled() bool {
	ws, ok := e.State.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled()
}

// File returns the path of a file in the server's directory.
func (s *Server) File(name string) string { return filepath.Join(s.Dir, name) }

// Start starts a process with its output appended to the server's log, writes its pid, and doesn't
// wait until it serves. A server that runs stays as it is.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		return nil
	}
	log, err := os.OpenFile(s.File("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	defer log.Close() // the child has its own descriptor
	cmd := command(s.Argv())
	cmd.Stdout, cmd.Stderr = log, log
	if s.Env != nil {
		cmd.Env = append(os.Environ(), s.Env...)
	}
	spawn := s.Spawn
	if spawn == nil {
		spawn = Spawn
	}
	if err := spawn(cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &process{cmd: cmd, gone: make(chan struct{})}
	if err := writeFile(s.File("pid"), []byte(strconv.Itoa(cmd.Process.Pid)+"\n")); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	s.now = p
	go s.wait(p)
	return nil
}

func command(argv []string) *exec.Cmd { return exec.Command(argv[0], argv[1:]...) }

func (s *Server) wait(p *process) {
	_ = p.cmd.Wait()
	s.mu.Lock()
	s.now = nil
	p.exit = Exit{Pid: p.cmd.Process.Pid, State: p.cmd.ProcessState, Asked: p.asked}
	s.mu.Unlock()
	s.dropPid(p.exit.Pid)
	if s.OnExit != nil {
		s.OnExit(p.exit)
	}
	close(p.gone)
}

// dropPid removes the pid file if it still names that process: another one, started by hand in its
// place, keeps its own.
func (s *Server) dropPid(pid int) {
	data, err := os.ReadFile(s.File("pid"))
	if err == nil && strings.TrimSpace(string(data)) == strconv.Itoa(pid) {
		_ = os.Remove(s.File("pid"))
	}
}

// Pid returns the process that runs, 0 if none does.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return 0
	}
	return s.now.cmd.Process.Pid
}

// Running tells whether a process runs.
func (s *Server) Running() bool { return s.Pid() != 0 }

// Signal sends a signal to the process. An error says that none runs.
func (s *Server) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return fmt.Errorf("signal %v: %s doesn't run", sig, s.Name)
	}
	return s.now.cmd.Process.Signal(sig)
}

// ask sends a signal that ends the process, and returns the process, nil if none runs.
func (s *Server) ask(sigs ...os.Signal) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return nil
	}
	s.now.asked = true
	for _, sig := range sigs {
		_ = s.now.cmd.Process.Signal(sig)
	}
	return s.now
}

// Kill ends the processes of all ss with SIGKILL and returns when they are gone. Servers that
// don't run stay so.
func Kill(ss ...*Server) {
	var ps []*process
	for _, s := range ss {
		if p := s.ask(os.Kill); p != nil {
			ps = append(ps, p)
		}
	}
	for _, p := range ps {
		<-p.gone
	}
}

// ErrKilled says that a server had to be killed.
var ErrKilled = errors.New("killed: it didn't end in time after SIGTERM")

// Stop ends a server with SIGTERM, also one that SIGSTOP halts, and kills it after patience. The
// error is ErrKilled, or says with what status the process ended. A server that doesn't run is
// stopped already.
func (s *Server) Stop(patience time.Duration) (Exit, error) {
	p := s.ask(syscall.SIGTERM, syscall.SIGCONT)
	if p == nil {
		return Exit{}, nil
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.gone:
		return p.exit, p.exit.Err()
	case <-t.C:
	}
	s.ask(os.Kill)
	<-p.gone
	return p.exit, ErrKilled
}

// StopAll stops replica servers, then metas, each kind at once: a replica server that is stopped
// while its meta lives can still say good-bye to it. It tells each, from several goroutines, how
// a server that ran ended.
func StopAll(ss []*Server, patience time.Duration, each func(*Server, Exit, error)) {
	for _, role := range []string{"replica", "meta"} {
		var wg sync.WaitGroup
		for _, s := range ss {
			if s.Role != role {
				continue
			}
			wg.Go(func() {
				if e, err := s.Stop(patience); e.State != nil {
					each(s, e, err)
				}
			})
		}
		wg.Wait()
	}
}

// WriteConfig writes the configuration of a server that listens on its address and has its data
// below its directory, and makes the directory of the data.
func (s *Server) WriteConfig(c config.Config, metas []string) error {
	data := s.File("data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return fmt.Errorf("create the directory of %s: %w", s.Name, err)
	}
	c.Cluster.MetaServers = metas
	if s.Role == "meta" {
		c.Meta.Listen, c.Meta.DataDir = s.Addr, data
	} else {
		c.Replica.Listen, c.Replica.DataDirs = s.Addr, []string{"data:" + data}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	text, err := config.Marshal(c)
	if err != nil {
		return err
	}
	head := "# Onebox writes this file at each start. To change a key, give onebox a file with --config.\n\n"
	return writeFile(s.File("config.toml"), append([]byte(head), text...))
}

// LastLine returns the last line of the server's log that isn't empty, shortened; "" if it has
// none.
func (s *Server) LastLine() string {
	f, err := os.Open(s.File("log"))
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 8 << 10
	if fi, err := f.Stat(); err == nil && fi.Size() > tail {
		_, _ = f.Seek(-tail, io.SeekEnd)
	}
	data, _ := io.ReadAll(f)
	data = bytes.TrimSpace(data)
	if i := bytes.LastIndexByte(data, '\n'); i >= 0 {
		data = data[i+1:]
	}
	const most = 400
	if len(data) > most {
		data = append(data[:most:most], "..."...)
	}
	return string(data)
}

// spawner forks processes from one operating-system thread. The parent-death signal of a child is
// tied to the thread that made it: were that one of Go's pool, the child would be killed whenever
// the thread is retired.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// Spawn starts cmd as a child that the system kills when this process ends. It is in a process
// group of its own: Ctrl-C in a terminal reaches this process alone, which then stops its servers
// in order.
func Spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawner() <- func() { started <- cmd.Start() }
	return <-started
}
