package compat

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
	"pegasus/internal/repo"
)

const goClient = "github.com/apache/incubator-pegasus/go-client"

// goModule returns the directory of the module that needs the published Go client, its
// dependencies downloaded.
func goModule(t *testing.T) string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "compat_test", "goclient")
	if out, err := goTool(t, dir, "mod", "download"); err != nil {
		lacking(t, "the published Go client: go mod download in compat_test/goclient: %v\n%s", err, out)
	}
	return dir
}

// goTool runs the go command in dir. The checked-in go.sum is all it may believe.
func goTool(t *testing.T, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(runContext(t, 10*time.Minute), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	return cmd.CombinedOutput()
}

// TestGoClient walks through every operation of the published Go client; goclient/ has the
// walk, this starts the cluster and kills, restarts and moves as the walk asks.
func TestGoClient(t *testing.T) {
	dir := goModule(t)
	bin := filepath.Join(t.TempDir(), "walk.test")
	if out, err := goTool(t, dir, "test", "-c", "-o", bin, "."); err != nil {
		t.Fatalf("compile the walk-through: %v\n%s", err, out)
	}
	c := cluster.Start(t, cluster.Options{})
	// TestGoOpenDuringFailover, TestStoppedServer, TestGoClientThroughSplit and TestAddresses run those.
	goTestBinary(t, bin, []string{"-test.skip=^(TestOpenDuringFailover|TestStopped|TestSplit|TestWriteWhileServersMove)$"}, []string{
		"PEGASUS_META=" + strings.Join(c.Metas(), ","),
		"PEGASUS_REPLICA=" + strings.Join(c.Replicas(), ","),
		"PEGASUS_CONTROL=" + control(t, c),
	})
}

// ownTests are the published client's packages that have tests.
var ownTests = []string{"pegasus", "admin", "session", "rpc", "idl/base"}

// ownTestsDir names, in the process that has a network of its own, the directory with the
// compiled tests.
const ownTestsDir = "PEGASUS_GO_CLIENT_TESTS"

// TestGoClientOwnTests runs the published client's own test packages, as they are in the
// module cache, against three metas and three replica servers. The addresses are written in those
// tests, and any of their ports can be in use, if only as the near end of a connection: so the test
// runs itself again in a network of its own.
func TestGoClientOwnTests(t *testing.T) {
	if bins := os.Getenv(ownTestsDir); bins != "" {
		goClientOwnTests(t, bins)
		return
	}
	dir := goModule(t)
	bins := t.TempDir()
	for _, p := range ownTests {
		// -l: the tests replace methods in memory, which an inlined one can't be.
		out, err := goTool(t, dir, "test", "-gcflags=all=-l", "-c", "-o", bins+"/", goClient+"/"+p)
		if err != nil {
			t.Fatalf("compile %s: %v\n%s", p, err, out)
		}
	}
	alone := exec.CommandContext(runContext(t, 12*time.Minute), os.Args[0], "-test.v", "-test.count=1", "-test.timeout=11m", "-test.run=^TestGoClientOwnTests$")
	alone.Env = append(os.Environ(), ownTestsDir+"="+bins, "PEGASUS_BIN="+cluster.Binary(t))
	cluster.InOwnNetwork(alone)
	switch out, err := alone.CombinedOutput(); {
	case errors.Is(err, os.ErrPermission):
		t.Logf("no network of its own: %v", err)
		goClientOwnTests(t, bins)
	default:
		testResults(t, "in a network of its own", out, err)
	}
}

// goClientOwnTests runs the compiled tests in bins against a cluster at the addresses that they
// want.
func goClientOwnTests(t *testing.T, bins string) {
	dir := goModule(t)
	left := leftOut(t, filepath.Join(dir, "left_out.txt"))
	const meta, echoPort = 34601, 8800
	if err := cluster.Poll(2*time.Minute, func() error {
		if !cluster.Free(meta, 3) || !cluster.Free(meta+200, 3) || !cluster.Free(echoPort, 1) {
			return fmt.Errorf("they need the ports %d-%d, %d-%d and %d, which aren't free", meta, meta+2, meta+200, meta+202, echoPort)
		}
		return nil
	}); err != nil {
		lacking(t, "the Go client's own tests: %v", err)
	}
	echo(t, echoPort)
	// Some tests know the first meta alone, and this client has no way from a follower to the
	// leader but to ask the other metas that it knows. So the first one must lead, and stay
	// the leader on a machine that is busy.
	c := cluster.Start(t, cluster.Options{Port: meta, Metas: 3, Replicas: 3, Tables: "temp:8",
		Config: "[meta]\nraft_heartbeat = \"3s\"\n"})
	if err := c.Lead("meta1"); err != nil {
		t.Fatal(err)
	}
	for _, p := range ownTests {
		t.Run(p, func(t *testing.T) {
			t.Parallel() // most of them wait most of the time, and none disturbs another
			args := []string{"-test.timeout=4m"}
			if skip := left[p]; len(skip) > 0 {
				args = append(args, "-test.skip=^("+strings.Join(skip, "|")+")$")
				t.Logf("left out by name, goclient/left_out.txt says why: %s", strings.Join(skip, " "))
			}
			goTestBinary(t, filepath.Join(bins, filepath.Base(p)+".test"), args, nil)
		})
	}
}

// leftOut reads the tests not to run, by package.
func leftOut(t *testing.T, file string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string][]string{}
	for _, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			t.Fatalf("%s: %q gives no reason", file, line)
		}
		left[f[0]] = append(left[f[0]], f[1])
	}
	return left
}

// echo answers every connection to the port with what it sends: the client's tests of its
// connection type want such a server.
func echo(t *testing.T, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					if n > 0 {
						if _, err := c.Write(b[:n]); err != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}()
}

// saidByTest are the lines of our own tests, among the client's.
var saidByTest = regexp.MustCompile(`^ +[a-z_]+_test\.go:\d+: `)

var resultLine = regexp.MustCompile(`^( *)--- (PASS|FAIL|SKIP): (\S+)(.*)$`)

// goTestBinary runs a compiled test binary and makes each of its tests a subtest of t.
func goTestBinary(t *testing.T, bin string, args, env []string) {
	t.Helper()
	// Not -test.v=test2json: its marks would have to be taken off again.
	args = append([]string{"-test.v", "-test.count=1"}, args...)
	cmd := exec.CommandContext(runContext(t, 12*time.Minute), bin, args...)
	cmd.Dir = t.TempDir() // the client writes logs
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	testResults(t, filepath.Base(bin), out, err)
}

// testResults makes each test that the verbose output of a test binary tells of a subtest of t.
func testResults(t *testing.T, what string, out []byte, err error) {
	t.Helper()
	passed, failed := 0, 0
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		m := resultLine.FindStringSubmatch(s.Text())
		if m == nil {
			if saidByTest.MatchString(s.Text()) {
				t.Log(strings.TrimSpace(s.Text()))
			}
			continue
		}
		// A skipped test of somebody else's is news: it wasn't left out by name.
		ok := m[2] == "PASS"
		if ok {
			passed++
		} else {
			failed++
		}
		t.Run(m[3], func(t *testing.T) {
			t.Logf("%s%s", m[2], m[4])
			if !ok {
				t.Fail()
			}
		})
	}
	t.Logf("%d tests passed, %d failed", passed, failed)
	if err != nil || failed > 0 || passed == 0 {
		t.Errorf("%s: %v\n%s", what, err, failures(out))
	}
}

// failures returns of a verbose test output what says why it failed: without the client's own
// log lines, which are most of it.
func failures(out []byte) string {
	var sb strings.Builder
	for _, line := range strings.SplitAfter(string(out), "\n") {
		if len(line) > 20 && line[0] == '2' && line[4] == '/' || strings.HasPrefix(line, "=== ") || strings.Contains(line, "--- PASS") {
			continue
		}
		sb.WriteString(line)
	}
	return tail([]byte(sb.String()), 20000)
}
