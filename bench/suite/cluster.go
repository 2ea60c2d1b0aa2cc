package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"pegasus/bench"
)

// cluster is a onebox of three replica servers that this process started.
type cluster struct {
	bin, dir, meta string
	cmd            *exec.Cmd
	pids           []int // replica servers
}

const table = "bench"

// startCluster starts a onebox with one table, whose servers begin from the sections in
// config.
func startCluster(bin, dir string, port, partitions, replicas int, config string) (*cluster, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	base := filepath.Join(dir, "base.toml")
	if err := os.WriteFile(base, []byte(config), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "onebox.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := &cluster{bin: bin, dir: dir, meta: fmt.Sprintf("127.0.0.1:%d", port)}
	c.cmd = exec.Command(bin, "onebox", "--dir", dir, "--port", strconv.Itoa(port), "--config", base,
		"--tables", fmt.Sprintf("%s:%d:%d", table, partitions, replicas))
	c.cmd.Stderr = log
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s onebox: %w", bin, err)
	}
	line := make([]byte, 256)
	if n, err := out.Read(line); err != nil || !bytes.HasPrefix(line[:n], []byte("ready")) {
		said, _ := os.ReadFile(log.Name())
		c.stop()
		return nil, fmt.Errorf("the cluster didn't start: %s", said)
	}
	for i := 1; i <= 3; i++ {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("replica%d", i), "pid"))
		if err != nil {
			c.stop()
			return nil, err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil {
			c.stop()
			return nil, err
		}
		c.pids = append(c.pids, pid)
	}
	return c, nil
}

func (c *cluster) stop() {
	_ = c.cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { _ = c.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Kill()
		<-done
	}
	_ = os.RemoveAll(c.dir)
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
