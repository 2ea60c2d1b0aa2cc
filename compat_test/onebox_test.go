package compat

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// onReplica returns the address of a replica server of a onebox.
func onReplica(port, i int) string { return "127.0.0.1:" + strconv.Itoa(port+200+i) }

// TestOneboxCommand runs `pegasus onebox` as the README does: it says when it is ready, serves,
// and ends when it is asked to, with all of its servers. Meanwhile Prometheus scrapes it, see scraped.
func TestOneboxCommand(t *testing.T) {
	bin, dir := cluster.Binary(t), t.TempDir()
	port := cluster.FreePort(t, 1, 3)
	cmd := exec.CommandContext(runContext(t, 5*time.Minute), bin, "onebox", "--dir", dir, "--port", strconv.Itoa(port), "--tables", "temp:2")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	meta := "127.0.0.1:" + strconv.Itoa(port)
	if err != nil || line != "ready meta="+meta+"\n" {
		_ = cmd.Wait()
		t.Fatalf("%q, %v: %s", line, err, &said)
	}
	cli := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(runContext(t, time.Minute), bin, append(args, "--meta", meta)...).CombinedOutput()
		if err != nil {
			t.Fatalf("pegasus %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	cli("set", "temp", "h", "s", "v")
	if got := cli("get", "temp", "h", "s"); got != "v\n" {
		t.Errorf("get: %q", got)
	}
	scraped(t, []string{meta}, []string{onReplica(port, 0), onReplica(port, 1), onReplica(port, 2)})
	var pids []int
	for _, name := range []string{"meta1", "replica1", "replica2", "replica3"} {
		b, err := os.ReadFile(filepath.Join(dir, name, "pid"))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &said)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d outlived onebox", pid)
		}
	}
}
