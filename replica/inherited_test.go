package replica

import (
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/pacifica"
)

// A write that waits while a new primary commits what it inherited is evaluated on it.
func TestWaitingWriteSeesWhatWasInherited(t *testing.T) {
	g := newGroupWith(t, 3, func(c *config.Config) {
		// Secondaries hear of a commit by the next write only.
		c.Replica.CommitInterval = config.Duration(time.Minute)
		patient(c) // who starts late on a slow machine stays a member
	})
	incr := func(i int) (int64, error) {
		var res idl.IncrResponse
		err := g.call(i, base.RPCIncr, &idl.IncrRequest{Key: rowKey("n"), Increment: 1}, &res)
		return res.NewValue, err
	}
	for want := int64(1); want <= 3; want++ {
		if got, err := incr(0); err != nil || got != want {
			t.Fatalf("incr: %d, %v, want %d", got, err, want)
		}
	}
	if v := g.view(1); v.Committed == v.Last {
		t.Fatalf("the secondary has nothing prepared beyond its commit point %d", v.Committed)
	}
	// The last increment is prepared on node 1. It can't commit it without node 2.
	next, third := g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
	g.nodes[2].stop()
	g.meta.promote(g.gpid, next, third)
	until(t, "node 1 leads and doesn't serve yet", func() bool { v := g.view(1); return v.Status == pacifica.Primary && !v.Serving })
	type result struct {
		value int64
		err   error
	}
	answer := make(chan result, 1)
	go func() {
		v, err := incr(1)
		answer <- result{v, err}
	}()
	until(t, "the write waits", func() bool {
		n := make(chan int, 1)
		r := g.nodes[1].srv.replica(g.gpid)
		r.post(func(r *driver) { n <- len(r.driver.queue) })
		return <-n > 0
	})
	g.nodes[2].start()
	if a := <-answer; a.err != nil || a.value != 4 {
		t.Errorf("incr at the new primary: %d, %v, want 4", a.value, a.err)
	}
}
