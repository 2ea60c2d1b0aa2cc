package meta

import (
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/placement"
	"pegasus/rpc"
)

func (c *cluster) says(f *fakeReplica, gone bool) *placement.NodeStopResponse {
	c.t.Helper()
	f.mu.Lock()
	q := &placement.NodeStopRequest{Node: f.addr, StartTime: f.start, Gone: gone}
	f.mu.Unlock()
	r := new(placement.NodeStopResponse)
	c.ask("RPC_CM_NODE_STOP", q, r)
	return r
}

// TestNodeStops: a server that says that it ends leads nothing soon; and when it says that it
// has ended it is dead at once, whatever beacon comes late, until another process comes.
func TestNodeStops(t *testing.T) {
	c := newCluster(t, 1, 4, steady)
	c.mustCreate("a", 16, 3)
	c.whole("a", 3)
	c.reported()
	f := c.reps[0]
	leads, member := func() (n int) {
		for _, p := range c.query("a").Partitions {
			if p.Primary == f.addr {
				n++
			}
		}
		return n
	}, func() (n int) {
		for _, p := range c.query("a").Partitions {
			for _, a := range append(p.Secondaries, p.Primary) {
				if a == f.addr {
					n++
				}
			}
		}
		return n
	}
	if leads() == 0 {
		t.Fatal("it leads nothing")
	}
	if r := c.says(f, false); r.Err != base.ErrOK || int(r.Moving) == 0 || r.Left < r.Moving {
		t.Fatalf("it will end: %+v", r)
	}
	until(t, "others lead all", func() bool {
		r := c.says(f, false)
		return r.Err == base.ErrOK && r.Moving == 0 && r.Left == 0
	})
	if n := leads(); n > 0 {
		t.Fatalf("it leads %d partitions yet", n)
	}
	f.mu.Lock()
	f.mute = true
	start := f.start
	f.mu.Unlock()
	old := c.says(f, true)
	if old.Err != base.ErrOK {
		t.Fatalf("it has ended: %+v", old)
	}
	until(t, "it is no member", func() bool { return c.says(f, true).Moving == 0 && member() == 0 })
	beacon := func(start int64) (base.ErrorCode, *fd.BeaconAck) {
		ack := new(fd.BeaconAck)
		err := c.call(c.leader().name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.THFT0, &fd.BeaconMsg{FromNode: f.addr, StartTime: base.Some(start), Version: base.Some(int32(version.Newest))}, ack)
		return base.CodeOf(err), ack
	}
	if code, _ := beacon(start); code != base.ErrBusy {
		t.Errorf("a late beacon of the process that ended: %v", code)
	}
	// It is refused for a moment after the state has the change that took its roles.
	until(t, "a beacon of the next process is acknowledged", func() bool {
		code, ack := beacon(start + 1)
		return code == base.ErrOK && ack.IsMaster
	})
	if r := c.says(f, true); r.Err != base.ErrInvalidState {
		t.Errorf("the former process says again that it has ended: %+v", r)
	}
}

// TestAllNodesStop: when all end at once nobody is promoted for a moment, none waits for
// another, and the groups stay as they are.
func TestAllNodesStop(t *testing.T) {
	c := newCluster(t, 1, 3, steady)
	c.mustCreate("a", 8, 3)
	before := c.whole("a", 3)
	c.reported()
	// All have said so before the first lets go.
	l := c.leader().srv.leader.Load()
	l.mu.Lock()
	for _, f := range c.reps {
		f.mu.Lock()
		l.nodes.det.Stop(f.addr, f.start)
		f.mu.Unlock()
	}
	l.mu.Unlock()
	for _, f := range c.reps {
		if r := c.says(f, false); r.Err != base.ErrOK || r.Moving != 0 {
			t.Errorf("it will end: %+v", r)
		}
	}
	for _, f := range c.reps {
		if r := c.says(f, true); r.Err != base.ErrOK || r.Moving != 0 {
			t.Errorf("it has ended: %+v", r)
		}
	}
	for i, p := range c.query("a").Partitions {
		if was := before.Partitions[i]; p.Ballot != was.Ballot {
			t.Errorf("partition %d: ballot %d became %d", i, was.Ballot, p.Ballot)
		}
	}
}

// TestMetaStops: a leader that is stopped has another one lead first. One that nobody but the
// stopped would follow is left alone.
func TestMetaStops(t *testing.T) {
	c := newCluster(t, 3, 1, steady)
	first := c.leader()
	first.srv.handOver(t.Context())
	until(t, "another meta leads", func() bool { return !first.srv.Leading() && c.leader() != first })
	c.stopMeta(first)
	second := c.leader()
	term := second.srv.quorum.raft.CurrentTerm()
	second.srv.handOver(t.Context())
	if now := second.srv.quorum.raft.CurrentTerm(); now != term {
		t.Errorf("the second of three handed over to the last: term %d, was %d", now, term)
	}
}
