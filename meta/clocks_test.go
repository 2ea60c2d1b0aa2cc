package meta

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
	"pegasus/meta/detector"
)

const day = 24 * time.Hour

// setAhead sets the clock of a server.
func (f *fakeReplica) setAhead(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead = d
}

// uselessNow tells whether the meta has a server throw its replica of a table away.
func (c *cluster) uselessNow(id int32) bool {
	c.t.Helper()
	q := &metaadmin.ConfigurationQueryByNodeRequest{Node: c.reps[0].addr, StoredReplicas: base.Some([]metadata.ReplicaInfo{{Pid: base.Gpid{AppID: id}, Ballot: 2, Status: metadata.PS_INACTIVE}})}
	var r metaadmin.ConfigurationQueryByNodeResponse
	until(c.t, "the configuration is told", func() bool {
		c.ask("RPC_CM_CONFIG_SYNC", q, &r)
		return r.Err == base.ErrOK
	})
	return len(r.GcReplicas.V) == 1
}

// clocksAgree tells whether the leader's clock is that of most, as of its last look.
func (c *cluster) clocksAgree() bool {
	ns := c.leader().srv.leader.Load().nodes
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.clocks.told.Load() != nil && !ns.clocks.wrong
}

// TestWrongClockOfMeta: a meta whose clock is days ahead of those of most servers has nobody
// throw a dropped table away, forgets none, and lets it be recalled; the servers hear of the
// clock that most of them have. When clocks agree all is as ever, and a table whose time is over goes.
func TestWrongClockOfMeta(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	id, again := c.mustCreate("a", 1, 1), c.mustCreate("b", 1, 1)
	for _, name := range []string{"a", "b"} {
		if e := c.drop(name, false, 3600); e != base.ErrOK {
			t.Fatal(e)
		}
	}
	until(t, "all clocks agree", func() bool { return c.clocksAgree() })
	c.ahead.Store(int64(2 * day))
	if c.uselessNow(id) {
		t.Error("a table goes by the meta's clock alone, which is two days ahead")
	}
	c.leader().srv.tables().purgeOnce(c.wall().Add(-gcMargin))
	if n := len(c.list(layer2.AS_INVALID)); n != 2 {
		t.Errorf("it forgot tables by its clock alone: %d are left", n)
	}
	until(t, "the alarm is raised", func() bool { return !c.clocksAgree() })
	var r placement.NodeRoleResponse
	if c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, &r); !strings.Contains(r.HintMessage, "clocks differ") {
		t.Errorf("the list of nodes says %q", r.HintMessage)
	}
	beats(t, c.reps[0], func(clock base.Opt[time.Duration]) {
		if !clock.Set || clock.V.Abs() > time.Hour {
			t.Errorf("servers hear of another clock than that of most: %+v", clock)
		}
	})
	if r := c.recall(again, ""); r.Err != base.ErrOK {
		t.Errorf("recall of a table whose time isn't over: %v", r.Err)
	}
	// Two days pass for the servers as well.
	for _, f := range c.reps {
		f.setAhead(2 * day)
	}
	until(t, "all clocks agree again", func() bool { return c.clocksAgree() })
	if !c.uselessNow(id) {
		t.Error("a dropped table whose time is over stays")
	}
}

// TestWrongClockOfServer: one server's clock is an alarm, and changes nothing for the others.
func TestWrongClockOfServer(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	f := c.reps[1]
	f.setAhead(-day)
	var r placement.NodeRoleResponse
	until(t, "the list of nodes says so", func() bool {
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, &r)
		return strings.Contains(r.HintMessage, f.name+" is 24h0m") && strings.Contains(r.HintMessage, "behind")
	})
	until(t, "the leader trusts its own clock", func() bool { return c.clocksAgree() })
	f.setAhead(0)
	until(t, "nothing is said", func() bool {
		c.ask("RPC_CM_NODE_ROLE", &placement.NodeRoleRequest{}, &r)
		return r.HintMessage == ""
	})
}

// TestDropByWrongClock: the time for which a dropped table is kept isn't shortened by a meta
// whose clock is behind.
func TestDropByWrongClock(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	id := c.mustCreate("a", 1, 1)
	until(t, "the clocks are compared", func() bool { return c.clocksAgree() })
	c.ahead.Store(-int64(day))
	if e := c.drop("a", false, 3600); e != base.ErrOK {
		t.Fatal(e)
	}
	c.ahead.Store(0)
	until(t, "all clocks agree", func() bool { return c.clocksAgree() })
	if c.uselessNow(id) {
		t.Error("a table that was dropped just now, and is to be kept for an hour, goes")
	}
}

// TestWhoseClockCounts: most machines' clocks have to agree with the leader's, and its own machine
// has one. Who is heard first doesn't decide.
func TestWhoseClockCounts(t *testing.T) {
	const here, there, third, fourth = "10.0.0.1:34801", "10.0.0.2:34801", "10.0.0.3:34801", "10.0.0.4:34801"
	type clock map[string]time.Duration // ahead of the leader's
	for _, c := range []struct {
		name   string
		heard  clock
		silent []string // expected to live, not heard yet
		counts bool     // the leader's is that of most
		told   string   // "": nothing yet; "doubted"; "own"; "theirs": a day ahead
	}{
		{"nobody is heard", nil, nil, false, ""},
		{"one server on the leader's machine", clock{here: 0}, nil, true, "own"},
		{"its own machine's server, and one that differs", clock{here: 0, there: day}, nil, false, "doubted"},
		{"its own machine's server, and two that differ", clock{here: 0, there: day, third: day}, nil, false, "theirs"},
		{"its own machine's server, and two that differ each by another", clock{here: 0, there: day, third: -day}, nil, false, "doubted"},
		{"two that agree, and one that differs", clock{here: 0, there: 0, third: day}, nil, true, "own"},
		{"two that agree, and two that differ", clock{here: 0, there: 0, third: day, fourth: day}, nil, false, "doubted"},
		{"no server on its machine: one agrees, one differs", clock{there: 0, third: day}, nil, true, "own"},
		{"no server on its machine: one differs", clock{there: day}, nil, false, "doubted"},
		{"no server on its machine: two differ", clock{there: day, third: day}, nil, false, "theirs"},
		{"its own machine's is heard first", clock{here: 0}, []string{there, third}, false, ""},
		{"one that differs is heard first", clock{there: day}, []string{here, third}, false, ""},
		{"two of three agree, the third isn't heard", clock{here: 0, there: 0}, []string{third}, true, "own"},
		{"two of three differ, the third isn't heard", clock{there: day, third: day}, []string{here}, false, "theirs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			self, _ := base.ParseAddr("10.0.0.1:34601")
			boot := time.Hour
			wall := time.Now()
			srv := &Server{opts: Options{Clock: func() time.Time { return wall }}}
			srv.addr.Store(uint64(self))
			tm := &term{s: srv, log: testLog().WithField("part", "leader"), boot: func() time.Duration { return boot }}
			tm.s.cfg.FD.Grace, tm.s.cfg.FD.ClockTolerance = config.Duration(time.Hour), config.Duration(10*time.Second)
			l := newNodes(tm)
			for _, name := range c.silent {
				a, _ := base.ParseAddr(name)
				l.det.Expect(0, a)
			}
			for name, ahead := range c.heard {
				a, _ := base.ParseAddr(name)
				l.det.Beacon(0, detector.Beacon{From: a})
				l.observeClock(a, wall.Add(ahead).UnixMilli())
			}
			// The machine sleeps for a minute, its clocks knowing.
			boot, wall = boot+time.Minute, wall.Add(time.Minute)
			l.checkClocks()
			if l.clockTrusted() != c.counts {
				t.Errorf("it counts: %v", !c.counts)
			}
			told := ""
			if ms, doubted := l.tellClock(); doubted.V {
				told = "doubted"
			} else if ms.Set {
				switch ahead := time.UnixMilli(ms.V).Sub(wall); ahead.Round(time.Second) {
				case 0:
					told = "own"
				case day:
					told = "theirs"
				default:
					told = ahead.String()
				}
			}
			if told != c.told {
				t.Errorf("servers are told %q, want %q", told, c.told)
			}
			want := time.Duration(0)
			if c.told == "theirs" || c.told != "own" && slices.Contains(slices.Collect(maps.Values(c.heard)), day) {
				want = day
			}
			if ahead := l.latest().Sub(wall).Round(time.Second); ahead != want {
				t.Errorf("a table that is dropped is kept from %v from now on, want %v", ahead, want)
			}
			off := l.compareClocks()
			differ := slices.ContainsFunc(slices.Collect(maps.Values(c.heard)), func(d time.Duration) bool { return d != 0 })
			if text := l.clocksText(&off); (text != "") != (differ && c.told != "") {
				t.Errorf("it says %q", text)
			}
		})
	}
}

// beats calls f with what a server hears of the time in each of its next beacons.
func beats(t *testing.T, r *fakeReplica, f func(clock base.Opt[time.Duration])) {
	t.Helper()
	last := time.Now()
	for range 5 {
		until(t, "a beacon is acknowledged", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			if !r.acked.After(last) {
				return false
			}
			last = r.acked
			f(r.clock)
			return true
		})
	}
}

// TestStepOfMetasClock: no server hears of a step of the leader's clock, neither when it is made
// nor when it is put right.
func TestStepOfMetasClock(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	until(t, "all clocks agree", func() bool { return c.clocksAgree() })
	for _, ahead := range []time.Duration{day, -day, 0} {
		c.ahead.Store(int64(ahead))
		beats(t, c.reps[0], func(clock base.Opt[time.Duration]) {
			if !clock.Set || clock.V.Abs() > time.Hour {
				t.Errorf("the leader's clock is %v ahead, and servers hear %+v", ahead, clock)
			}
		})
	}
}

// TestCompactionByWrongClock: a manual compaction that a meta is asked for whose clock is wrong
// begins when the replicas' clock says so, not a day later.
func TestCompactionByWrongClock(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	c.mustCreate("a", 1, 1)
	until(t, "all clocks agree", func() bool { return c.clocksAgree() })
	c.ahead.Store(int64(day))
	var r metaadmin.StartAppManualCompactResponse
	if c.ask("RPC_CM_START_MANUAL_COMPACT", &metaadmin.StartAppManualCompactRequest{AppName: "a"}, &r); r.Err != base.ErrOK {
		t.Fatal(r.Err)
	}
	for _, e := range c.list(layer2.AS_AVAILABLE)[0].Envs {
		if e.Key != "manual_compact.once.trigger_time" {
			continue
		}
		if at, err := strconv.ParseInt(e.Val, 10, 64); err != nil || time.Until(time.Unix(at, 0)).Abs() > time.Hour {
			t.Errorf("it begins in %v: %v", time.Until(time.Unix(at, 0)), err)
		}
		return
	}
	t.Error("nothing says when it begins")
}
