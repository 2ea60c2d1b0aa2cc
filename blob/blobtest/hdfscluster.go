package blobtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// HDFSCluster is a running HDFS cluster: two name nodes, the second of which is active at first, and one
// data node. /open can be written by everybody, /closed by nobody else than the cluster's user, and
// /small has room for 12 MiB. Blocks have 8 MiB.
type HDFSCluster struct {
	NameNodes []string // host:port

	t     *testing.T
	mu    sync.Mutex
	in    io.Writer
	lines <-chan string
	log   string
}

const hdfsPatience = 3 * time.Minute

// StartHDFS starts a cluster until the test ends. Each setting is KEY=VALUE; krb5Conf is for Java, or "".
func StartHDFS(t *testing.T, krb5Conf string, settings ...string) *HDFSCluster {
	t.Helper()
	jars := filepath.Join(root(t), "bin", "testtools", "hadoop")
	if list, err := filepath.Glob(filepath.Join(jars, "hadoop-client-minicluster-*.jar")); err != nil || len(list) == 0 {
		Lacking(t, "no HDFS cluster in bin/testtools/hadoop: run make testtools (it needs Maven)")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		Lacking(t, "no Java to run an HDFS cluster with: install a JDK, version 11 or newer")
	}
	dir := t.TempDir()
	c := &HDFSCluster{t: t, log: filepath.Join(dir, "log")}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true"}
	if krb5Conf != "" {
		args = append(args, "-Djava.security.krb5.conf="+krb5Conf)
	}
	args = append(args, "-cp", filepath.Join(jars, "*"), filepath.Join(root(t), "blob", "blobtest", "hdfscluster", "HdfsCluster.java"), filepath.Join(dir, "data"))
	args = append(args, settings...)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), java, args...)
	cmd.Dir = dir
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	c.in, c.lines = in, lines
	read := make(chan bool)
	go func() {
		defer close(read)
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-read
		cmd.Wait()
	})
	var a, b int
	if _, err := fmt.Sscanf(c.answer("ready"), "ready %d %d", &a, &b); err != nil {
		t.Fatal(err)
	}
	c.NameNodes = []string{fmt.Sprintf("127.0.0.1:%d", a), fmt.Sprintf("127.0.0.1:%d", b)}
	return c
}

// Command has the cluster do something: "damage PATH", "failover", "safemode on" or "off".
func (c *HDFSCluster) Command(line string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
	c.answer("done")
}

// answer waits for a line that begins so.
func (c *HDFSCluster) answer(begin string) string {
	c.t.Helper()
	late := time.After(hdfsPatience)
	for {
		select {
		case l, ok := <-c.lines:
			if !ok {
				b, _ := os.ReadFile(c.log)
				c.t.Fatalf("the HDFS cluster ended:\n%s", b)
			}
			if strings.HasPrefix(l, begin) {
				return l
			}
		case <-late:
			b, _ := os.ReadFile(c.log)
			c.t.Fatalf("the HDFS cluster doesn't say %q:\n%s", begin, b)
		}
	}
}
