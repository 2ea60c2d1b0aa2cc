package meta

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
)

// The load of a partition is a mean over time, whoever tells, however often.
func TestLoadMean(t *testing.T) {
	const half = 5 * time.Minute
	g := base.Gpid{AppID: 1}
	a, _ := base.ParseAddr("10.0.0.1:1")
	b, _ := base.ParseAddr("10.0.0.2:1")
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > want*0.01+1e-9 {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for _, every := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
		l := newLoads(half)
		var now time.Duration
		var reads, writes float64
		// serve serves for so long, and tells it now and then.
		serve := func(node base.RPCAddress, d time.Duration, r, w float64) {
			for end := now + d; now < end; {
				now, reads, writes = now+every, reads+r*every.Seconds(), writes+w*every.Seconds()
				l.heard(now, node, &metadata.ReplicaInfo{Pid: g, ReadUnits: base.Some(int64(reads)), WriteUnits: base.Some(int64(writes))})
			}
		}
		mean := func(what string, r, w float64) {
			t.Helper()
			gotR, gotW := l.mean(g)
			near(what+", reads", gotR, r)
			near(what+", writes", gotW, w)
		}
		mean("nothing was told", 0, 0)
		serve(a, every, 0, 0) // from here on it is measured
		serve(a, half, 1000, 100)
		mean("for the half-life", 1000, 100)
		serve(a, 20*half, 1000, 100)
		mean("for long", 1000, 100)
		serve(a, half, 3000, 100)
		mean("half of it is new", 2000, 100)
		// Another primary, which counts from elsewhere: what was between them is nobody's.
		reads, writes = 77, 1e12
		serve(b, every, 0, 0)
		mean("another node tells", 2000, 100)
		serve(b, half, 2000, 100)
		mean("it goes on", 2000, 100)
		// It was opened anew.
		reads, writes = 0, 0
		serve(b, every, 0, 0)
		mean("it counts from 0", 2000, 100)
		serve(b, 10*half, 0, 0)
		mean("nobody uses it", 2000/1024., 100/1024.)
		// Twice at the same time, and numbers that make no sense.
		reads, writes = math.MaxInt64/2, -5
		l.heard(now, b, &metadata.ReplicaInfo{Pid: g, ReadUnits: base.Some(int64(reads)), WriteUnits: base.Some(int64(writes))})
		mean("twice at one time", 2000/1024., 100/1024.)
	}
	l := newLoads(half)
	for i := range 2 {
		l.heard(time.Duration(1+i)*time.Second, a, &metadata.ReplicaInfo{Pid: g, ReadUnits: base.Some(int64(i) * 100000), WriteUnits: base.Some(int64(0))})
	}
	if r, _ := l.mean(g); r > 1000 || r <= 0 {
		t.Errorf("after a second the load is %v", r)
	}
}

// What two partitions on one server are asked moves one of them away, by primaries alone; no more is moved within an hour than
// is allowed, and nothing is before everybody tells its load.
func TestMovesForLoad(t *testing.T) {
	c := newCluster(t, 1, 3, func(c *config.Config) {
		fast(c)
		c.Meta.BalanceLoadHalf, c.Meta.BalanceLoadMoves = config.Duration(time.Second), 2
	})
	c.mustCreate("temp", 6, 3)
	c.whole("temp", 3)
	plan := func() *placement.RebalanceResponse { return c.rebalance(placement.REBALANCE_PLAN, "", false) }
	until(t, "replicas are even, and load isn't told", func() bool {
		p := plan()
		return len(p.Moves) == 0 && strings.Contains(p.HintMessage, "runs an older program") && !p.Load.Set
	})
	// hot makes two partitions hot that one server leads, and returns them.
	hot := func() (h []base.Gpid) {
		parts := c.query("temp").Partitions
		leads := map[base.RPCAddress][]base.Gpid{}
		for _, p := range parts {
			leads[p.Primary] = append(leads[p.Primary], p.Pid)
		}
		if h = leads[parts[0].Primary]; len(h) != 2 {
			t.Fatalf("%d partitions are led by one server", len(h))
		}
		rates := map[base.Gpid][2]float64{}
		for _, p := range parts {
			rates[p.Pid] = [2]float64{1000, 100}
			if slices.Contains(h, p.Pid) {
				rates[p.Pid] = [2]float64{50000, 100}
			}
		}
		c.rates.set(rates)
		return h
	}
	h := hot()
	var p *placement.RebalanceResponse
	until(t, "a plan is made for it", func() bool {
		p = plan()
		return len(p.Moves) == 2 && p.Load.Set && p.LoadAfter.V.Max < p.Load.V.Max*3/4
	})
	for _, m := range p.Moves {
		if m.Kind != placement.MOVE_PROMOTE || !strings.Contains(m.Why, "load: ") || !strings.Contains(m.Why, "units/s") {
			t.Errorf("move %+v", m)
		}
	}
	if got := c.remote("meta.lb.get_balance_operation_count", "total"); got != "{\n  \"total\": 0\n}" {
		t.Errorf("load counts at level steady, where tools wait for a cluster that is in order: %s", got)
	}
	c.level(metaadmin.FlLively)
	apart := func() bool {
		parts := c.query("temp").Partitions
		return parts[h[0].PartitionIndex].Primary != parts[h[1].PartitionIndex].Primary
	}
	until(t, "two servers lead what is hot", apart)
	until(t, "primaries and replicas are as even as they were", func() bool {
		pr, r := c.spread("temp", c.reps)
		return pr == [2]int{2, 2} && r == [2]int{6, 6}
	})
	e := &placement.ExplainResponse{}
	c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: h[0].PartitionIndex}, e)
	f := &placement.ExplainResponse{}
	c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: h[1].PartitionIndex}, f)
	if events := append(e.Partitions[0].Events, f.Partitions[0].Events...); !slices.ContainsFunc(events, func(v placement.PartitionEvent) bool { return strings.Contains(v.Why, "load: ") }) {
		t.Errorf("nothing tells of load: %+v", events)
	}
	// Others become hot: that has to wait.
	h = hot()
	until(t, "the plan says that no more is moved", func() bool {
		p = plan()
		return p.Load.Set && p.Load.V.Max > 90000 && strings.Contains(p.HintMessage, "2 moves were made for it within an hour")
	})
	if apart() || len(p.Moves) > 0 {
		t.Errorf("more is moved: %+v", p.Moves)
	}
}
