package faults

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pegasus/base/config"
	"pegasus/base/pause"
	"pegasus/faults/hook"
	"pegasus/onebox"
)

// server is one process of the cluster, or its place while it is dead.
type server struct {
	*onebox.Server // meta1, replica2; its host has the same name

	mu     sync.Mutex
	excuse string // why it may die by itself, "" if it may not
	config string // file name of its configuration, "" for config.toml
	nofile int    // descriptors it may have when it is started, 0 for as many as we
}

func (s *server) data() string    { return s.File("data") }
func (s *server) logFile() string { return s.File("log") }
func (s *server) control() string { return s.File("faults.json") }

// cluster is the servers and their network.
type cluster struct {
	bin     string
	plant   string
	net     *network
	servers []*server
	// small are the replica servers whose disks are small enough to be filled.
	small []*server

	mu     sync.Mutex
	deaths []string // of servers that nobody killed
	say    func(format string, args ...any)
}

// smallDiskBytes is the size of a disk that can be filled.
const smallDiskBytes = 256 << 20

// newCluster lays out a cluster in o.Dir and starts nothing. The names of its servers begin
// with prefix, so that one network can have several clusters.
func newCluster(o Options, n *network, prefix string, base config.Config, say func(string, ...any)) (*cluster, error) {
	c := &cluster{bin: o.Bin, plant: o.Plant, net: n, say: say}
	var err error
	ports := slices.Repeat([]int{34601}, o.Metas)
	ports = append(ports, slices.Repeat([]int{34801}, o.Replicas)...)
	if !o.Namespaces {
		if ports, err = freePorts(o.Metas + o.Replicas); err != nil {
			return nil, err
		}
	}
	for i, port := range ports {
		s := &server{Server: &onebox.Server{Name: prefix + "meta" + strconv.Itoa(i+1), Role: "meta"}}
		if i >= o.Metas {
			s.Name, s.Role = prefix+"replica"+strconv.Itoa(i-o.Metas+1), "replica"
		}
		s.Dir = filepath.Join(o.Dir, s.Name)
		ip, err := c.net.addHost(s.Name)
		if err != nil {
			return nil, err
		}
		s.Addr = net.JoinHostPort(ip, strconv.Itoa(port))
		s.Argv = func() []string { return c.argv(s) }
		s.Env = []string{hook.Env + "=" + s.control(), "GOTRACEBACK=all", "PEGASUS_PLANT=" + c.plant}
		s.Spawn = func(cmd *exec.Cmd) error { return c.net.start(s.Name, cmd) }
		s.OnExit = func(e onebox.Exit) { c.ended(s, e) }
		if err := os.MkdirAll(s.data(), 0o755); err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	if o.SmallDisks > 0 {
		rs := c.of("replica")
		c.small = rs[max(0, len(rs)-o.SmallDisks):]
		err := privateMounts()
		for _, s := range c.small {
			err = errors.Join(err, smallDisk(s.data(), smallDiskBytes))
		}
		if err != nil {
			return nil, err
		}
	}
	return c, c.configure(base)
}

// configure writes the configuration of servers that don't run.
func (c *cluster) configure(base config.Config) error {
	for _, s := range c.servers {
		if err := s.WriteConfig(base, c.metaAddrs()); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) of(role string) []*server {
	var out []*server
	for _, s := range c.servers {
		if s.Role == role {
			out = append(out, s)
		}
	}
	return out
}

func (c *cluster) metaAddrs() []string {
	var out []string
	for _, s := range c.of("meta") {
		out = append(out, s.Addr)
	}
	return out
}

// at returns the server with that address, nil if there is none.
func (c *cluster) at(addr string) *server {
	for _, s := range c.servers {
		if s.Addr == addr {
			return s
		}
	}
	return nil
}

// argv is the command line of a server that is about to start.
func (c *cluster) argv(s *server) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	argv := []string{c.bin, s.Role, "--config", s.File(cmp.Or(s.config, "config.toml"))}
	if s.nofile > 0 {
		argv = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, s.nofile)}, argv...)
	}
	return argv
}

// ended notes the end of a process that nobody asked for.
func (c *cluster) ended(s *server, e onebox.Exit) {
	s.mu.Lock()
	excuse := s.excuse
	s.mu.Unlock()
	switch {
	case e.Asked:
	case excuse != "":
		c.say("%s ended (%v), which it may while %s; its log ends: %s", s.Name, e.State, excuse, tail(s.logFile(), 300))
	default:
		text := fmt.Sprintf("%s died by itself (%v); its log ends: %s", s.Name, e.State, tail(s.logFile(), 2000))
		c.mu.Lock()
		c.deaths = append(c.deaths, text)
		c.mu.Unlock()
		c.say("WRONG: %s", text)
	}
}

// processes returns the driver's view of servers.
func processes(ss []*server) (ps []*onebox.Server) {
	for _, s := range ss {
		ps = append(ps, s.Server)
	}
	return ps
}

// kill ends servers with SIGKILL and returns when they are gone. A dead one stays dead.
func kill(ss ...*server) { onebox.Kill(processes(ss)...) }

// terminate stops all servers in order, killing those that don't end in time.
func (c *cluster) terminate(patience time.Duration) (late []string) {
	var mu sync.Mutex
	onebox.StopAll(processes(c.servers), patience, func(s *onebox.Server, _ onebox.Exit, err error) {
		if errors.Is(err, onebox.ErrKilled) {
			mu.Lock()
			late = append(late, s.Name)
			mu.Unlock()
		}
	})
	return late
}

// pause halts a server that runs, resume has it go on.
func (s *server) pause()  { _ = s.Signal(syscall.SIGSTOP) }
func (s *server) resume() { _ = s.Signal(syscall.SIGCONT) }

// excused lets a server die by itself: one that is started while its disk is full or failing
// may say so and end. "" ends that.
func (s *server) excused(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.excuse = why
}

// hurt puts a server's control file in force.
func (c *cluster) hurt(s *server, ctl hook.Control) error { return hook.Write(s.control(), ctl) }

// heal undoes everything: links, pauses, control files, full disks, deaths.
func (c *cluster) heal() error {
	err := c.net.HealAll()
	for _, s := range c.servers {
		s.resume()
		if e := os.Remove(s.control()); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if e := os.Remove(balloon(s)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if !s.Running() {
			err = errors.Join(err, s.Start())
		}
	}
	return err
}

func (c *cluster) deathNotes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.deaths)
}

// poll calls f until it returns nil or ctx ends; then it returns f's last error.
func poll(ctx context.Context, f func() error) error {
	for wait := 10 * time.Millisecond; ; wait = min(wait*2, 250*time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if !pause.For(ctx, wait) {
			return err
		}
	}
}

// tail returns the end of a file, whole lines.
func tail(file string, most int64) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(0, st.Size()-most)
	b := make([]byte, st.Size()-from)
	n, _ := f.ReadAt(b, from)
	b = b[:n]
	if i := bytes.IndexByte(b, '\n'); from > 0 && i >= 0 {
		b = b[i+1:]
	}
	return strings.TrimSpace(string(b))
}
