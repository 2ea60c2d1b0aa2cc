package onebox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pegasus/base/config"
)

// TableSpec is a table to have: NAME:PARTITIONS or NAME:PARTITIONS:REPLICAS.
type TableSpec struct {
	Name       string
	Partitions int
	Replicas   int // 0: 3, or as many as there are servers
}

// ParseTables parses a list of table specs separated by commas; empty is none.
func ParseTables(s string) ([]TableSpec, error) {
	var out []TableSpec
	for _, item := range strings.Split(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		parts := strings.Split(item, ":")
		spec := TableSpec{Name: parts[0]}
		var err error
		if len(parts) > 1 {
			spec.Partitions, err = strconv.Atoi(parts[1])
		}
		if err == nil && len(parts) > 2 {
			spec.Replicas, err = strconv.Atoi(parts[2])
		}
		if err != nil || len(parts) < 2 || len(parts) > 3 || spec.Name == "" || spec.Partitions < 1 || spec.Replicas < 0 {
			return nil, fmt.Errorf("table %q: write NAME:PARTITIONS or NAME:PARTITIONS:REPLICAS, for example temp:8", item)
		}
		out = append(out, spec)
	}
	return out, nil
}

const (
	host          = "127.0.0.1"
	replicaOffset = 200 // first replica server's port above the first meta's
)

// member is one server of the cluster as it stands in the directory.
type member struct {
	name string // "meta1", "replica2"
	role string // "meta", "replica": the subcommand
	addr string
	dir  string // absolute
}

func (m member) file(name string) string { return filepath.Join(m.dir, name) }

// members lists the servers, metas first.
func (o *Options) members() []member {
	var out []member
	add := func(role string, n, port int) {
		for i := range n {
			name := role + strconv.Itoa(i+1)
			out = append(out, member{name, role, net.JoinHostPort(host, strconv.Itoa(port+i)), filepath.Join(o.Dir, name)})
		}
	}
	add("meta", o.Metas, o.Port)
	add("replica", o.Replicas, o.Port+replicaOffset)
	return out
}

// MetaAddrs lists the meta servers' addresses.
func (o *Options) MetaAddrs() []string {
	var out []string
	for _, m := range o.members() {
		if m.role == "meta" {
			out = append(out, m.addr)
		}
	}
	return out
}

func (o *Options) check() error {
	switch {
	case o.Metas < 1 || o.Metas > 9:
		return fmt.Errorf("--metas %d: give 1 to 9", o.Metas)
	case o.Replicas < 1 || o.Replicas > 100:
		return fmt.Errorf("--replicas %d: give 1 to 100", o.Replicas)
	case o.Port < 1 || o.Port+replicaOffset+o.Replicas > 65536:
		return fmt.Errorf("--port %d: give a port from 1 to %d, so that replica servers fit at that port + %d and up", o.Port, 65535-replicaOffset-o.Replicas, replicaOffset)
	}
	for i := range o.Tables {
		t := &o.Tables[i]
		if t.Replicas == 0 {
			t.Replicas = min(3, o.Replicas)
		}
		if t.Replicas > o.Replicas {
			return fmt.Errorf("table %s wants %d replicas, but there are only %d servers: give --replicas %d", t.Name, t.Replicas, o.Replicas, t.Replicas)
		}
	}
	return nil
}

// identity is what the data in the directory depends on.
type identity struct {
	Port  int `json:"port"`
	Metas int `json:"metas"`
}

// checkIdentity compares the flags with what the directory was made with, or notes them in
// a new one.
func (o *Options) checkIdentity() error {
	path := filepath.Join(o.Dir, "cluster.json")
	now := identity{o.Port, o.Metas}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		data, err = json.Marshal(now)
		if err != nil {
			return err
		}
		return writeFile(path, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("read the cluster's description: %w", err)
	}
	var was identity
	if err := json.Unmarshal(data, &was); err != nil {
		return fmt.Errorf("%s: %w; restore the file, or remove the whole directory to start empty", path, err)
	}
	if was != now {
		return fmt.Errorf("the cluster in %s was made with --port %d --metas %d, its data knows its servers by these addresses: give the same, or another --dir", o.Dir, was.Port, was.Metas)
	}
	return nil
}

// lock takes the directory for this process.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := os.ReadFile(f.Name())
		f.Close()
		return nil, fmt.Errorf("another onebox (process %s) runs on %s: stop it first, or give another --dir", strings.TrimSpace(string(owner)), dir)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// survivor returns the process id in a pid file if that process still is the server of
// that directory, 0 if it is gone or another one has its number.
func (m member) survivor() int {
	data, err := os.ReadFile(m.file("pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(cmdline), m.file("config.toml")) {
		return 0
	}
	return pid
}

// awaitFree waits, for as long as a killed predecessor's servers may take to vanish, until
// no server of an earlier run lives and all ports are free.
func awaitFree(members []member, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := checkFree(members)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func checkFree(members []member) error {
	for _, m := range members {
		if pid := m.survivor(); pid != 0 {
			return fmt.Errorf("%s of an earlier run still runs as process %d (%s): stop it first (kill %d)", m.name, pid, m.addr, pid)
		}
		l, err := net.Listen("tcp4", m.addr)
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				_, port, _ := net.SplitHostPort(m.addr)
				return fmt.Errorf("address %s of %s is in use by another process: stop that one (`ss -ltnp 'sport = :%s'` names it), or give another --port and --dir", m.addr, m.name, port)
			}
			return fmt.Errorf("listen on %s for %s: %w", m.addr, m.name, err)
		}
		l.Close()
	}
	return nil
}

// prepare writes a member's directory: configuration and command.
func (o *Options) prepare(m member, base config.Config) error {
	data := m.file("data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return fmt.Errorf("make the directory of %s: %w", m.name, err)
	}
	c := base
	c.Cluster.MetaServers = o.MetaAddrs()
	if m.role == "meta" {
		c.Meta.Listen, c.Meta.DataDir = m.addr, data
	} else {
		c.Replica.Listen, c.Replica.DataDirs = m.addr, []string{"data:" + data}
		if c.Replica.DiskMinSpace == config.Default().Replica.DiskMinSpace {
			// The disk of somebody who tries is often fuller than that, and holds little of this.
			c.Replica.DiskMinSpace = 1
		}
	}
	if err := c.Validate(); err != nil {
		return err
	}
	text, err := config.Marshal(c)
	if err != nil {
		return err
	}
	head := "# Written by onebox at each start. To change a key give onebox a file of such sections (--config).\n\n"
	if err := writeFile(m.file("config.toml"), append([]byte(head), text...)); err != nil {
		return err
	}
	line := shellQuote(o.Command(m.role, m.file("config.toml"), m.file("pid")))
	return writeFile(m.file("cmd"), []byte("exec "+line+" >>"+shellQuote([]string{m.file("log")})+" 2>&1\n"))
}

// writeFile replaces a file as a whole.
func writeFile(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func shellQuote(args []string) string {
	var out []string
	for _, a := range args {
		if a == "" || strings.ContainsFunc(a, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-=:,+@%", r))
		}) {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	return strings.Join(out, " ")
}
