package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// allocations runs the test that counts the servers' allocations, and takes its figures.
func (s *suite) allocations() error {
	out, err := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestAllocations$", "./replica").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	found := 0
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		// path_test.go:180: put, 16 under way: 2.04 allocations
		_, line, _ := strings.Cut(in.Text(), ".go:")
		_, line, _ = strings.Cut(line, ": ")
		what, n, ok := strings.Cut(strings.TrimSuffix(line, " allocations"), ": ")
		v, err := strconv.ParseFloat(n, 64)
		if !ok || err != nil {
			continue
		}
		bound := 6.0
		if strings.HasPrefix(what, "get") {
			bound = 2
		}
		s.res.most("allocations of a "+what, "", v, bound)
		found++
	}
	if found == 0 {
		return fmt.Errorf("the test named no figures: %s", out)
	}
	return nil
}

// cost measures how the cost of an operation grows: one figure each, whatever the rounds.
func (s *suite) cost() error {
	one := func(c *cluster, name, op string, clients, outstanding int, more ...string) error {
		rep, err := c.load(op, clients, outstanding, append([]string{"--time", s.span()}, more...)...)
		if err != nil {
			return err
		}
		s.note("%s %s: %.0f op/s, %.1f us of the servers", name, op, rep.OpsPerSec, rep.ServerCPU)
		s.res.add(name+" "+op, "us/op", rep.ServerCPU)
		s.res.add(name+" "+op+", p50", "us", float64(rep.Latency.P50))
		return nil
	}
	both := func(c *cluster, name string, clients, outstanding int, more ...string) error {
		for _, op := range []string{"set", "get"} {
			if err := one(c, name, op, clients, outstanding, more...); err != nil {
				return err
			}
		}
		return nil
	}
	err := s.with(8, syncOS, func(c *cluster) error {
		for _, n := range []int{1, 4, 16, 64} {
			if err := both(c, fmt.Sprintf("64 under way over %d clients", n), n, 64/n); err != nil {
				return err
			}
		}
		for _, v := range []struct{ size, keys, outstanding int }{{100, rows, 16}, {1000, rows, 16}, {10_000, 10_000, 16}, {100_000, 1000, 4}, {1_000_000, 100, 1}} {
			name, more := fmt.Sprintf("values of %d bytes", v.size), []string{"--value-size", fmt.Sprint(v.size), "--keys", fmt.Sprint(v.keys)}
			if err := both(c, name, 4, v.outstanding, more...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, v := range []struct{ partitions, replicas, rows int }{{1, 3, rows}, {64, 3, rows}, {8, 1, rows}, {8, 2, rows}, {8, 3, 10 * rows}} {
		s.clusters++
		c, err := startCluster(s.bin, filepath.Join(s.dir, fmt.Sprint(s.clusters)), s.port, v.partitions, v.replicas, syncOS)
		if err != nil {
			return err
		}
		keys := []string{"--keys", fmt.Sprint(v.rows)}
		_, err = c.load("set", 4, 64, append(keys, "--count", fmt.Sprint(v.rows))...)
		if err == nil {
			err = both(c, fmt.Sprintf("%d partitions, %d replicas, %d rows", v.partitions, v.replicas, v.rows), 4, 16, keys...)
		}
		c.stop()
		if err != nil {
			return err
		}
	}
	return nil
}
