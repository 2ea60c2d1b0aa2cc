package replica

import (
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/probe"
	"pegasus/metrics"
)

// probe asks node i about the partition, and about one that isn't there.
func (g *group) probe(i int, write bool, timeout time.Duration) (here, absent probe.ProbeResult, all *probe.ProbeResponse) {
	g.t.Helper()
	q := &probe.ProbeRequest{TimeoutMs: int32(timeout.Milliseconds()), Partitions: []probe.ProbeOf{{Pid: g.gpid, Write: write}, {Pid: base.Gpid{AppID: 9}, Write: write}}}
	a := new(probe.ProbeResponse)
	if err := g.call(i, base.RPCProbe, q, a); err != nil || a.Err != base.ErrOK || len(a.Results) != 2 {
		g.t.Fatalf("probe of node %d: %v, %+v", i, err, a)
	}
	return a.Results[0], a.Results[1], a
}

func TestProbe(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "k", "v")
	used := g.nodes[0].srv.replica(g.gpid).observed.Counts()
	before := g.view(0).Committed

	here, absent, all := g.probe(0, false, time.Second)
	if here.ReadErr != base.ErrOK || here.Wrote || g.view(0).Committed != before {
		t.Errorf("a read alone: %+v, decrees %d to %d", here, before, g.view(0).Committed)
	}
	if absent.ReadErr != base.ErrObjectNotFound {
		t.Errorf("a partition that isn't there: %+v", absent)
	}
	if len(all.Latencies) != 1 || all.Latencies[0].AppId != g.gpid.AppID || len(all.Latencies[0].Reads) != 0 || len(all.Latencies[0].Writes) == 0 {
		t.Errorf("latencies %+v", all.Latencies)
	}

	here, absent, _ = g.probe(0, true, answerTime)
	if here.ReadErr != base.ErrOK || !here.Wrote || here.WriteErr != base.ErrOK || g.view(0).Committed != before+1 {
		t.Errorf("with a write: %+v, decrees %d to %d", here, before, g.view(0).Committed)
	}
	if absent.WriteErr != base.ErrObjectNotFound {
		t.Errorf("a partition that isn't there: %+v", absent)
	}
	if now := g.nodes[0].srv.replica(g.gpid).observed.Counts(); now != used {
		t.Errorf("a probe counts as a client's request: %+v, was %+v", now, used)
	}
	until(t, "the empty mutation is on all members", func() bool {
		return g.view(1).applied == before+1 && g.view(2).applied == before+1
	})

	// A member that doesn't lead has nothing to serve.
	if here, _, _ := g.probe(1, true, time.Second); here.ReadErr != base.ErrInvalidState || here.WriteErr != base.ErrInvalidState {
		t.Errorf("a secondary: %+v", here)
	}
}

// With too few members reads work and writes don't; a group whose secondary is silent has one until it is removed.
func TestProbeWithoutMembers(t *testing.T) {
	g := newGroup(t, 2)
	g.nodes[1].stop()
	here, _, _ := g.probe(0, true, 200*time.Millisecond)
	if here.ReadErr != base.ErrOK || here.WriteErr != base.ErrTimeout && here.WriteErr != base.ErrNotEnoughMember {
		t.Errorf("without its secondary: %+v", here)
	}
	g.nodes[0].srv.replica(g.gpid).store.Load().Close()
	if here, _, _ := g.probe(0, false, time.Second); here.ReadErr == base.ErrOK {
		t.Errorf("a closed store: %+v", here)
	}
}

// Nobody can have a server do more than one bounded probe.
func TestProbeIsBounded(t *testing.T) {
	g := alone(t)
	for name, q := range map[string]*probe.ProbeRequest{
		"too many":   {TimeoutMs: 1, Partitions: make([]probe.ProbeOf, maxProbes+1)},
		"no time":    {Partitions: []probe.ProbeOf{{Pid: g.gpid}}},
		"less of it": {TimeoutMs: -5},
	} {
		a := new(probe.ProbeResponse)
		if err := g.call(0, base.RPCProbe, q, a); err != nil || a.Err != base.ErrInvalidParameters {
			t.Errorf("%s: %v, %v", name, err, a.Err)
		}
	}
}

func TestCutZeros(t *testing.T) {
	for _, c := range []struct{ at, want int }{{-1, 0}, {0, 1}, {3, 4}, {len(metrics.Octaves{}) - 1, len(metrics.Octaves{})}} {
		var o metrics.Octaves
		if c.at >= 0 {
			o[c.at] = 7
		}
		if l := cutZeros(&o); len(l) != c.want {
			t.Errorf("the last at %d: %v", c.at, l)
		}
	}
}
