package meta

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/meta/cure"
	"pegasus/meta/detector"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// A primary that lost its data is replaced by a secondary, which is chosen under the State's
// lock, while entries are applied.
func TestPrimariesLoseDataUnderLoad(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("full", 8, 3)
	c.whole("full", 3)
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for i := range int32(8) {
		wg.Go(func() {
			for n := 0; time.Now().Before(end) || n < 50; n++ {
				var p layer2.QueryCfgResponse
				if err := c.call(c.metas[0].name, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", rpc.THFT0, &layer2.QueryCfgRequest{AppName: "full", PartitionIndices: []int32{i}}, &p); err != nil {
					t.Errorf("query: %v", err)
					return
				}
				if p.Err != base.ErrOK || p.Partitions[0].Primary == 0 || len(p.Partitions[0].Secondaries) == 0 {
					continue
				}
				q := &metaadmin.ConfigurationUpdateRequest{Config: p.Partitions[0], Type: metaadmin.CT_DOWNGRADE_TO_INACTIVE, Node: p.Partitions[0].Primary}
				q.Config.Ballot++
				var r metaadmin.ConfigurationUpdateResponse
				if err := c.call(c.metas[0].name, "RPC_CM_UPDATE_PARTITION_CONFIGURATION", rpc.THFT0, q, &r); err != nil {
					t.Errorf("update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	var r fd.BeaconAck
	if err := c.call(c.metas[0].name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.THFT0, &fd.BeaconMsg{FromNode: c.reps[0].addr}, &r); err != nil {
		t.Fatalf("beacon: %v", err)
	}
}

// Roles of a dead node that may or may not have been given to others: no beacon of it is
// acknowledged by the leader that doesn't know.
func TestUndecidedChangeKeepsDeadNodesDead(t *testing.T) {
	a := base.RPCAddress(1)<<32 | 1
	for _, v := range []struct {
		name  string
		err   error
		acked bool
	}{
		{"committed", nil, true},
		{"refused", fmt.Errorf("commit: %w", base.ErrForwardToOthers), true},
		{"no room in the queue", fmt.Errorf("commit: %w", base.ErrBusy), true},
		{"leadership lost", fmt.Errorf("commit: %w", base.ErrTimeout), false},
		{"shut down", fmt.Errorf("commit: %w", base.ErrServiceNotActive), false},
	} {
		s := &Server{log: testLog(), ctx: t.Context(), cureOpts: cure.Defaults(), opts: Options{Clock: time.Now}, fsm: newFSM(func(error) {}, func(string) {})}
		s.cfg.FD.Grace = config.Duration(time.Hour)
		l := s.newLeader()
		l.nodes.det.Beacon(0, detector.Beacon{From: a})
		if !l.nodes.det.Died(time.Second, a) {
			t.Fatal("the node doesn't die")
		}
		l.mu.Lock()
		l.nodes.det.Hold(a)
		l.parts.queuePlanned(&cure.Action{Dead: []base.RPCAddress{a}, Change: &state.Change{}}, state.Config{})
		l.mu.Unlock()
		res := state.ChangeResult{Err: base.ErrOK}
		l.parts.changes.take()[0].done(res, v.err)
		if ok := l.servers.beacon(detector.Beacon{From: a}, 0, base.Opt[bool]{}); ok != v.acked {
			t.Errorf("%s: a beacon of the dead node is acknowledged: %v", v.name, ok)
		}
	}
}
