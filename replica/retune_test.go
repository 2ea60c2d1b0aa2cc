package replica

import (
	"fmt"
	"sync/atomic"
	"testing"

	"pegasus/base/appenv"
	"pegasus/rrdb"
)

// Settings that the engine takes only when it is opened are applied without a restart of the
// server, and without losing a write.
func TestTuningIsApplied(t *testing.T) {
	g := newGroup(t, 2)
	var written, stop atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; stop.Load() == 0; i++ {
			for g.put(0, fmt.Sprintf("k%d", i), "v") != nil && stop.Load() == 0 {
				continue // told to try again
			}
			written.Store(int64(i))
		}
	}()
	for _, envs := range [][]string{
		{appenv.UsageScenario, "bulk_load"},
		{appenv.UsageScenario, "prefer_write", appenv.WriteBufferSize, "33554432"},
		{},
	} {
		g.set(envs...)
		want := map[string]string{}
		for i := 0; i < len(envs); i += 2 {
			want[envs[i]] = envs[i+1]
		}
		for i := range 2 {
			until(t, fmt.Sprintf("node %d has the options of %v", i, envs), func() bool {
				return g.nodes[i].srv.replica(g.gpid).store.Load().Tuning() == rrdb.TuningOf(want)
			})
		}
		n := written.Load()
		until(t, "writes go on", func() bool { return written.Load() > n+20 })
	}
	stop.Store(1)
	<-done
	for i := range written.Load() {
		g.wantGet(0, fmt.Sprintf("k%d", i), "v")
	}
	g.same(0, 1)
	g.set(appenv.UsageScenario, "bulk_load")
	until(t, "it is bulk load", func() bool {
		return g.nodes[0].srv.replica(g.gpid).store.Load().Tuning().Scenario == appenv.BulkLoad
	})
	g.nodes[0].stop()
	g.nodes[0].start()
	if s := g.nodes[0].srv.replica(g.gpid).store.Load().Tuning().Scenario; s != appenv.BulkLoad {
		t.Errorf("after a restart the store has scenario %d", s)
	}
}
