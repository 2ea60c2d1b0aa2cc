package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base/config"
)

// buffer is an io.Writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A package has its own level, else that of the nearest package above it, else the common one.
func TestLevelOfPackage(t *testing.T) {
	l := logrus.New()
	v := Of(l)
	if Of(l) != v {
		t.Fatal("a logger has two Levels")
	}
	if err := v.SetPackages([]string{"replica=error", "replica/wal=debug"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]logrus.Level{
		"replica": logrus.ErrorLevel, "replica/disk": logrus.ErrorLevel, "replica/wal": logrus.DebugLevel, "replica/wal/x": logrus.DebugLevel,
		"replicas": logrus.InfoLevel, "rpc": logrus.InfoLevel, "main": logrus.InfoLevel, "": logrus.InfoLevel,
	} {
		if got := v.now.Load().of(name); got != want {
			t.Errorf("%q has level %v, want %v", name, got, want)
		}
	}
	for f, want := range map[string]string{
		"pegasus/replica/wal.(*Log).Append": "replica/wal", "pegasus/rpc.New[go.shape.int].func1": "rpc", "main.main": "main", "": "",
		"github.com/hashicorp/raft.(*Raft).run": "github.com/hashicorp/raft", "gopkg.in/x.v2.F": "gopkg.in/x",
	} {
		if got := packageOf(f); got != want {
			t.Errorf("%s is of package %q, want %q", f, got, want)
		}
	}
}

// What is written follows the levels while the log is in use; what is refused changes nothing.
func TestLevels(t *testing.T) {
	var out buffer
	e := New(config.Logging{Level: "warn", Packages: []string{"base/logging=debug"}}, &out)
	v := Of(e.Logger)
	logs := func(want bool, line string) {
		t.Helper()
		e.Debug(line)
		if got := strings.Contains(out.String(), line); got != want {
			t.Errorf("%q is logged: %t; the log is %q", line, got, out.String())
		}
	}
	logs(true, "one")
	if s := out.String(); !strings.Contains(s, "at=\"base/logging/logging_test.go:") && !strings.Contains(s, "at=base/logging/logging_test.go:") {
		t.Errorf("%q doesn't say where it is from", s)
	}
	for _, bad := range [][]string{{"loud"}, {"rpc=loud"}, {"=debug"}, {"rpc=info", "a b=info"}, {""}} {
		if err := v.Change(bad); !errors.Is(err, ErrLevel) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if level, packages := v.Get(); level != "warn" || len(packages) != 1 || packages[0] != "base/logging=debug" {
		t.Errorf("levels are %s, %q", level, packages)
	}
	if err := v.Change([]string{"rpc=debug", "base/logging="}); err != nil {
		t.Fatal(err)
	}
	logs(false, "two") // though the logger lets debug lines of rpc pass
	if err := v.Change([]string{"debug"}); err != nil {
		t.Fatal(err)
	}
	logs(true, "three")
	if err := v.Set("error"); err != nil {
		t.Fatal(err)
	}
	logs(false, "four")
	if err := v.SetPackages([]string{"base=debug"}); err != nil {
		t.Fatal(err)
	}
	logs(true, "five")
}

func TestJSON(t *testing.T) {
	var out buffer
	New(config.Logging{Level: "info", JSON: true}, &out).WithField("gpid", "1.0").Warn("a line")
	var m map[string]string
	if err := json.Unmarshal([]byte(out.String()), &m); err != nil {
		t.Fatal(err)
	}
	if m["msg"] != "a line" || m["level"] != "warning" || m["gpid"] != "1.0" || !strings.HasPrefix(m["at"], "base/logging/logging_test.go:") {
		t.Errorf("%v", m)
	}
}

func open(t *testing.T, c config.Logging) (*logrus.Entry, *File, *buffer) {
	t.Helper()
	errw := new(buffer)
	c.Level = "info"
	if c.FileMaxBytes == 0 {
		c.FileMaxBytes = 1 << 20
	}
	e, f := Open(c, errw)
	t.Cleanup(func() {
		f.Close()
		<-f.done
	})
	return e, f, errw
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The file is renamed when it is long enough, and only so many are kept; no line is lost or cut.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	e, f, errw := open(t, config.Logging{File: filepath.Join(dir, "logs", "server.log"), FileMaxCount: 2})
	line := strings.Repeat("x", 100<<10)
	for i := range 40 {
		e.Info(line)
		if i%10 == 9 {
			f.Flush() // 4 MiB may wait
		}
	}
	f.Flush()
	until := time.Now().Add(20 * time.Second)
	for {
		files, err := filepath.Glob(filepath.Join(dir, "logs", "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 3 {
			for _, name := range files {
				if s := read(t, name); len(s) > 1<<20 || strings.Count(s, line) == 0 || strings.Count(s, "time=") != strings.Count(s, line) {
					t.Errorf("%s has %d bytes and %d of %d whole lines", name, len(s), strings.Count(s, line), strings.Count(s, "time="))
				}
			}
			break
		}
		if time.Now().After(until) {
			t.Fatalf("there are %q", files)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s := errw.String(); s != "" {
		t.Errorf("standard error has %q", s)
	}
}

// Who rotates logs moves the file away, and the server begins a new one when it is told.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.log")
	e, f, _ := open(t, config.Logging{File: path})
	e.Info("before")
	f.Flush()
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	f.Reopen()
	e.Info("after")
	f.Flush()
	if s := read(t, path); strings.Contains(s, "before") || !strings.Contains(s, "after") {
		t.Errorf("the new file has %q", s)
	}
	if s := read(t, path+".old"); !strings.Contains(s, "before") || strings.Contains(s, "after") {
		t.Errorf("the old file has %q", s)
	}
}

// /dev/full is a disk without room: what it doesn't take goes to standard error, and nobody waits.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "server.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	e, f, errw := open(t, config.Logging{File: path})
	for range 100 {
		e.Info("a line")
	}
	f.Flush()
	if n := strings.Count(errw.String(), "a line"); n != 100 {
		t.Errorf("%d lines of 100 are on standard error", n)
	}
	if err := os.Remove(path); err != nil { // there is room again
		t.Fatal(err)
	}
	f.Reopen()
	e.Info("another")
	f.Flush()
	if s := read(t, path); !strings.Contains(s, "another") {
		t.Errorf("the file has %q", s)
	}
}

// A disk that hangs costs lines and no time, and the log says so afterwards.
func TestHangingDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.log")
	if err := syscall.Mkfifo(path, 0o600); err != nil { // opening it for writing waits for a reader
		t.Fatal(err)
	}
	e, f, _ := open(t, config.Logging{File: path, FileMaxBytes: 1 << 30})
	line := strings.Repeat("y", 1<<10)
	began := time.Now()
	for range 2 * maxWaiting >> 10 {
		e.Info(line)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("8192 lines took %v", d)
	}
	f.mu.Lock()
	lost := f.lost
	f.mu.Unlock()
	if lost == 0 {
		t.Fatal("nothing was lost")
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	b := make([]byte, 64<<10)
	for !strings.Contains(got.String(), "lines of the log were lost") {
		n, err := r.Read(b)
		got.Write(b[:n])
		if err != nil {
			t.Fatalf("%v after %d bytes", err, got.Len())
		}
	}
}

// Without a file the log is on standard error.
func TestNoFile(t *testing.T) {
	var errw buffer
	e, f := Open(config.Logging{Level: "info"}, &errw)
	e.Info("a line")
	Flush(e.Logger)
	if f != nil || !strings.Contains(errw.String(), "a line") {
		t.Errorf("%v, %q", f, errw.String())
	}
}
