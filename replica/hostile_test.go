package replica

import (
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/internal/hostile"
)

// TestHostile: whatever is sent to what a server serves, no handler panics, and a row that was
// there is there.
func TestHostile(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", "1")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range g.nodes {
		s := g.nodes[i].srv
		hostile.Attack(t, hostile.Target{Addr: s.name, Gpid: g.gpid, Names: []string{"app_id", "name", "with_metric_fields", "types", "ids", "attributes", "metrics", "detail", "format",
			"replica.learn_bytes_per_second", "replica.disk_min_available_space_ratio"},
			// What moves replicas is for the metas to say; these say it in their name.
			Spare: []string{base.RPCConfigProposal, base.RPCPacifica, "replica.deny-client"}}, seed+uint64(i), 40)
		if n := s.rpc.Stats().Panics; n > 0 {
			t.Errorf("%d handlers panicked", n)
		}
	}
	until(t, "a row is read", func() bool { return g.read(0, "a") == nil })
	g.wantGet(0, "a", "1")
}
