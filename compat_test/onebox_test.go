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

// TestStartPage runs docs/start.md with the program alone: a cluster, a table, a row, in less than 10 s. A busy machine has three tries.
func TestStartPage(t *testing.T) {
	bin := cluster.Binary(t)
	examples, _ := snippets(t, "docs/start.md")
	try := func() time.Duration {
		dir, port := t.TempDir(), cluster.FreePort(t, 1, 3)
		meta := "127.0.0.1:" + strconv.Itoa(port)
		began := time.Now()
		var onebox *exec.Cmd
		for _, e := range examples {
			if e.inline {
				continue
			}
			args := strings.Fields(e.text)[1:]
			if args[0] != "onebox" {
				if out, err := exec.CommandContext(runContext(t, time.Minute), bin, append(args, "--meta", meta)...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %s: %v: %s", e.where, e.text, err, out)
				}
				continue
			}
			onebox = exec.CommandContext(runContext(t, 5*time.Minute), bin, "onebox", "--dir", dir, "--port", strconv.Itoa(port))
			if want := "pegasus onebox --dir /tmp/onebox"; e.text != want {
				t.Fatalf("%s: %s, and not %s", e.where, e.text, want)
			}
			out, err := onebox.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := onebox.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready meta="+meta+"\n" {
				t.Fatalf("%q, %v", line, err)
			}
		}
		took := time.Since(began)
		if onebox == nil {
			t.Fatal("docs/start.md starts nothing")
		}
		_ = onebox.Process.Signal(syscall.SIGTERM)
		if err := onebox.Wait(); err != nil {
			t.Error(err)
		}
		return took
	}
	var all []time.Duration
	for range 3 {
		took := try()
		t.Logf("%.1f s", took.Seconds())
		if all = append(all, took); took < 10*time.Second {
			return
		}
	}
	t.Errorf("docs/start.md took %v, and never less than 10 s", all)
}
