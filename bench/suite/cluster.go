package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pegasus/base/config"
	"pegasus/bench"
	"pegasus/onebox"
)

// cluster is three replica servers and a meta that this process started.
type cluster struct {
	box       *onebox.Cluster
	bin, meta string
	pids      []int // replica servers
	remove    func()
}

const table = "bench"

// startCluster starts a cluster with one table, whose servers begin from the sections in text.
func startCluster(bin, dir string, port, partitions, replicas int, text string) (*cluster, error) {
	o := onebox.Options{
		Dir: dir, Port: port, Metas: 1, Replicas: 3, Program: bin,
		Tables: []onebox.TableSpec{{Name: table, Partitions: partitions, Replicas: replicas}},
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, "base.toml")
	err := os.WriteFile(file, []byte(text), 0o644)
	if err == nil {
		o.Config, err = config.Load(file)
	}
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	o.Err = &said
	c := &cluster{bin: o.Program, meta: o.MetaAddrs()[0], remove: func() { _ = os.RemoveAll(o.Dir) }}
	if c.box, err = onebox.Open(o); err != nil {
		return nil, err
	}
	if err := c.box.Start(context.Background()); err != nil {
		c.stop()
		return nil, fmt.Errorf("the cluster didn't start: %w\n%s", err, said.String())
	}
	for _, s := range c.box.Servers {
		if s.Role == "replica" {
			c.pids = append(c.pids, s.Pid())
		}
	}
	return c, nil
}

func (c *cluster) stop() {
	if err := c.box.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	c.remove()
}

// report is that of `pegasus bench`, and what came after it.
type report struct {
	bench.Report
	// left is the processor time an operation, us, that the servers used after the run for what
	// it left them to do: flushes and compactions.
	left float64
}

// load runs `pegasus bench` on the cluster, waits until the servers have done what that left
// them to do, so that the next run doesn't find it in its way, and returns its report.
func (c *cluster) load(op string, clients, outstanding int, more ...string) (*report, error) {
	var pids []string
	for _, p := range c.pids {
		pids = append(pids, strconv.Itoa(p))
	}
	args := append([]string{"bench", "--meta", c.meta, "--table", table, "--op", op, "--clients", strconv.Itoa(clients),
		"--outstanding", strconv.Itoa(outstanding), "--keys", strconv.Itoa(rows), "--value-size", "1024", "--progress=false",
		"--pids", strings.Join(pids, ","), "--output", "json"}, more...)
	out, err := exec.Command(c.bin, args...).Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			err = fmt.Errorf("%w: %s", err, e.Stderr)
		}
		return nil, fmt.Errorf("pegasus %s: %w", strings.Join(args, " "), err)
	}
	ended := c.cpu()
	rep := new(report)
	if err := json.Unmarshal(out, &rep.Report); err != nil {
		return nil, fmt.Errorf("report of pegasus bench: %w", err)
	}
	idle := c.settle()
	rep.left = float64(max(c.cpu()-ended-idle, 0).Microseconds()) / float64(max(rep.Ops, 1))
	return rep, nil
}

const (
	settleStep = 500 * time.Millisecond
	// settleShare of a processor is what servers that have nothing to do use at most.
	settleShare = 0.1
	settleTime  = 2 * time.Minute
)

// settle waits until the servers have used next to nothing for two steps, and returns what they
// would have used in all of that time if they always had done as little.
func (c *cluster) settle() time.Duration {
	start, last := time.Now(), c.cpu()
	for calm := 0; time.Since(start) < settleTime; {
		time.Sleep(settleStep)
		now := c.cpu()
		used := now - last
		if last = now; used.Seconds() > settleShare*settleStep.Seconds() {
			calm = 0
			continue
		}
		if calm++; calm == 2 {
			return time.Duration(float64(used) * float64(time.Since(start)) / float64(settleStep))
		}
	}
	return 0
}

// cpu returns the processor time that the servers have used.
func (c *cluster) cpu() (sum time.Duration) {
	for _, p := range c.pids {
		sum += cpuOf(p)
	}
	return sum
}

// cpuOf returns the processor time that a process has used.
func cpuOf(pid int) time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(string(f[11]), 10, 64)
	sys, _ := strconv.ParseInt(string(f[12]), 10, 64)
	return time.Duration(user+sys) * 10 * time.Millisecond
}

// residentOf returns the memory that a process has resident, in bytes.
func residentOf(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := bytes.Fields(data)
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return n * int64(os.Getpagesize())
}
