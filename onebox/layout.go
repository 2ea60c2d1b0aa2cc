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

	"pegasus/base"
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
		if err != nil || len(parts) < 2 || len(parts) > 3 || spec.Name == "" || base.Partitions.Check("", int64(spec.Partitions)) != nil || spec.Replicas < 0 {
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

// Servers lists the servers that the options describe, metas first. They are places, not processes.
func (o *Options) Servers() []*Server {
	var out []*Server
	add := func(role string, n, port int) {
		for i := range n {
			name := role + strconv.Itoa(i+1)
			out = append(out, &Server{Name: name, Role: role, Addr: net.JoinHostPort(host, strconv.Itoa(port+i)), Dir: filepath.Join(o.Dir, name)})
		}
	}
	add("meta", o.Metas, o.Port)
	add("replica", o.Replicas, o.Port+replicaOffset)
	return out
}

// MetaAddrs lists the meta servers' addresses.
func (o *Options) MetaAddrs() []string {
	var out []string
	for _, m := range o.Servers() {
		if m.Role == "meta" {
			out = append(out, m.Addr)
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
		return fmt.Errorf("--port %d: give a port from 1 to %d: replica servers use that port + %d and up", o.Port, 65535-replicaOffset-o.Replicas, replicaOffset)
	}
	for i := range o.Tables {
		t := &o.Tables[i]
		if t.Replicas == 0 {
			t.Replicas = min(3, o.Replicas)
		}
		if t.Replicas > o.Replicas {
			return fmt.Errorf("table %s needs %d replicas, but there are only %d servers: give --replicas %d", t.Name, t.Replicas, o.Replicas, t.Replicas)
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
		return fmt.Errorf("%s: %w; restore the file, or delete the directory to start with an empty cluster", path, err)
	}
	if was != now {
		return fmt.Errorf("the cluster in %s was created with --port %d --metas %d, and its data contains these addresses: give the same, or another --dir", o.Dir, was.Port, was.Metas)
	}
	return nil
}

// dataBefore is what a directory had when a cluster was started on it.
type dataBefore struct {
	none bool // nothing, or only what a first start left that didn't get to its tables
	lost bool // replica servers had something, and no meta
}

// pendingFile says that a cluster was begun and its tables aren't made yet.
const pendingFile = "tables.pending"

// findData looks what servers left, and notes it when they left nothing.
func (o *Options) findData(servers []*Server) (b dataBefore, err error) {
	has := map[string]bool{}
	for _, m := range servers {
		list, err := os.ReadDir(m.File("data"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return b, fmt.Errorf("read the data directory of %s: %w", m.Name, err)
		}
		for _, e := range list {
			if e.Name() != "lost+found" { // of a file system of its own
				has[m.Role] = true
			}
		}
	}
	b.lost = has["replica"] && !has["meta"]
	b.none = len(has) == 0
	path := filepath.Join(o.Dir, pendingFile)
	if b.none {
		return b, writeFile(path, nil)
	}
	if _, err := os.Stat(path); err == nil {
		b.none = true
	}
	return b, nil
}

// tablesAreMade ends that a directory counts as new.
func (o *Options) tablesAreMade() error {
	if err := os.Remove(filepath.Join(o.Dir, pendingFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("record that the tables exist: %w", err)
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
func (s *Server) survivor() int {
	data, err := os.ReadFile(s.File("pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(cmdline), s.File("config.toml")) {
		return 0
	}
	return pid
}

// awaitFree waits, for as long as a killed predecessor's servers may take to vanish, until
// no server of an earlier run lives and all ports are free.
func awaitFree(servers []*Server, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := checkFree(servers)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func checkFree(servers []*Server) error {
	for _, m := range servers {
		if pid := m.survivor(); pid != 0 {
			return fmt.Errorf("%s of an earlier run is still running as process %d (%s): stop it first (kill %d)", m.Name, pid, m.Addr, pid)
		}
		l, err := net.Listen("tcp4", m.Addr)
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				_, port, _ := net.SplitHostPort(m.Addr)
				return fmt.Errorf("address %s of %s is in use by another process: stop it (`ss -ltnp 'sport = :%s'` shows it), or give another --port and --dir", m.Addr, m.Name, port)
			}
			return fmt.Errorf("listen on %s for %s: %w", m.Addr, m.Name, err)
		}
		l.Close()
	}
	return nil
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
