// Package zookeepertest starts a ZooKeeper server for tests. server/pom.xml pins what it is made of.
package zookeepertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pegasus/blob/blobtest"
	"pegasus/internal/repo"
)

const patience = time.Minute

// Start starts a server until the test ends, and returns its address. Where Java or the server is missing the test is left out, or
// fails with CI=true.
func Start(t *testing.T) string {
	t.Helper()
	root, err := repo.Root()
	if err != nil {
		t.Fatal(err)
	}
	jars := filepath.Join(root, "bin", "testtools", "zookeeper")
	if list, err := filepath.Glob(filepath.Join(jars, "zookeeper-[0-9]*.jar")); err != nil || len(list) == 0 {
		blobtest.Lacking(t, "no ZooKeeper in bin/testtools/zookeeper: run make testtools (it needs Maven)")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		blobtest.Lacking(t, "no Java to run ZooKeeper with")
	}
	// Another process may take the port before the server does: then the next one is tried.
	for range 5 {
		if addr := start(t, java, jars); addr != "" {
			return addr
		}
	}
	t.Fatal("no port was free for ZooKeeper")
	return ""
}

func start(t *testing.T, java, jars string) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "zoo.cfg")
	text := fmt.Sprintf("tickTime=500\ndataDir=%s\nclientPortAddress=127.0.0.1\nclientPort=%d\nadmin.enableServer=false\n", dir, addr.Port)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true",
		"-cp", filepath.Join(jars, "*"), "org.apache.zookeeper.server.ZooKeeperServerMain", conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for end := time.Now().Add(patience); time.Now().Before(end); {
		select {
		case <-ended:
			return ""
		case <-time.After(50 * time.Millisecond):
		}
		if serves(addr.String()) {
			return addr.String()
		}
	}
	out, _ := os.ReadFile(log.Name())
	t.Fatalf("ZooKeeper doesn't listen after %v: %s", patience, out)
	return ""
}

// serves asks the server for its state. One that listens and doesn't serve yet may lose the request for a session, whose sender
// then waits for more than a minute.
func serves(addr string) bool {
	c, err := net.DialTimeout("tcp4", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "srvr"); err != nil {
		return false
	}
	b, err := io.ReadAll(c)
	return err == nil && strings.Contains(string(b), "Mode: standalone")
}
