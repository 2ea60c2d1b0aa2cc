package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// suite runs the cases.
type suite struct {
	bin, dir     string
	port, rounds int
	time         time.Duration
	res          results
	clusters     int
}

const (
	syncOS     = "[wal]\nsync = \"os\"\n"
	syncAlways = "[wal]\nsync = \"always\"\n"
)

func (s *suite) run(cases []string) error {
	known := map[string]func() error{"cpu": s.cpu, "sync": s.sync, "partitions": s.partitions, "idle": s.idle, "mixed": s.mixed,
		"allocations": s.allocations, "cost": s.cost, "dup": s.dup}
	for _, c := range cases {
		f := known[c]
		if f == nil {
			return fmt.Errorf("no case %q", c)
		}
		if err := f(); err != nil {
			return fmt.Errorf("case %s: %w", c, err)
		}
	}
	return nil
}

// with runs f on a cluster that holds all rows.
func (s *suite) with(partitions int, config string, f func(*cluster) error) error {
	s.clusters++
	c, err := startCluster(s.bin, filepath.Join(s.dir, fmt.Sprint(s.clusters)), s.port, partitions, 3, config)
	if err != nil {
		return err
	}
	defer c.stop()
	if _, err := c.load("set", 4, 64, "--count", fmt.Sprint(rows)); err != nil {
		return err
	}
	return f(c)
}

func (s *suite) note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (s *suite) span() string { return s.time.String() }

// cpu measures the CPU time of an operation against the floor's in the same round.
func (s *suite) cpu() error {
	fl, err := startFloor()
	if err != nil {
		return err
	}
	defer fl.stop()
	return s.with(8, syncOS, func(c *cluster) error {
		for round := range s.rounds {
			perSec, least, err := fl.run(s.time)
			if err != nil {
				return err
			}
			s.res.add("floor 4x8, CPU", "us/op", least)
			s.res.add("floor 4x8", "op/s", perSec)
			for _, m := range []struct {
				op                   string
				clients, outstanding int
				times, micros        float64 // bounds
			}{{"get", 4, 16, 7, 0}, {"get", 4, 64, 0, 0}, {"get", 1, 1, 0, 0}, {"set", 4, 16, 75, 75}, {"set", 4, 64, 45, 29.8}, {"set", 1, 1, 0, 125}} {
				rep, err := c.load(m.op, m.clients, m.outstanding, "--time", s.span())
				if err != nil {
					return err
				}
				name := fmt.Sprintf("%s %dx%d", m.op, m.clients, m.outstanding)
				s.note("round %d: %s %.0f op/s, %.2f us of the servers, %.2f afterwards (floor %.2f), client %.2f", round+1, name, rep.OpsPerSec, rep.ServerCPU, rep.left, least, rep.ClientCPU)
				s.res.most(name+", CPU of all servers", "us/op", rep.ServerCPU, m.micros)
				s.res.add(name+", CPU of all servers afterwards", "us/op", rep.left)
				s.res.most(name+", times the floor", "x", rep.ServerCPU/least, m.times)
				s.res.add(name, "op/s", rep.OpsPerSec)
				s.res.add(name+", p50", "us", float64(rep.Latency.P50))
				s.res.add(name+", p99", "us", float64(rep.Latency.P99))
			}
		}
		return nil
	})
}

// paired measures two clusters in turn, so that both see the machine as it is.
func (s *suite) paired(parts [2]int, configs [2]string, names [2]string, ratio string, bound float64) error {
	port := s.port
	defer func() { s.port = port }()
	return s.with(parts[0], configs[0], func(a *cluster) error {
		s.port += 10
		return s.with(parts[1], configs[1], func(b *cluster) error {
			for round := range s.rounds {
				var got [2]float64
				for i, c := range []*cluster{a, b} {
					rep, err := c.load("set", 4, 64, "--time", s.span())
					if err != nil {
						return err
					}
					got[i] = rep.OpsPerSec
					s.res.add(names[i], "op/s", rep.OpsPerSec)
					s.res.add(names[i]+", CPU of all servers", "us/op", rep.ServerCPU)
					s.res.add(names[i]+", afterwards", "us/op", rep.left)
					s.note("round %d: %s %.0f op/s, %.2f us of the servers, %.2f afterwards", round+1, names[i], rep.OpsPerSec, rep.ServerCPU, rep.left)
				}
				s.res.least(ratio, "x", got[1]/got[0], bound)
			}
			return nil
		})
	})
}

// sync compares what is durable when it is acknowledged with what isn't yet.
func (s *suite) sync() error {
	return s.paired([2]int{8, 8}, [2]string{syncOS, syncAlways}, [2]string{"set 256 writers, sync=os", "set 256 writers, sync=always"},
		"sync=always by sync=os", 0.70)
}

func (s *suite) partitions() error {
	return s.paired([2]int{8, 512}, [2]string{syncOS, syncOS}, [2]string{"set 4x64, 8 partitions", "set 4x64, 512 partitions"},
		"512 partitions by 8", 0.85)
}

const idleConns = 5000

// idle measures what connections cost that do nothing.
func (s *suite) idle() error {
	return s.with(8, syncOS, func(c *cluster) error {
		for round := range s.rounds {
			before, err := c.load("get", 100, 1, "--time", s.span())
			if err != nil {
				return err
			}
			rss := residentOf(c.pids[0])
			conns, err := openIdle(fmt.Sprintf("127.0.0.1:%d", s.port+200))
			if err != nil {
				return err
			}
			grown := residentOf(c.pids[0]) - rss
			with, err := c.load("get", 100, 1, "--time", s.span())
			for _, k := range conns {
				k.Close()
			}
			if err != nil {
				return err
			}
			// Again without, so that a machine that becomes slower meanwhile isn't the connections' doing.
			after, err := c.load("get", 100, 1, "--time", s.span())
			if err != nil {
				return err
			}
			ops, cpu := (before.OpsPerSec+after.OpsPerSec)/2, (before.ServerCPU+after.ServerCPU)/2
			s.note("round %d: %.0f and %.0f op/s, %.0f with idle connections, which take %d bytes each", round+1, before.OpsPerSec, after.OpsPerSec,
				with.OpsPerSec, grown/idleConns)
			if round == 0 {
				// Later ones find the memory that the first ones used.
				s.res.most("memory of an idle connection", "bytes", float64(grown)/idleConns, 20_000)
			}
			s.res.add("get of 100 connections", "op/s", ops)
			s.res.least("with 5000 idle ones by without", "x", with.OpsPerSec/ops, 0.95)
			s.res.add("CPU with 5000 idle ones by without", "x", with.ServerCPU/cpu)
		}
		return nil
	})
}

// openIdle opens connections that have asked something once, as those of clients have.
func openIdle(addr string) ([]net.Conn, error) {
	// An unknown RPC in a THFT v1 frame: header, empty meta, message begin, empty body.
	ask := append([]byte("THFT"), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 14, 0,
		0x80, 1, 0, 1, 0, 0, 0, 1, 'x', 0, 0, 0, 1, 0)
	var conns []net.Conn
	answer := make([]byte, 256)
	for range idleConns {
		k, err := net.Dial("tcp", addr)
		if err != nil {
			return conns, err
		}
		conns = append(conns, k)
		if _, err := k.Write(ask); err != nil {
			return conns, err
		}
		if err := k.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return conns, err
		}
		if _, err := k.Read(answer); err != nil {
			return conns, fmt.Errorf("answer on an idle connection: %w", err)
		}
	}
	return conns, nil
}

// mixed measures the latency of reads beside as many writes, at half of what the cluster
// can do.
func (s *suite) mixed() error {
	return s.with(8, syncOS, func(c *cluster) error {
		for round := range s.rounds {
			full, err := c.load("mixed", 4, 64, "--time", s.span())
			if err != nil {
				return err
			}
			half, err := c.load("mixed", 4, 1000, "--time", s.span(), "--rate", fmt.Sprintf("%.0f", full.OpsPerSec/2))
			if err != nil {
				return err
			}
			l := half.ByKind["get"]
			s.note("round %d: mixed %.0f op/s; at half of it get p50 %d us, p99 %d, p99.9 %d", round+1, full.OpsPerSec, l.P50, l.P99, l.P999)
			s.res.add("mixed 4x64", "op/s", full.OpsPerSec)
			p50 := float64(max(l.P50, 1))
			s.res.add("get p50 at half load", "us", p50)
			s.res.most("get p99 by p50 at half load", "x", float64(l.P99)/p50, 5)
			s.res.most("get p99.9 by p50 at half load", "x", float64(l.P999)/p50, 20)
		}
		return nil
	})
}
