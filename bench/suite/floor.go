package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// The floor's load: connections, frames under way on each, and bytes of a frame, about
// those of a put of 1 KB.
const (
	floorConns = 4
	floorDepth = 8
	floorFrame = 1100
)

// serveFloor gives back what it reads, until its standard input ends.
func serveFloor() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// floor is the floor program as a process of its own.
type floor struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startFloor() (*floor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &floor{cmd: exec.Command(self, "floor-server")}
	in, err := f.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	f.in = in
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the floor program: %w", err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		return nil, fmt.Errorf("the floor program's address: %w", err)
	}
	f.addr = strings.TrimSpace(string(line[:n]))
	return f, nil
}

func (f *floor) stop() {
	f.in.Close()
	_ = f.cmd.Wait()
}

// run loads the floor program for d and returns the frames a second and its CPU time a
// frame, in microseconds.
func (f *floor) run(d time.Duration) (perSec, cpu float64, err error) {
	var wg sync.WaitGroup
	counts := make([]int, floorConns)
	errs := make([]error, floorConns)
	before, start := cpuOf(f.cmd.Process.Pid), time.Now()
	for i := range floorConns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			counts[i], errs[i] = pingFloor(f.addr, start.Add(d))
		}()
	}
	wg.Wait()
	took := time.Since(start)
	used := cpuOf(f.cmd.Process.Pid) - before
	n := 0
	for i := range counts {
		n += counts[i]
		if errs[i] != nil {
			return 0, 0, errs[i]
		}
	}
	return float64(n) / took.Seconds(), float64(used.Nanoseconds()) / 1e3 / float64(max(n, 1)), nil
}

func pingFloor(addr string, until time.Time) (int, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	batch := make([]byte, floorFrame*floorDepth)
	n := 0
	for time.Now().Before(until) {
		if _, err := c.Write(batch); err != nil {
			return n, err
		}
		if _, err := io.ReadFull(c, batch); err != nil {
			return n, err
		}
		n += floorDepth
	}
	return n, nil
}
