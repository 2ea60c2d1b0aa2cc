package meta

import (
	"testing"
	"time"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/internal/hostile"
)

// TestHostile: whatever is sent to what a meta server serves, whether it leads or not, no handler
// panics, and tables are answered for.
func TestHostile(t *testing.T) {
	c := newCluster(t, 2, 3, steady)
	c.mustCreate("temp", 4, 3)
	g := c.whole("temp", 3).Partitions[0].Pid
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, m := range c.metas {
		hostile.Attack(t, hostile.Target{Addr: m.name, Gpid: g, Names: []string{"name", "app_id", "detail", "partition", "with_metric_fields", "types", "ids", "attributes", "metrics", "format", "logging.level"},
			Spare: []string{base.RPCQuorumChange, base.RPCControlMeta}}, seed+uint64(i), 40)
	}
	for _, m := range c.metas {
		if n := m.srv.rpc.Stats().Panics; n > 0 {
			t.Errorf("%d handlers panicked", n)
		}
		select {
		case err := <-m.srv.Failed():
			t.Errorf("%s failed: %v", m.name, err)
		default:
		}
	}
	c.mustCreate("after", 1, 1)
	var q layer2.QueryCfgResponse
	c.ask(base.RPCQueryPartitionConfigByIndex, &layer2.QueryCfgRequest{AppName: "after"}, &q)
	if q.Err != base.ErrOK {
		t.Errorf("%+v", q)
	}
}
