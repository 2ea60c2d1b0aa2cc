package replica

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pegasus/base/config"
)

// childLimit tells a process of this test that it is the one with few descriptors.
const childLimit = "PEGASUS_TEST_DESCRIPTORS"

// TestFewDescriptors: a server in a process with few descriptors is given more idle connections
// than it has descriptors. Its replicas are in service meanwhile, flushes and all, and nothing is
// moved aside.
func TestFewDescriptors(t *testing.T) {
	if os.Getenv(childLimit) != "" {
		fewDescriptors(t)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFewDescriptors$", "-test.v")
	child.Env = append(os.Environ(), childLimit+"=1")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var all []string
	for lines.Scan() {
		line := lines.Text()
		all = append(all, line)
		addr, ok := strings.CutPrefix(line, "listening ")
		if !ok {
			continue
		}
		for range 600 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				break // the queue of those not accepted is full
			}
			defer c.Close()
		}
		fmt.Fprintln(in, "go on")
	}
	if err := child.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, strings.Join(all, "\n"))
	}
}

func fewDescriptors(t *testing.T) {
	const limit = 500
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.MinReplicas, c.Storage.MemtableBytes = 1, 256<<10 })
	g.mustPut(0, "before", "v")
	fmt.Printf("\nlistening %v\n", g.nodes[0].srv.Addr())
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("v", 100<<10)
	for i := range 50 {
		g.mustPut(0, fmt.Sprint("k", i), value)
	}
	for i := range g.nodes {
		if v := g.view(i); v.failed != nil {
			t.Errorf("node %d: %v", i, v.failed)
		}
		r := g.nodes[i].srv.replica(g.gpid)
		if err := r.store.Load().Flush(t.Context()); err != nil {
			t.Errorf("node %d: flush: %v", i, err)
		}
		aside, err := filepath.Glob(filepath.Join(g.nodes[i].srv.disks.All()[0].Path, "reps", "*.err*"))
		if err != nil || len(aside) > 0 {
			t.Errorf("node %d: moved aside: %v, %v", i, aside, err)
		}
	}
	g.wantGet(0, "before", "v")
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur != limit {
		t.Errorf("the limit is %d, %v", r.Cur, err)
	}
	c, err := net.Dial("tcp", g.nodes[1].srv.Addr().String())
	if err != nil {
		t.Errorf("no descriptor is left: %v", err)
		return
	}
	c.Close()
}
