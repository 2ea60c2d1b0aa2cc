package onebox

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one running server.
type process struct {
	member
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone
	state  string        // how it ended; valid once exited is closed
	failed bool          // it ended by itself, not by a signal
}

// spawner forks processes from one operating-system thread. The parent-death signal of a
// child is tied to the thread that made it: were that one of Go's pool, the child would be
// killed whenever the thread is retired.
type spawner struct {
	work chan func()
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
		// The thread is left locked: it ends with the goroutine, after all children.
	}()
	return s
}

func (s *spawner) close() { close(s.work) }

// start runs a member's command with its output appended to its log, and writes its pid.
func (s *spawner) start(m member, argv []string) (*process, error) {
	log, err := os.OpenFile(m.file("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", m.name, err)
	}
	defer log.Close()
	p := &process{member: m, cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A process group of its own: Ctrl-C in a terminal reaches the supervisor alone, which
	// then stops the servers in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.work <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", m.name, err)
	}
	if err := writeFile(m.file("pid"), []byte(strconv.Itoa(p.pid())+"\n")); err != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		return nil, err
	}
	go func() {
		p.cmd.Wait()
		p.state = p.cmd.ProcessState.String()
		if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
			p.failed = !ws.Signaled()
		}
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end and kills it after patience. It reports whether it ended
// when asked.
func (p *process) stop(patience time.Duration) bool {
	p.cmd.Process.Signal(syscall.SIGTERM)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
	}
	p.cmd.Process.Kill()
	<-p.exited
	return false
}

// dropPid removes the pid file if it still names this process: another one, started by
// hand in its place, keeps its own.
func (p *process) dropPid() {
	data, err := os.ReadFile(p.file("pid"))
	if err == nil && strings.TrimSpace(string(data)) == strconv.Itoa(p.pid()) {
		os.Remove(p.file("pid"))
	}
}

// lastLine returns the last line of a file that isn't empty, shortened; "" if it has none.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const tail = 8 << 10
	if fi, err := f.Stat(); err == nil && fi.Size() > tail {
		f.Seek(-tail, io.SeekEnd)
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
