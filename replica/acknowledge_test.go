package replica

import (
	"bytes"
	"context"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	idl "pegasus/gen/rrdb"
	"pegasus/pacifica"
)

// TestNotAcknowledgedByTooFew: both secondaries are ejected while writes are under way. They
// are committed, by the primary alone, and nobody is told that they are done.
func TestNotAcknowledgedByTooFew(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	var deaf atomic.Bool
	g.nodes[0].srv.hooks.Store(&roundHooks{lose: func(_ *replica, m pacifica.Message) bool { return deaf.Load() && m.Type == pacifica.MsgAck }})
	committed := g.view(0).Committed
	deaf.Store(true)
	put, incr := make(chan error, 1), make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		put <- g.callWith(ctx, 0, base.RPCPut, &idl.UpdateRequest{Key: rowKey("b"), Value: []byte("2")}, new(idl.UpdateResponse))
	}()
	// Until the first one has been tried, so that both are under way.
	until(t, "the put is under way", func() bool { return g.view(0).Last > committed })
	ictx, icancel := context.WithCancel(ctx)
	defer icancel()
	go func() {
		incr <- g.callWith(ictx, 0, base.RPCIncr, &idl.IncrRequest{Key: rowKey("n"), Increment: 1}, new(idl.IncrResponse))
	}()
	until(t, "the primary is alone and has applied both", func() bool {
		v := g.view(0)
		return len(v.Config.Secondaries) == 0 && v.applied >= committed+2
	})
	if err := <-put; base.CodeOf(err) != base.ErrTimeout {
		t.Errorf("a put that one replica holds was answered %v", err)
	}
	// To repeat an increment isn't harmless, so it gets no answer at all: the next request of the
	// same connection is answered first.
	if err := g.put(0, "c", "3"); base.CodeOf(err) != base.ErrNotEnoughMember {
		t.Errorf("a put to a group of one was answered %v", err)
	}
	select {
	case err := <-incr:
		t.Errorf("an increment that one replica holds was answered %v", err)
	default:
	}
	icancel()
	<-incr
	// With two members there are answers again.
	deaf.Store(false)
	g.add(1)
	until(t, "writes are taken", func() bool { return g.put(0, "b", "2") == nil })
	g.wantGet(0, "b", "2")
	g.add(2)
	g.same(0, 1, 2)
}

// TestLearnerOfOldEntry: an entry in the log is larger than what servers take by now. Who needs
// it gets a checkpoint.
func TestLearnerOfOldEntry(t *testing.T) {
	frame := int64(64 << 20)
	change := func(c *config.Config) {
		c.RPC.MaxFrameBytes, c.Replica.MinReplicas, c.Replica.MaxWriteBytes = frame, 1, 0
	}
	g := newGroupWith(t, 1, change)
	g.mustPut(0, "a", "1")
	g.mustPut(0, "b", string(bytes.Repeat([]byte("v"), 1<<20)))
	g.mustPut(0, "c", "3")
	g.nodes[0].stop()
	frame = 256 << 10
	g.nodes[0].cfg.RPC.MaxFrameBytes = frame
	g.nodes[0].start()
	until(t, "the primary serves again", func() bool { return g.serving(0) })
	g.nodes = append(g.nodes, startNodeWith(t, g.meta, change))
	g.add(1)
	g.mustPut(0, "d", "4")
	g.same(0, 1)
	if n := g.view(1).info.Store; n != 2 {
		t.Errorf("the learner's store is number %d: it didn't come from a checkpoint", n)
	}
}
