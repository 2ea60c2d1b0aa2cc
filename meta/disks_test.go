package meta

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
	"pegasus/gen/replicaadmin"
	"pegasus/remotecmd/answer"
	"pegasus/rpc"
)

// fakeMoves moves a server's replicas between its disks a and b. The server's mu guards it.
type fakeMoves struct {
	in    map[base.Gpid]string // not here: a
	list  answer.DiskMoves
	takes time.Duration
	at    time.Time // when the last one began
	most  int       // that were under way at once
}

const fakeReplicaBytes = 10 << 30

// tell says where a replica is, how large it is, and what its server is to it.
func (m *fakeMoves) tell(f *fakeReplica, r *metadata.ReplicaInfo) {
	m.advance()
	r.DiskTag, r.Bytes = "a", base.Some(int64(fakeReplicaBytes))
	if tag, ok := m.in[r.Pid]; ok {
		r.DiskTag = tag
	}
	switch c := f.confs[r.Pid]; {
	case c.Primary == f.addr:
		r.Status = metadata.PS_PRIMARY
	case slices.Contains(c.Secondaries, f.addr):
		r.Status = metadata.PS_SECONDARY
	}
}

// advance ends a move that has taken its time.
func (m *fakeMoves) advance() {
	if last := m.list.Last((*answer.DiskMove).UnderWay); last != nil && time.Since(m.at) >= m.takes {
		last.State = "CLOSED"
		if g, err := base.ParseGpid(last.Replica); err == nil {
			m.in[g] = last.To
		}
	}
}

// serveMoves adds what a server with several disks answers.
func (f *fakeReplica) serveMoves(mux *rpc.Mux) {
	mux.HandleFunc(base.RPCCLICall, func(r *rpc.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.moves == nil {
			r.Reply(rpc.Str("unknown command"))
			return
		}
		f.moves.advance()
		b, _ := json.Marshal(f.moves.list)
		r.Reply(rpc.Str(b))
	})
	mux.HandleFunc(base.RPCReplicaDiskMigrate, func(r *rpc.Request) {
		var q replicaadmin.ReplicaDiskMigrateRequest
		err := r.DecodeArg(&q)
		f.mu.Lock()
		defer f.mu.Unlock()
		m := f.moves
		if err != nil || m == nil {
			r.Reply(&replicaadmin.ReplicaDiskMigrateResponse{Err: base.ErrInvalidParameters})
			return
		}
		m.list, m.at = append(m.list, answer.DiskMove{Replica: q.Pid.String(), From: q.OriginDisk, To: q.TargetDisk, State: "MOVING"}), time.Now()
		running := 0
		for i := range m.list {
			if m.list[i].UnderWay() {
				running++
			}
		}
		m.most = max(m.most, running)
		r.Reply(&replicaadmin.ReplicaDiskMigrateResponse{Err: base.ErrOK})
	})
}

// At level lively replicas are moved between the disks of their servers, one of a server at a time, with a reason; a new leader
// goes on. At steady none is.
func TestEvensOutDisks(t *testing.T) {
	c := newCluster(t, 3, 3, func(c *config.Config) {
		fast(c)
		c.Meta.BalanceDisks = 2
	})
	for _, f := range c.reps {
		f.mu.Lock()
		f.moves = &fakeMoves{in: map[base.Gpid]string{}, takes: 100 * time.Millisecond}
		f.disks = []metaadmin.DiskReport{{Tag: "a", CapacityMb: 500 << 10, AvailableMb: 440 << 10}, {Tag: "b", CapacityMb: 500 << 10, AvailableMb: 500 << 10}}
		f.mu.Unlock()
	}
	c.mustCreate("temp", 6, 3)
	c.whole("temp", 3)
	until(t, "everybody tells of its disks, and nothing moves between servers", func() bool {
		l := c.leader().srv.leader.Load()
		return l != nil && l.nodes != nil && len(c.rebalance(placement.REBALANCE_PLAN, "", false).Moves) == 0 && strings.Contains(l.bal.occupied(), "below lively")
	})
	moved := func() (n int) {
		for _, f := range c.reps {
			f.mu.Lock()
			n += len(f.moves.list)
			f.mu.Unlock()
		}
		return n
	}
	if n := moved(); n != 0 {
		t.Fatalf("%d are moved at level steady", n)
	}
	c.level(metaadmin.FlLively)
	until(t, "the first are moved", func() bool { return moved() >= 2 })
	c.stopMeta(c.leader())
	until(t, "each server has three replicas on each disk", func() bool {
		for _, f := range c.reps {
			f.mu.Lock()
			f.moves.advance()
			n := len(f.moves.in)
			under := f.moves.list.Last((*answer.DiskMove).UnderWay)
			f.mu.Unlock()
			if n != 3 || under != nil {
				return false
			}
		}
		return true
	})
	var g base.Gpid
	for _, f := range c.reps {
		f.mu.Lock()
		if f.moves.most > 1 {
			t.Errorf("%s moved %d at once", f.name, f.moves.most)
		}
		g, _ = base.ParseGpid(f.moves.list[len(f.moves.list)-1].Replica)
		f.mu.Unlock()
	}
	until(t, "who asks for the reason is told", func() bool {
		e := &placement.ExplainResponse{}
		c.ask("RPC_CM_EXPLAIN", &placement.ExplainRequest{AppName: "temp", Partition: g.PartitionIndex}, e)
		return slices.ContainsFunc(e.Partitions, func(p placement.PartitionExplanation) bool {
			return slices.ContainsFunc(p.Events, func(s placement.PartitionEvent) bool {
				return strings.Contains(s.What, "from data directory a to b") && strings.Contains(s.Why, "its share")
			})
		})
	})
	if r := c.query("temp"); len(r.Partitions) != 6 {
		t.Errorf("%+v", r)
	}
}
