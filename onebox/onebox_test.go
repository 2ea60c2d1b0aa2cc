package onebox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/base/config"
)

// The test binary plays the servers too, and for one test the supervisor.
func TestMain(m *testing.M) {
	switch os.Getenv("ONEBOX_TEST_ROLE") {
	case "supervisor":
		port, _ := strconv.Atoi(os.Getenv("ONEBOX_TEST_PORT"))
		err := Run(context.Background(), testOptions(os.Getenv("ONEBOX_TEST_DIR"), port, &fakeCluster{}, os.Stdout, os.Stderr))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case "server":
		fakeServer(os.Args[1], os.Args[3])
	default:
		os.Exit(m.Run())
	}
}

// fakeServer listens where its configuration says. A file beside the configuration changes
// what it does: "fail" ends it at once, "deaf" makes it ignore SIGTERM.
func fakeServer(role, file string) {
	c, err := config.Load(file)
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	dir := filepath.Dir(file)
	exists := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	if exists("fail") {
		fmt.Println("no luck today")
		os.Exit(7)
	}
	addr := c.Meta.Listen
	if role == "replica" {
		addr = c.Replica.Listen
	}
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGTERM)
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		fmt.Println(err)
		os.Exit(4)
	}
	fmt.Println("serving", addr)
	for range sig {
		if !exists("deaf") {
			break
		}
	}
	l.Close()
	f, _ := os.OpenFile(filepath.Join(dir, "..", "stops"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	fmt.Fprintln(f, filepath.Base(dir))
	f.Close()
	os.Exit(0)
}

type fakeCluster struct {
	mu      sync.Mutex
	ensured []TableSpec
	missing []string // what Missing says, one after the other; then ""
	absent  string   // what Absent says
}

func (f *fakeCluster) Absent(context.Context, int) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.absent, nil
}

func (f *fakeCluster) Ensure(_ context.Context, t TableSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ensured = append(f.ensured, t)
	return nil
}

func (f *fakeCluster) Has(_ context.Context, name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.ensured, func(t TableSpec) bool { return t.Name == name }), nil
}

func (f *fakeCluster) Missing(context.Context, string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.missing) == 0 {
		return "", nil
	}
	m := f.missing[0]
	f.missing = f.missing[1:]
	if m == "error" {
		return "", errors.New("nobody there")
	}
	return m, nil
}

func testOptions(dir string, port int, k Admin, out, errw io.Writer) Options {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Options{Dir: dir, Port: port, Metas: 2, Replicas: 2, Tables: []TableSpec{{Name: "temp", Partitions: 8}}, Config: config.Default(),
		Command: func(role, file, pid string) []string {
			return []string{"/usr/bin/env", "ONEBOX_TEST_ROLE=server", self, role, "--config", file, "--pid-file", pid}
		},
		Admin: k, Out: out, Err: errw, RestartPause: time.Millisecond, StopTimeout: 5 * time.Second}
}

// buffer is a Writer that can be waited on.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newBuffer() *buffer { return &buffer{more: make(chan struct{}, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *buffer) await(t *testing.T, want string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		if s := b.String(); strings.Contains(s, want) {
			return s
		}
		select {
		case <-b.more:
		case <-deadline:
			t.Fatalf("%q didn't come; got %q", want, b.String())
		}
	}
}

// box is a supervisor running in a goroutine of the test.
type box struct {
	Options
	out, err *buffer
	stop     context.CancelFunc
	result   chan error
}

func freePort(t *testing.T) int {
	t.Helper()
	// Below the range from which the system takes ports for outgoing connections.
	for port := 20000 + os.Getpid()%5000; port < 32000; port += 7 {
		if checkFree((&Options{Dir: t.TempDir(), Port: port, Metas: 2, Replicas: 2}).Servers()) == nil {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func startBox(t *testing.T, dir string, port int, k *fakeCluster, change func(*Options)) *box {
	t.Helper()
	b := &box{out: newBuffer(), err: newBuffer(), result: make(chan error, 1)}
	b.Options = testOptions(dir, port, k, b.out, b.err)
	if change != nil {
		change(&b.Options)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() { b.result <- Run(ctx, b.Options) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-b.result:
			b.result <- err
		case <-time.After(time.Minute):
			t.Error("the supervisor doesn't end")
		}
	})
	return b
}

func (b *box) end(t *testing.T) error {
	t.Helper()
	b.stop()
	select {
	case err := <-b.result:
		b.result <- err
		return err
	case <-time.After(time.Minute):
		t.Fatal("the supervisor doesn't end")
		return nil
	}
}

func pidOf(t *testing.T, dir, name string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		<-time.After(5 * time.Millisecond)
	}
}

var allNames = []string{"meta1", "meta2", "replica1", "replica2"}

func TestStartAndStop(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	k := &fakeCluster{missing: []string{"error", "half of it"}}
	b := startBox(t, dir, port, k, nil)
	line := b.out.await(t, "\n")
	if want := fmt.Sprintf("ready meta=127.0.0.1:%d,127.0.0.1:%d\n", port, port+1); line != want {
		t.Errorf("got %q, want %q", line, want)
	}
	if len(k.ensured) != 1 || k.ensured[0] != (TableSpec{"temp", 8, 2}) {
		t.Errorf("tables made: %v", k.ensured)
	}
	var pids []int
	for i, name := range allNames {
		pids = append(pids, pidOf(t, dir, name))
		if !alive(pids[i]) {
			t.Errorf("%s isn't running", name)
		}
		c, err := config.Load(filepath.Join(dir, name, "config.toml"))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Cluster.MetaServers) != 2 {
			t.Errorf("%s: meta servers %v", name, c.Cluster.MetaServers)
		}
		if name == "replica2" && (c.Replica.Listen != fmt.Sprintf("127.0.0.1:%d", port+201) || c.Replica.DataDirs[0] != "data:"+filepath.Join(dir, name, "data")) {
			t.Errorf("replica2: %+v", c.Replica)
		}
		if cmd, _ := os.ReadFile(filepath.Join(dir, name, "cmd")); !strings.Contains(string(cmd), filepath.Join(dir, name, "config.toml")) {
			t.Errorf("%s: cmd %q", name, cmd)
		}
	}
	for _, name := range allNames { // before that, SIGTERM would end it without a word
		awaitFile(t, filepath.Join(dir, name, "log"), "serving")
	}
	if err := b.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	for i, name := range allNames {
		awaitGone(t, pids[i])
		if _, err := os.Stat(filepath.Join(dir, name, "pid")); err == nil {
			t.Errorf("%s: the pid file is left", name)
		}
	}
	stops, err := os.ReadFile(filepath.Join(dir, "stops"))
	if err != nil {
		t.Fatal(err)
	}
	order := strings.Fields(string(stops))
	if len(order) != 4 || !strings.HasPrefix(order[0]+order[1], "replica") || !strings.HasPrefix(order[2], "meta") {
		t.Errorf("stopped in the order %v, want replica servers first", order)
	}
	if b.err.String() != "" {
		t.Errorf("said %q about nothing", b.err)
	}
}

func TestSaysWhenAServerDies(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	b := startBox(t, dir, port, &fakeCluster{}, nil)
	b.out.await(t, "ready")
	pid := pidOf(t, dir, "replica1")
	log := filepath.Join(dir, "replica1", "log")
	awaitFile(t, log, "serving")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	said := b.err.await(t, "\n")
	want := fmt.Sprintf("onebox: replica1 died (process %d, 127.0.0.1:%d): signal: killed; its log %s ends with: serving 127.0.0.1:%d; to restart it, run: sh %s\n",
		pid, port+200, log, port+200, filepath.Join(dir, "replica1", "cmd"))
	if said != want {
		t.Errorf("said %q\nwant %q", said, want)
	}
	if !alive(pidOf(t, dir, "replica2")) {
		t.Error("replica2 isn't running any more")
	}
	// By hand, with the command that is kept, it comes up again; it isn't ours to stop then.
	cmd := exec.Command("sh", filepath.Join(dir, "replica1", "cmd"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	// A server writes its own pid file; the fake one leaves that to the test.
	if err := writeFile(filepath.Join(dir, "replica1", "pid"), []byte(strconv.Itoa(cmd.Process.Pid))); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, log, fmt.Sprintf("serving 127.0.0.1:%d\nserving", port+200))
	if err := b.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	if !alive(cmd.Process.Pid) {
		t.Error("a process that was started by hand was stopped")
	}
	b.err.await(t, fmt.Sprintf("replica1 runs as process %d, which was started by hand: leaving it running", cmd.Process.Pid))
	// While it runs there, the directory can't be started again.
	err := Run(context.Background(), func() Options {
		o := testOptions(dir, port, &fakeCluster{}, io.Discard, io.Discard)
		o.PortsPatience = time.Millisecond
		return o
	}())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("replica1 of an earlier run is still running as process %d", cmd.Process.Pid)) {
		t.Errorf("got %v", err)
	}
}

func TestRestartsDiedServers(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	b := startBox(t, dir, port, &fakeCluster{}, func(o *Options) { o.Restart = true })
	b.out.await(t, "ready")
	log := filepath.Join(dir, "meta2", "log")
	awaitFile(t, log, "serving")
	old := pidOf(t, dir, "meta2")
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.err.await(t, "restarting it")
	awaitFile(t, log, fmt.Sprintf("serving 127.0.0.1:%d\nserving", port+1))
	awaitFile(t, filepath.Join(dir, "meta2", "pid"), "\n") // written once the process runs
	if pid := pidOf(t, dir, "meta2"); pid == old || !alive(pid) {
		t.Errorf("meta2 was process %d and is %d", old, pid)
	}
	if err := b.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestFailureBeforeReady(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	if err := os.MkdirAll(filepath.Join(dir, "replica2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "replica2", "fail"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	k := &fakeCluster{}
	for range 10000 {
		k.missing = append(k.missing, "replica2")
	}
	b := startBox(t, dir, port, k, nil)
	select {
	case err := <-b.result:
		b.result <- err
		if err == nil || !strings.Contains(err.Error(), "replica2 (process ") || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "ends with: no luck today") {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a server that can't start wasn't noticed")
	}
}

func TestNotReadyInTime(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	k := &fakeCluster{}
	for range 10000 {
		k.missing = append(k.missing, "everything")
	}
	b := startBox(t, dir, port, k, func(o *Options) { o.ReadyTimeout = 300 * time.Millisecond })
	select {
	case err := <-b.result:
		b.result <- err
		if err == nil || !strings.Contains(err.Error(), "not ready after 300ms: table temp: everything; the servers' logs are in "+dir) {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the time to become ready isn't bounded")
	}
}

func TestNotReadyWithoutServers(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	k := &fakeCluster{absent: "no meta leads"}
	b := startBox(t, dir, port, k, func(o *Options) { o.Tables, o.ReadyTimeout = nil, 300*time.Millisecond })
	select {
	case err := <-b.result:
		b.result <- err
		if err == nil || !strings.Contains(err.Error(), "not ready after 300ms: servers: no meta leads") {
			t.Errorf("got %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a cluster without tables counts as ready before a meta leads")
	}
}

// Tables that nobody asked for are made in a new directory only, and none where the metas'
// data is lost.
func TestTablesOfNewDirectories(t *testing.T) {
	for _, tc := range []struct {
		name     string
		data     []string // files of before
		asked    bool
		made     int
		complain bool
	}{
		{"new", nil, false, 1, false},
		{"new, on a disk of its own", []string{"replica1/data/lost+found"}, false, 1, false},
		{"a first start that was cut short", []string{"tables.pending", "meta1/data/raft.db", "replica1/data/x"}, false, 1, false},
		{"old", []string{"meta1/data/raft.db", "replica1/data/x"}, false, 0, false},
		{"old, asked for", []string{"meta1/data/raft.db", "replica1/data/x"}, true, 1, false},
		{"lost", []string{"replica1/data/x"}, false, 0, true},
		{"lost, asked for", []string{"replica1/data/x"}, true, 0, true},
		{"lost in a first start", []string{"tables.pending", "replica1/data/x"}, false, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, port := t.TempDir(), freePort(t)
			for _, f := range tc.data {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			k := &fakeCluster{}
			b := startBox(t, dir, port, k, func(o *Options) { o.TablesOfNew = !tc.asked })
			b.out.await(t, "ready")
			k.mu.Lock()
			defer k.mu.Unlock()
			if len(k.ensured) != tc.made {
				t.Errorf("%d tables are made", len(k.ensured))
			}
			if got := strings.Contains(b.err.String(), "pegasus recover"); got != tc.complain {
				t.Errorf("it says: %s", b.err.String())
			}
			if _, err := os.Stat(filepath.Join(dir, pendingFile)); tc.made > 0 && err == nil {
				t.Error("the directory still counts as new")
			}
		})
	}
}

func TestDeafServerIsKilled(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	if err := os.MkdirAll(filepath.Join(dir, "replica2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "replica2", "deaf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	b := startBox(t, dir, port, &fakeCluster{}, func(o *Options) { o.StopTimeout = 300 * time.Millisecond })
	b.out.await(t, "ready")
	awaitFile(t, filepath.Join(dir, "replica2", "log"), "serving")
	pid := pidOf(t, dir, "replica2")
	if err := b.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
	awaitGone(t, pid)
	if !strings.Contains(b.err.String(), fmt.Sprintf("replica2 (process %d) was killed because it didn't end within 300ms of SIGTERM", pid)) {
		t.Errorf("said %q", b.err)
	}
}

// However the supervisor ends, no server is left, and the directory can be used at once.
func TestKilledSupervisor(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sup := exec.Command(self)
	sup.Env = append(os.Environ(), "ONEBOX_TEST_ROLE=supervisor", "ONEBOX_TEST_DIR="+dir, "ONEBOX_TEST_PORT="+strconv.Itoa(port))
	out := newBuffer()
	sup.Stdout, sup.Stderr = out, os.Stderr
	if err := sup.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "ready")
	err = Run(context.Background(), testOptions(dir, port, &fakeCluster{}, io.Discard, io.Discard))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another onebox (process %d) runs on %s", sup.Process.Pid, dir)) {
		t.Errorf("a second one on the same directory: %v", err)
	}
	var pids []int
	for _, name := range allNames {
		pids = append(pids, pidOf(t, dir, name))
	}
	sup.Process.Kill()
	sup.Wait()
	for _, pid := range pids {
		awaitGone(t, pid)
	}
	// The pid files are stale now.
	b := startBox(t, dir, port, &fakeCluster{}, nil)
	b.out.await(t, "ready")
	if err := b.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port+201))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tc := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"port in use", func(*Options) {}, fmt.Sprintf("address 127.0.0.1:%d of replica2 is in use by another process: stop it", port+201)},
		{"no metas", func(o *Options) { o.Metas = 0 }, "--metas 0: give 1 to 9"},
		{"too many servers", func(o *Options) { o.Replicas = 1000 }, "--replicas 1000: give 1 to 100"},
		{"high port", func(o *Options) { o.Port = 65500 }, "--port 65500: give a port"},
		{"more replicas than servers", func(o *Options) { o.Tables[0].Replicas = 3 }, "table temp needs 3 replicas, but there are only 2 servers: give --replicas 3"},
		{"other metas", func(o *Options) { o.Metas = 1 }, fmt.Sprintf("was created with --port %d --metas 2", port)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := testOptions(dir, port, &fakeCluster{}, io.Discard, io.Discard)
			o.PortsPatience = time.Millisecond
			tc.change(&o)
			err := Run(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestStalePidFile(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	// A process that has nothing to do with us bears the number in the pid file.
	if err := os.MkdirAll(filepath.Join(dir, "meta1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "meta1", "pid"), []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		t.Fatal(err)
	}
	b := startBox(t, dir, port, &fakeCluster{}, nil)
	b.out.await(t, "ready")
	if pidOf(t, dir, "meta1") == os.Getpid() {
		t.Error("the pid file wasn't replaced")
	}
	if err := b.end(t); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func awaitFile(t *testing.T, path, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		data, _ := os.ReadFile(path)
		if strings.Contains(string(data), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %q didn't come; it has %q", path, want, data)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestParseTables(t *testing.T) {
	got, err := ParseTables("temp:8, stat:4:2,")
	if err != nil || len(got) != 2 || got[0] != (TableSpec{"temp", 8, 0}) || got[1] != (TableSpec{"stat", 4, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"temp", ":8", "temp:x", "temp:0", "temp:8:y", "temp:8:3:1"} {
		if _, err := ParseTables(bad); err == nil || !strings.Contains(err.Error(), "write NAME:PARTITIONS") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got, err := ParseTables(""); err != nil || got != nil {
		t.Errorf("empty: %v, %v", got, err)
	}
}

func TestShellQuote(t *testing.T) {
	if got := shellQuote([]string{"/a/b", "it's", "", "x=1"}); got != `/a/b 'it'\''s' '' x=1` {
		t.Errorf("got %s", got)
	}
}
