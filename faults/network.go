package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// clientHost is the host that this process is on.
const clientHost = "client"

// errNoNamespaces is why links can't be cut.
var errNoNamespaces = errors.New("servers share one address: links can't be cut without network namespaces")

// network is the machine's part in the game: hosts, and links between each two of them.
//
// With namespaces each host is a network namespace with an address of its own, joined to
// one bridge. Addresses of the link layer are fixed, so a direction of a link is cut by
// giving the sender a wrong one: its packets vanish without a word, as on a broken network.
// Without namespaces hosts are ports of 127.0.0.1.
type network struct {
	namespaces bool
	hosts      map[string]*netHost

	mu  sync.Mutex
	cut map[link]bool
}

type link struct{ from, to string }

type netHost struct {
	name, ip, mac, dev string
	work               chan func() // run on a thread in the host's namespace
}

func newNetwork(namespaces bool) (*network, error) {
	n := &network{namespaces: namespaces, hosts: map[string]*netHost{}, cut: map[link]bool{}}
	hub := &netHost{name: clientHost, ip: "127.0.0.1", work: make(chan func())}
	if namespaces {
		hub.ip, hub.mac, hub.dev = "10.77.0.1", "02:00:0a:4d:00:01", "br0"
	}
	go hub.serve(make(chan error, 1), false)
	n.hosts[clientHost] = hub
	if !namespaces {
		return n, nil
	}
	return n, hub.iproute("link set lo up", "link add br0 type bridge", "link set br0 address "+hub.mac, "addr add "+hub.ip+"/24 dev br0", "link set br0 up")
}

// addHost makes a host and returns its address.
func (n *network) addHost(name string) (ip string, err error) {
	hub := n.hosts[clientHost]
	num := len(n.hosts) + 10
	h := &netHost{name: name, ip: "127.0.0.1", work: make(chan func())}
	if !n.namespaces {
		go h.serve(make(chan error, 1), false)
		n.hosts[name] = h
		return h.ip, nil
	}
	h.ip, h.mac, h.dev = "10.77.0."+strconv.Itoa(num), fmt.Sprintf("02:00:0a:4d:00:%02x", num), "eth0"
	made := make(chan error)
	go h.serve(made, true)
	if err := <-made; err != nil {
		return "", fmt.Errorf("network namespace of %s: %w", name, err)
	}
	tid := 0
	h.do(func() { tid = unix.Gettid() })
	veth := "v" + strconv.Itoa(num)
	if err := hub.iproute(fmt.Sprintf("link add %s type veth peer name eth0 netns %d", veth, tid), fmt.Sprintf("link set %s master br0 up", veth)); err != nil {
		return "", err
	}
	if err := h.iproute("link set lo up", "link set eth0 address "+h.mac, "addr add "+h.ip+"/24 dev eth0", "link set eth0 up"); err != nil {
		return "", err
	}
	for _, o := range n.hosts {
		if err := errors.Join(o.neighbour(h, h.mac), h.neighbour(o, o.mac)); err != nil {
			return "", err
		}
	}
	n.hosts[name] = h
	return h.ip, nil
}

// serve runs what comes on one thread, whose children die with it, and it lives as long as
// the process.
func (h *netHost) serve(made chan<- error, namespace bool) {
	runtime.LockOSThread()
	if namespace {
		err := unix.Unshare(unix.CLONE_NEWNET)
		made <- err
		if err != nil {
			return
		}
	}
	for f := range h.work {
		f()
	}
}

func (h *netHost) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

// iproute runs commands of ip(8) on the host.
func (h *netHost) iproute(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.run(cmd); err != nil {
		return fmt.Errorf("ip on %s: %q: %w: %s", h.name, lines, err, out.String())
	}
	return nil
}

func (h *netHost) run(cmd *exec.Cmd) error {
	if err := h.start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

func (h *netHost) start(cmd *exec.Cmd) (err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h.do(func() { err = cmd.Start() })
	return err
}

const nowhere = "02:de:ad:00:00:01"

func (h *netHost) neighbour(o *netHost, mac string) error {
	return h.iproute(fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", o.ip, mac, h.dev))
}

// start starts a process on a host. Its parent-death signal is SIGKILL.
func (n *network) start(host string, cmd *exec.Cmd) error { return n.hosts[host].start(cmd) }

// Cut drops all packets from one host to another, in this direction only.
func (n *network) Cut(from, to string) error { return n.set(link{from, to}, true) }

// Heal undoes Cut.
func (n *network) Heal(from, to string) error { return n.set(link{from, to}, false) }

func (n *network) set(l link, cut bool) error {
	if !n.namespaces {
		return errNoNamespaces
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[l] == cut {
		return nil
	}
	from, to := n.hosts[l.from], n.hosts[l.to]
	mac := to.mac
	if cut {
		mac = nowhere
	}
	if err := from.neighbour(to, mac); err != nil {
		return err
	}
	n.cut[l] = cut
	return nil
}

// HealAll heals every link.
func (n *network) HealAll() error {
	n.mu.Lock()
	var ls []link
	for l, cut := range n.cut {
		if cut {
			ls = append(ls, l)
		}
	}
	n.mu.Unlock()
	var err error
	for _, l := range ls {
		err = errors.Join(err, n.set(l, false))
	}
	return err
}

// freePorts returns ports of 127.0.0.1 that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ls []net.Listener
	defer func() {
		for _, l := range ls {
			l.Close()
		}
	}()
	var ports []int
	for range n {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		ls = append(ls, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tempDir makes a directory for a run. The path must be short enough for what goes below.
func tempDir(parent string) (string, error) {
	if parent != "" {
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(parent, "pegasus-faults-")
}
