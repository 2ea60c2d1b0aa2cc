package compat

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/compat_test/cluster"
)

// forward leads connections to l on to addr until l is closed, as what stands before a container does.
func forward(t *testing.T, l net.Listener, addr string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp4", addr)
			if err != nil {
				c.Close()
				continue
			}
			mu.Lock()
			open[c], open[to] = true, true
			mu.Unlock()
			for _, p := range [][2]net.Conn{{c, to}, {to, c}} {
				wg.Go(func() {
					io.Copy(p[0], p[1])
					p[0].Close()
					p[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// Servers that listen on addresses that nobody else knows work by those that they advertise, a name among them: the metas,
// replica servers and clients meet there.
func TestAdvertise(t *testing.T) {
	t.Parallel()
	bin := cluster.Binary(t)
	dir := t.TempDir()
	// The outside listens first, on the addresses that are known. The port inside is the same on another address.
	outside := func() (known, inside string) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		inside = fmt.Sprintf("127.0.0.2:%d", port)
		forward(t, l, inside)
		return fmt.Sprintf("localhost:%d", port), inside
	}
	start := func(role, known, inside string, args ...string) {
		log, err := os.Create(filepath.Join(dir, strings.ReplaceAll(inside, ":", "-")+".log"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { log.Close() })
		c := exec.Command(bin, append([]string{role, "--listen", inside, "--advertise", known}, args...)...)
		c.Stdout, c.Stderr = log, log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				b, _ := os.ReadFile(log.Name())
				t.Logf("%s:\n%s", log.Name(), b)
			}
			c.Process.Signal(syscall.SIGKILL)
			c.Wait()
		})
	}
	data := func(name string) string {
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		return d
	}
	meta, inside := outside()
	start("meta", meta, inside, "--meta-servers", meta, "--data-dir", data("meta"))
	var replicas []string
	for i := range 2 {
		known, inside := outside()
		replicas = append(replicas, strings.Replace(known, "localhost", "127.0.0.1", 1))
		start("replica", known, inside, "--meta-servers", meta, "--data-dirs", data(fmt.Sprint("replica", i)))
	}
	cli := func(args ...string) (string, error) {
		b, err := exec.CommandContext(runContext(t, time.Minute), bin, append(args, "--meta", meta)...).CombinedOutput()
		return string(b), err
	}
	if err := cluster.Poll(2*time.Minute, func() error {
		out, err := cli("table", "create", "shop", "-p", "4", "-r", "2")
		if err != nil && !strings.Contains(out, "exists") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"OK", "set", "shop", "user1", "name", "Alice"}, {"Alice", "get", "shop", "user1", "name"}, {replicas[0], "nodes"}, {replicas[1], "nodes"}, {meta, "meta", "status"}} {
		if err := cluster.Poll(time.Minute, func() error {
			out, err := cli(c[1:]...)
			if err == nil && (!strings.Contains(out, c[0]) || strings.Contains(out, "127.0.0.2")) {
				err = fmt.Errorf("%v: %s, want %q, and no address of the inside", c[1:], out, c[0])
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}
