package replica

import (
	"errors"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/rrdb"
)

// TestWrongClockAtStart: a server that starts with its clock a day ahead, and becomes the
// primary, goes by the meta's: rows with hours to live are there for reads and for writes that
// depend on them, what it writes itself isn't of tomorrow, and nothing is deleted, neither by
// sweeps nor by a manual compaction. When the clock is put right what has expired goes.
func TestWrongClockAtStart(t *testing.T) {
	g := newGroupWith(t, 3, func(c *config.Config) {
		c.Storage.SweepInterval, c.Storage.SweepDelay = config.Duration(20*time.Millisecond), config.Duration(time.Second)
	})
	const day = 24 * time.Hour
	now := rrdb.ExpiryTime(time.Now())
	put := func(i int, key, v string, expire uint32) {
		t.Helper()
		if err := g.call(i, base.RPCPut, &idl.UpdateRequest{Key: rowKey(key), Value: []byte(v), ExpireTsSeconds: int32(expire)}, new(idl.UpdateResponse)); err != nil {
			t.Fatal(err)
		}
	}
	put(0, "lives", "1", now+6*3600)
	put(0, "n", "41", now+6*3600)
	for _, n := range g.nodes {
		if err := n.srv.replica(g.gpid).flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n := g.nodes[1]
	n.stop()
	n.ahead.Store(int64(day))
	n.start()
	g.insist("the server with the wrong clock leads", func() bool { return g.serving(1) },
		func() {
			g.meta.promote(g.gpid, n.addr, g.nodes[0].addr, g.nodes[2].addr)
		})
	if by := n.srv.meta.Clock.Off(); by < day-time.Minute || n.srv.meta.Clock.Wrong() == nil {
		t.Errorf("it thinks that its clock is %v ahead: %v", by, n.srv.meta.Clock.Wrong())
	}
	g.wantGet(1, "lives", "1")
	var res idl.IncrResponse
	if err := g.call(1, base.RPCIncr, &idl.IncrRequest{Key: rowKey("n"), Increment: 1}, &res); err != nil || res.NewValue != 42 {
		t.Errorf("incr: %v, %d", err, res.NewValue)
	}
	put(1, "expires", "1", now-3600)
	store := n.srv.replica(g.gpid).store.Load()
	if at := time.UnixMicro(store.LastTimestamp()); time.Until(at) > time.Hour {
		t.Errorf("its mutations are of %v", at)
	}
	if _, err := store.Sweep(t.Context(), time.Second, 1<<40, nil); !errors.Is(err, rrdb.ErrClock) {
		t.Errorf("sweep: %v", err)
	}
	if err := store.Compact(t.Context(), time.Second); err != nil {
		t.Errorf("compact: %v", err)
	}
	g.wantGet(1, "lives", "1")

	n.ahead.Store(0)
	until(t, "the clock is right again", func() bool { return n.srv.meta.Clock.Wrong() == nil })
	if off := time.Until(n.srv.meta.Clock.Now()); off.Abs() > time.Minute {
		t.Errorf("requests go by a clock that is %v ahead", off)
	}
	if swept, err := store.Sweep(t.Context(), time.Second, 1<<40, nil); err != nil {
		t.Errorf("sweep: %v", err)
	} else {
		t.Logf("swept: %+v", swept)
	}
	g.wantGet(1, "lives", "1")
	g.meta.setClock(true, false)
	until(t, "it hears that the leader's clock is doubted", func() bool { return n.srv.meta.Clock.Wrong() != nil })
	if _, err := store.Sweep(t.Context(), time.Second, 1<<40, nil); !errors.Is(err, rrdb.ErrClock) {
		t.Errorf("sweep while the leader's clock is doubted: %v", err)
	}
}
