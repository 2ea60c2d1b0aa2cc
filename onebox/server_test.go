package onebox

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/base/config"
)

// newServer returns a server in a directory of the test's that runs argv, and the ends that it saw.
func newServer(t *testing.T, argv ...string) (*Server, chan Exit) {
	t.Helper()
	exits := make(chan Exit, 10)
	s := &Server{Name: "replica1", Role: "replica", Dir: t.TempDir(), OnExit: func(e Exit) { exits <- e },
		Argv: func() []string { return argv }}
	t.Cleanup(func() { Kill(s) })
	return s, exits
}

func exitOf(t *testing.T, exits chan Exit) Exit {
	t.Helper()
	select {
	case e := <-exits:
		return e
	case <-time.After(time.Minute):
		t.Fatal("nobody is told of the end of the process")
		return Exit{}
	}
}

func TestServerEnds(t *testing.T) {
	const deaf = `trap '' TERM; echo deaf; while :; do sleep 0.05; done`
	polite := `trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done`
	for _, tc := range []struct {
		name, script string
		end          func(*Server) error
		asked        bool
		state        string
		err          error
	}{
		{"by itself", "exit 3", func(*Server) error { return nil }, false, "exit status 3", nil},
		{"killed by somebody", polite, func(s *Server) error { return s.Signal(syscall.SIGKILL) }, false, "signal: killed", nil},
		{"Kill", polite, func(s *Server) error { Kill(s); return nil }, true, "signal: killed", nil},
		{"Stop", polite, func(s *Server) error { _, err := s.Stop(time.Minute); return err }, true, "exit status 0", nil},
		{"Stop of one that SIGSTOP halts", polite, func(s *Server) error {
			if err := s.Signal(syscall.SIGSTOP); err != nil {
				return err
			}
			_, err := s.Stop(time.Minute)
			return err
		}, true, "exit status 0", nil},
		{"Stop of a deaf one", deaf, func(s *Server) error { _, err := s.Stop(100 * time.Millisecond); return err }, true, "signal: killed", ErrKilled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, exits := newServer(t, "sh", "-c", tc.script)
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			pid := s.Pid()
			if tc.state != "exit status 3" {
				awaitFile(t, s.File("log"), "\n") // its trap is set
				if err := s.Start(); err != nil || s.Pid() != pid {
					t.Errorf("a second Start: %v, process %d, was %d", err, s.Pid(), pid)
				}
			}
			if err := tc.end(s); !errors.Is(err, tc.err) {
				t.Errorf("got %v, want %v", err, tc.err)
			}
			e := exitOf(t, exits)
			if e.Asked != tc.asked || e.State.String() != tc.state {
				t.Errorf("got %+v, want asked %v, %s", e, tc.asked, tc.state)
			}
			if (e.Err() == nil) != (tc.state == "exit status 0") {
				t.Errorf("its error is %v", e.Err())
			}
			if s.Running() || s.Pid() != 0 {
				t.Error("it counts as running")
			}
			if _, err := os.Stat(s.File("pid")); err == nil {
				t.Error("the pid file is left")
			}
			if err := s.Signal(syscall.SIGTERM); err == nil {
				t.Error("a signal to nobody is no error")
			}
			if e, err := s.Stop(time.Minute); err != nil || e.State != nil {
				t.Errorf("Stop of a stopped one: %+v, %v", e, err)
			}
			if err := s.Start(); err != nil || !s.Running() && tc.state != "exit status 3" {
				t.Errorf("it doesn't start again: %v", err)
			}
		})
	}
}

func TestServerThatCannotStart(t *testing.T) {
	s, _ := newServer(t, filepath.Join(t.TempDir(), "nothing"))
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "start replica1") || s.Running() {
		t.Errorf("got %v, running %v", err, s.Running())
	}
	s, _ = newServer(t, "true")
	s.Spawn = func(*exec.Cmd) error { return errors.New("no host") }
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "no host") {
		t.Errorf("got %v", err)
	}
}

// TestStopAllStopsMetasLast: a meta's process is asked to end once no replica server runs.
func TestStopAllStopsMetasLast(t *testing.T) {
	var mu sync.Mutex
	var order []string
	var ss []*Server
	for _, role := range []string{"meta", "replica", "replica"} {
		s, _ := newServer(t, "sh", "-c", `trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done`)
		s.Role = role
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		awaitFile(t, s.File("log"), "up")
		ss = append(ss, s)
	}
	StopAll(ss, time.Minute, func(s *Server, _ Exit, err error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, s.Role)
		if err != nil {
			t.Error(err)
		}
	})
	if got := strings.Join(order, " "); got != "replica replica meta" {
		t.Errorf("got %s", got)
	}
}

// TestClusterAsALibrary: what tests and benchmarks use of it.
func TestClusterAsALibrary(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	o := testOptions(dir, port, &fakeCluster{}, io.Discard, io.Discard)
	o.Command = nil
	script := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntrap 'exit 0' TERM\necho \"$@\"\nwhile :; do sleep 0.02; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	o.Program, o.Config = script, config.Default()
	c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another onebox") {
		t.Errorf("a second one on the directory: %v", err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := c.Server("replica2")
	Kill(s)
	if err := c.SetArgs(s, "--more", "of it"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, s.File("log"), "--more of it")
	if b, err := os.ReadFile(s.File("cmd")); err != nil || !strings.Contains(string(b), script+" replica --config") || !strings.Contains(string(b), "--more 'of it' >>") {
		t.Errorf("cmd is %q, %v", b, err)
	}
	Kill(s)
	if err := c.SetProgram(s, "/bin/false"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(s.File("cmd")); err != nil || !strings.HasPrefix(string(b), "exec /bin/false replica") {
		t.Errorf("cmd is %q, %v", b, err)
	}
	for _, s := range c.Servers {
		if s.Running() {
			awaitFile(t, s.File("log"), "\n") // before that, SIGTERM would end it without a word
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if c, err = Open(o); err != nil {
		t.Fatalf("the directory isn't given back: %v", err)
	}
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Error(err)
	}
	for _, s := range c.Servers {
		if s.Running() {
			t.Errorf("%s runs", s.Name)
		}
	}
}
