package compat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pegasus/client"
	"pegasus/compat_test/cluster"
)

// world is a network of hosts that are network namespaces on one bridge, whose names stand in one file
// that all of them have as /etc/hosts.
type world struct {
	t     *testing.T
	dir   string
	bin   string
	hub   string // where clients run, and the bridge is
	names map[string]string
	hosts map[string]string // by address, the namespace
	procs map[string]*exec.Cmd
	next  int
}

const (
	worldNet4 = "10.99.0."
	worldNet6 = "fd99::"
	worldHub  = "1"
)

func newWorld(t *testing.T) *world {
	if os.Getuid() != 0 {
		lacking(t, "it takes root to make network namespaces with names")
	}
	w := &world{t: t, dir: t.TempDir(), bin: cluster.Binary(t), names: map[string]string{}, hosts: map[string]string{}, procs: map[string]*exec.Cmd{}, next: 10}
	w.hub = w.namespace()
	w.ip("-n", w.hub, "link", "add", "br0", "type", "bridge")
	w.ip("-n", w.hub, "addr", "add", worldNet4+worldHub+"/24", "dev", "br0")
	w.ip("-n", w.hub, "-6", "addr", "add", worldNet6+worldHub+"/64", "dev", "br0", "nodad")
	w.ip("-n", w.hub, "link", "set", "br0", "up")
	w.resolve(nil)
	return w
}

func (w *world) ip(args ...string) {
	w.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %q: %v: %s", args, err, out)
	}
}

// namespace makes a network namespace whose processes read the world's names.
func (w *world) namespace() string {
	w.t.Helper()
	w.next++
	name := fmt.Sprintf("pegasus-%d-%d", os.Getpid(), w.next)
	w.ip("netns", "add", name)
	etc := filepath.Join("/etc/netns", name)
	w.t.Cleanup(func() {
		os.RemoveAll(etc)
		os.Remove("/etc/netns") // if it is empty
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			w.t.Errorf("%v: %s", err, out)
		}
	})
	if err := errors.Join(os.MkdirAll(etc, 0o755), os.Symlink(filepath.Join(w.dir, "hosts"), filepath.Join(etc, "hosts")),
		os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644)); err != nil {
		w.t.Fatal(err)
	}
	w.ip("-n", name, "link", "set", "lo", "up")
	return name
}

// host makes a host on the bridge, and returns its number in the networks.
func (w *world) host() string {
	w.t.Helper()
	ns := w.namespace()
	n := strconv.Itoa(w.next)
	w.ip("-n", w.hub, "link", "add", "v"+n, "type", "veth", "peer", "name", "eth0", "netns", ns)
	w.ip("-n", w.hub, "link", "set", "v"+n, "master", "br0", "up")
	w.ip("-n", ns, "addr", "add", worldNet4+n+"/24", "dev", "eth0")
	w.ip("-n", ns, "-6", "addr", "add", worldNet6+n+"/64", "dev", "eth0", "nodad")
	w.ip("-n", ns, "link", "set", "eth0", "up")
	w.hosts[n] = ns
	return n
}

// resolve has names lead to numbers of hosts.
func (w *world) resolve(names map[string]string) {
	w.t.Helper()
	lines := "127.0.0.1 localhost\n"
	for name, n := range names {
		w.names[name] = n
	}
	for name, n := range w.names {
		lines += worldNet4 + n + " " + name + "\n"
	}
	// In place: it is mounted.
	if err := os.WriteFile(filepath.Join(w.dir, "hosts"), []byte(lines), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// in is a command on a host.
func (w *world) in(ctx context.Context, ns string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, args...)...)
	c.Env = os.Environ()
	return c
}

// start starts the server of that name where its name leads to.
func (w *world) start(name, ns string, args ...string) {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer log.Close()
	c := w.in(context.Background(), ns, append([]string{w.bin}, args...)...)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.procs[name] = c
}

// stop ends the server of that name.
func (w *world) stop(name string, sig syscall.Signal) {
	if c := w.procs[name]; c != nil {
		c.Process.Signal(sig)
		c.Wait()
		delete(w.procs, name)
	}
}

// end kills what runs, and shows the logs of a failure.
func (w *world) end() {
	for name := range w.procs {
		w.stop(name, syscall.SIGKILL)
	}
	if !w.t.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	for _, l := range logs {
		b, _ := os.ReadFile(l)
		w.t.Logf("%s:\n%s", filepath.Base(l), tail(b, 6000))
	}
}

func (w *world) meta(name string) {
	dir := filepath.Join(w.dir, name)
	os.Mkdir(dir, 0o755)
	w.start(name, w.hosts[w.names[name]], "meta", "--listen", "[::]:34601", "--advertise", name+":34601", "--meta-servers", worldMetas, "--data-dir", dir)
}

func (w *world) replica(name, ns string) {
	dir := filepath.Join(w.dir, name)
	os.Mkdir(dir, 0o755)
	w.start(name, ns, "replica", "--listen", "0.0.0.0:34801", "--advertise", name+":34801", "--meta-servers", worldMetas, "--data-dirs", dir)
}

const worldMetas = "m1:34601,m2:34601,m3:34601"

// cli runs our command beside the clients.
func (w *world) cli(args ...string) (string, error) {
	b, err := w.in(runContext(w.t, time.Minute), w.hub, append([]string{w.bin}, args...)...).CombinedOutput()
	return string(b), err
}

// until waits for a command's output.
func (w *world) until(what string, ok func(out string) bool, args ...string) {
	w.t.Helper()
	began := time.Now()
	if err := cluster.Poll(2*time.Minute, func() error {
		out, err := w.cli(args...)
		if err != nil || !ok(out) {
			return fmt.Errorf("%s: %q: %v: %s", what, args, err, out)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("%s: %.1f s", what, time.Since(began).Seconds())
}

// whole waits until these replica servers are known, where their names lead, no others, and each partition has all its members.
func (w *world) whole(what string, names ...string) {
	w.t.Helper()
	w.until(what+": the servers are there", func(out string) bool {
		for _, n := range names {
			if !regexp.MustCompile(regexp.QuoteMeta(worldNet4+w.names[n]+":34801") + `\s.*\balive\b`).MatchString(strings.ToLower(out)) {
				return false
			}
		}
		return strings.Count(out, ":34801") == len(names)
	}, "nodes", "--meta", worldMetas)
	w.until(what+": all partitions are whole", func(out string) bool { return strings.Contains(out, "8 healthy") }, "table", "show", "temp", "--meta", worldMetas)
}

// forwarderEnv says what the process listens on, and where it leads connections to.
const forwarderEnv = "PEGASUS_FORWARD"

// TestForwarder is the process that stands before a server behind NAT: TestAddresses runs it.
func TestForwarder(t *testing.T) {
	from, to, ok := strings.Cut(os.Getenv(forwarderEnv), ">")
	if !ok {
		t.Skip("TestAddresses runs this")
	}
	l, err := net.Listen("tcp4", from)
	if err != nil {
		t.Fatal(err)
	}
	forward(t, l, to)
	io.Copy(io.Discard, os.Stdin) // until who started it closes that
}

// writerEnv names the file at which clients stop to write.
const writerEnv = "PEGASUS_WRITE_UNTIL"

// TestAddressesWriter is our client that writes while servers move: TestAddresses runs it.
func TestAddressesWriter(t *testing.T) {
	stop := os.Getenv(writerEnv)
	if stop == "" {
		t.Skip("TestAddresses runs this")
	}
	c := client.New(strings.Split(worldMetas, ","), client.Options{})
	defer c.Close()
	tb, err := c.Table(t.Context(), "temp")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acked := map[string]bool{}
	last, gap := time.Now(), time.Duration(0)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				if _, err := os.Stat(stop); err == nil {
					return
				}
				key := fmt.Sprintf("ours-%d-%d", g, i)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				err := tb.Set(ctx, []byte(key), []byte("s"), []byte(key), 0)
				cancel()
				if err != nil {
					continue
				}
				mu.Lock()
				acked[key] = true
				gap, last = max(gap, time.Since(last)), time.Now()
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // a load, not a flood
			}
		})
	}
	wg.Wait()
	for key := range acked {
		v, _, err := tb.Get(t.Context(), []byte(key), []byte("s"))
		if err != nil || string(v) != key {
			t.Errorf("%s was acknowledged, and is %q: %v", key, v, err)
		}
	}
	t.Logf("%d writes were acknowledged, no one for at most %.1f s", len(acked), gap.Seconds())
	if len(acked) < 100 || gap > 40*time.Second {
		t.Errorf("%d writes were acknowledged, with a gap of %v", len(acked), gap)
	}
}

// TestAddresses: servers that listen on all addresses, behind NAT, on IPv6, and whose names move to other addresses
// while our client and the published Go client write. No acknowledged write is lost.
func TestAddresses(t *testing.T) {
	goBin := filepath.Join(t.TempDir(), "walk.test")
	if out, err := goTool(t, goModule(t), "test", "-c", "-o", goBin, "."); err != nil {
		t.Fatalf("compile the published client's test: %v\n%s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	t.Cleanup(w.end)
	w.resolve(map[string]string{"m1": w.host(), "m2": w.host(), "m3": w.host(), "r1": w.host(), "r2": w.host(), "r3": w.host()})
	// r3 is a router, and the server behind it has an address that nobody else knows.
	router, behind := w.hosts[w.names["r3"]], w.namespace()
	w.ip("-n", router, "link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", behind)
	w.ip("-n", router, "addr", "add", "10.98.0.1/24", "dev", "in0")
	w.ip("-n", router, "link", "set", "in0", "up")
	w.ip("-n", behind, "addr", "add", "10.98.0.2/24", "dev", "eth0")
	w.ip("-n", behind, "link", "set", "eth0", "up")
	w.ip("-n", behind, "route", "add", "default", "via", "10.98.0.1")
	w.in(t.Context(), router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1").Run()
	route := func(ns string) { w.ip("-n", ns, "route", "replace", "10.98.0.0/24", "via", worldNet4+w.names["r3"]) }
	for _, ns := range w.hosts {
		if ns != router {
			route(ns)
		}
	}
	fwd := w.in(t.Context(), router, self, "-test.run=^TestForwarder$")
	fwd.Env = append(fwd.Env, forwarderEnv+"="+worldNet4+w.names["r3"]+":34801>10.98.0.2:34801")
	in, err := fwd.StdinPipe()
	if err == nil {
		err = fwd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); fwd.Wait() })

	for _, m := range []string{"m1", "m2", "m3"} {
		w.meta(m)
	}
	w.replica("r1", w.hosts[w.names["r1"]])
	w.replica("r2", w.hosts[w.names["r2"]])
	w.replica("r3", behind)
	w.until("the table is made", func(string) bool { return true }, "table", "create", "temp", "-p", "8", "-r", "3", "--meta", worldMetas)
	w.whole("at the beginning", "r1", "r2", "r3")

	stop := filepath.Join(w.dir, "stop")
	var writers []*exec.Cmd
	var said []*strings.Builder
	for _, c := range []*exec.Cmd{w.in(t.Context(), w.hub, self, "-test.run=^TestAddressesWriter$", "-test.v"), w.in(t.Context(), w.hub, goBin, "-test.run=^TestWriteWhileServersMove$", "-test.v")} {
		out := new(strings.Builder)
		c.Stdout, c.Stderr = out, out
		c.Env = append(c.Env, writerEnv+"="+stop, "PEGASUS_META="+worldMetas)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		writers, said = append(writers, c), append(said, out)
	}

	// A process dies, and runs elsewhere with its data: first while its old host lives, then with its host gone.
	move := func(name string, gone bool) {
		t.Helper()
		old := w.names[name]
		w.stop(name, syscall.SIGKILL)
		if gone {
			w.ip("-n", w.hosts[old], "link", "set", "eth0", "down")
		}
		w.resolve(map[string]string{name: w.host()})
		route(w.hosts[w.names[name]])
	}
	move("r1", false)
	w.replica("r1", w.hosts[w.names["r1"]])
	w.whole("r1 moved", "r1", "r2", "r3")
	move("r2", true)
	w.replica("r2", w.hosts[w.names["r2"]])
	w.whole("r2 moved from a host that is gone", "r1", "r2", "r3")

	for _, m := range []string{"m1", "m2", "m3"} {
		move(m, m == "m2")
		w.meta(m)
		w.until(m+" moved: three metas answer", func(out string) bool { return strings.Contains(out, "answering: 3") }, "meta", "status", "--meta", worldMetas)
	}
	w.whole("the metas moved", "r1", "r2", "r3")

	// The address of a machine changes while its server runs.
	w.next++
	n, ns := strconv.Itoa(w.next), w.hosts[w.names["r1"]]
	w.ip("-n", ns, "addr", "add", worldNet4+n+"/24", "dev", "eth0")
	w.hosts[n] = ns
	old := w.names["r1"]
	w.resolve(map[string]string{"r1": n})
	w.whole("the address of r1 changed", "r1", "r2", "r3")
	w.ip("-n", ns, "addr", "del", worldNet4+old+"/24", "dev", "eth0")
	w.ip("-n", ns, "addr", "replace", worldNet4+n+"/24", "dev", "eth0")
	route(ns)

	// All replica servers come back elsewhere, two of them with each other's address.
	for _, r := range []string{"r1", "r2", "r3"} {
		w.stop(r, syscall.SIGTERM)
	}
	w.resolve(map[string]string{"r1": w.names["r2"], "r2": w.names["r1"]})
	w.replica("r1", w.hosts[w.names["r1"]])
	w.replica("r2", w.hosts[w.names["r2"]])
	w.replica("r3", behind)
	w.whole("all moved at once", "r1", "r2", "r3")

	if err := os.WriteFile(stop, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i, c := range writers {
		if err := c.Wait(); err != nil {
			t.Errorf("%v:\n%s", err, tail([]byte(said[i].String()), 4000))
		}
		t.Log(tail([]byte(said[i].String()), 600))
	}

	// Over IPv6: our commands, and the pages.
	six := "[" + worldNet6 + w.names["m1"] + "]:34601"
	if out, err := w.cli("meta", "status", "--meta", six); err != nil || !strings.Contains(out, "answering: 3") {
		t.Errorf("meta status over IPv6: %v: %s", err, out)
	}
	if out, err := w.cli("get", "temp", "ours-0-0", "s", "--meta", six); err != nil || !strings.Contains(out, "ours-0-0") {
		t.Errorf("get with metas over IPv6: %v: %s", err, out)
	}
	page := w.in(runContext(t, time.Minute), w.hub, self, "-test.run=^TestAddressesPage$", "-test.v")
	page.Env = append(page.Env, "PEGASUS_PAGE=http://"+six+"/dashboard/")
	if out, err := page.CombinedOutput(); err != nil {
		t.Errorf("the dashboard over IPv6: %v: %s", err, out)
	}
}

// TestAddressesPage gets a page from inside a network: TestAddresses runs it.
func TestAddressesPage(t *testing.T) {
	url := os.Getenv("PEGASUS_PAGE")
	if url == "" {
		t.Skip("TestAddresses runs this")
	}
	c := http.Client{Timeout: 10 * time.Second}
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(b), "<html") {
		t.Fatalf("%s: %v: %s", r.Status, err, tail(b, 300))
	}
}
