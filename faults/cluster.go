package faults

import (
	"bytes"
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
	"pegasus/faults/hook"
)

// server is one process of the cluster, or its place while it is dead.
type server struct {
	name string // meta1, replica2; its host has the same name
	role string
	addr string
	dir  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	killing bool // its death is ours
	paused  bool
	excuse  string // why it may die by itself, "" if it may not
}

func (s *server) data() string    { return filepath.Join(s.dir, "data") }
func (s *server) logFile() string { return filepath.Join(s.dir, "log") }
func (s *server) control() string { return filepath.Join(s.dir, "faults.json") }

// cluster is the servers and their network.
type cluster struct {
	bin     string
	plant   string
	net     *network
	servers []*server
	// small is the replica server whose disk is small enough to be filled, nil if none is.
	small *server

	mu     sync.Mutex
	deaths []string // of servers that nobody killed
	say    func(format string, args ...any)
}

// smallDiskBytes is the size of the disk that can be filled.
const smallDiskBytes = 192 << 20

// newCluster lays out a cluster in o.Dir and starts nothing.
func newCluster(o Options, base config.Config, say func(string, ...any)) (*cluster, error) {
	c := &cluster{bin: o.Bin, plant: o.Plant, say: say}
	var err error
	if c.net, err = newNetwork(o.Namespaces); err != nil {
		return nil, err
	}
	ports := slices.Repeat([]int{34601}, o.Metas)
	ports = append(ports, slices.Repeat([]int{34801}, o.Replicas)...)
	if !o.Namespaces {
		if ports, err = freePorts(o.Metas + o.Replicas); err != nil {
			return nil, err
		}
	}
	for i, port := range ports {
		s := &server{name: "meta" + strconv.Itoa(i+1), role: "meta"}
		if i >= o.Metas {
			s.name, s.role = "replica"+strconv.Itoa(i-o.Metas+1), "replica"
		}
		s.dir = filepath.Join(o.Dir, s.name)
		ip, err := c.net.addHost(s.name)
		if err != nil {
			return nil, err
		}
		s.addr = net.JoinHostPort(ip, strconv.Itoa(port))
		if err := os.MkdirAll(s.data(), 0o755); err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	if o.SmallDisk {
		last := c.servers[len(c.servers)-1]
		if err := errors.Join(privateMounts(), smallDisk(last.data(), smallDiskBytes)); err != nil {
			return nil, err
		}
		c.small = last
	}
	base.Cluster.MetaServers = c.metaAddrs()
	for _, s := range c.servers {
		cfg := base
		if s.role == "meta" {
			cfg.Meta.Listen, cfg.Meta.DataDir = s.addr, s.data()
		} else {
			cfg.Replica.Listen, cfg.Replica.DataDirs = s.addr, []string{"data:" + s.data()}
		}
		if err := cfg.Validate(); err != nil {
			return nil, err
		}
		text, err := config.Marshal(cfg)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(s.dir, "config.toml"), text, 0o644); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) of(role string) []*server {
	var out []*server
	for _, s := range c.servers {
		if s.role == role {
			out = append(out, s)
		}
	}
	return out
}

func (c *cluster) metaAddrs() []string {
	var out []string
	for _, s := range c.of("meta") {
		out = append(out, s.addr)
	}
	return out
}

// at returns the server with that address, nil if there is none.
func (c *cluster) at(addr string) *server {
	for _, s := range c.servers {
		if s.addr == addr {
			return s
		}
	}
	return nil
}

// start starts a dead server and doesn't wait until it serves. One that runs stays as it is.
func (c *cluster) start(s *server) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(c.bin, s.role, "--config", filepath.Join(s.dir, "config.toml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), hook.Env+"="+s.control(), "GOTRACEBACK=all", "PEGASUS_PLANT="+c.plant)
	if err := c.net.start(s.name, cmd); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	exited := make(chan struct{})
	s.cmd, s.exited, s.killing, s.paused = cmd, exited, false, false
	go func() {
		err := cmd.Wait()
		s.mu.Lock()
		ours, excuse := s.killing, s.excuse
		s.cmd = nil
		s.mu.Unlock()
		switch {
		case ours:
		case excuse != "":
			c.say("%s ended (%v), which it may while %s; its log ends: %s", s.name, err, excuse, tail(s.logFile(), 300))
		default:
			text := fmt.Sprintf("%s died by itself (%v); its log ends: %s", s.name, err, tail(s.logFile(), 2000))
			c.mu.Lock()
			c.deaths = append(c.deaths, text)
			c.mu.Unlock()
			c.say("WRONG: %s", text)
		}
		close(exited)
	}()
	return nil
}

// kill ends a server with SIGKILL and returns when it is gone. A dead one stays dead.
func (c *cluster) kill(ss ...*server) {
	var gone []chan struct{}
	for _, s := range ss {
		s.mu.Lock()
		if s.cmd != nil {
			s.killing = true
			_ = s.cmd.Process.Signal(syscall.SIGKILL)
			gone = append(gone, s.exited)
		}
		s.mu.Unlock()
	}
	for _, g := range gone {
		<-g
	}
}

// terminate stops all servers in order, killing those that don't end in time.
func (c *cluster) terminate(patience time.Duration) (late []string) {
	for _, role := range []string{"replica", "meta"} {
		deadline := time.After(patience)
		for _, s := range c.of(role) {
			c.resume(s)
			s.mu.Lock()
			if s.cmd != nil {
				s.killing = true
				_ = s.cmd.Process.Signal(syscall.SIGTERM)
			}
			s.mu.Unlock()
		}
		for _, s := range c.of(role) {
			s.mu.Lock()
			exited, running := s.exited, s.cmd != nil
			s.mu.Unlock()
			if !running {
				continue
			}
			select {
			case <-exited:
			case <-deadline:
				late = append(late, s.name)
				c.kill(s)
			}
		}
	}
	return late
}

func (s *server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

func (c *cluster) pause(s *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.paused = true
		_ = s.cmd.Process.Signal(syscall.SIGSTOP)
	}
}

func (c *cluster) resume(s *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil && s.paused {
		s.paused = false
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
	}
}

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
		c.resume(s)
		if e := os.Remove(s.control()); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if e := os.Remove(balloon(s)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
		if !s.running() {
			err = errors.Join(err, c.start(s))
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
		if !rest(ctx, wait) {
			return err
		}
	}
}

// rest waits for d; false: ctx ended before.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
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
