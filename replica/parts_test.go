package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/httpapi"
	"pegasus/pacifica"
	"pegasus/replica/part"
	"pegasus/rpc"
	"pegasus/rrdb"
)

// partOf returns the part of that type of a server.
func partOf[P part.Part](s *Server) P {
	for _, p := range s.parts {
		if p, ok := p.(P); ok {
			return p
		}
	}
	panic("the server has no such part")
}

// What can be changed while the server runs is this, and each key exists.
func TestMutableKeys(t *testing.T) {
	g := newGroup(t, 1)
	s := g.nodes[0].srv
	routes := part.NewRoutes(rpc.NewMux(s.log), httpapi.NewRouter())
	for _, p := range s.parts {
		p.Register(routes)
	}
	c := config.Default()
	for k, apply := range routes.Mutable() {
		if c.Value(k) == nil {
			t.Errorf("there is no key %s", k)
			continue
		}
		apply(c)
	}
}

// What a part may do with a replica: see it, write, read what was written from the log, keep the
// log from there on, and copy the store.
func TestReplicaOfPart(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	h := host{g.nodes[0].srv}
	if _, ok := h.Replica(base.Gpid{AppID: 99}); ok || len(h.Replicas()) != 1 || h.Name() == "" || h.Log() == nil || h.Now().IsZero() {
		t.Fatalf("host: %d replicas, name %q", len(h.Replicas()), h.Name())
	}
	r, ok := h.Replica(g.gpid)
	if !ok || r.Gpid() != g.gpid {
		t.Fatal("the replica isn't found")
	}
	before := r.View()
	if before.Role != pacifica.Primary || !before.Usable || before.AppName == "" || before.Partitions == 0 {
		t.Fatalf("%+v", before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	op := rrdb.Op{Key: rowKey("part"), Value: []byte("v")}
	if err := r.Propose(ctx, func(p []byte) ([]byte, error) { return rrdb.AppendOp(p, op), nil }); err != nil {
		t.Fatal(err)
	}
	mistake := errors.New("not this")
	if err := r.Propose(ctx, func(p []byte) ([]byte, error) { return rrdb.AppendOp(p, op), mistake }); !errors.Is(err, mistake) {
		t.Errorf("%v", err)
	}
	after := r.View()
	if after.Applied != before.Committed+1 {
		t.Errorf("applied %d after %d", after.Applied, before.Committed)
	}
	es, err := r.ReadLog(after.Applied, 1)
	if err != nil || len(es) != 1 || !bytes.Contains(es[0].Payload, []byte("part")) {
		t.Errorf("%d entries, %v", len(es), err)
	}
	if d, err := r.Checkpoint(ctx, filepath.Join(t.TempDir(), "copy")); err != nil || d < after.Applied {
		t.Errorf("checkpoint of decree %d: %v", d, err)
	}
	for range 5 {
		if err := r.Propose(ctx, func(p []byte) ([]byte, error) { return rrdb.AppendOp(p, op), nil }); err != nil {
			t.Fatal(err)
		}
	}
	real := g.nodes[0].srv.replica(g.gpid)
	until(t, "the log lets go", func() bool { return real.ticks.Load() > 1 })
	kept := func() int64 {
		if err := real.flush(ctx); err != nil {
			t.Fatal(err)
		}
		real.retain()
		done := make(chan struct{})
		real.post(func(r *driver) { close(done) })
		<-done
		return real.dir.Log().State(g.gpid).Retention + 1
	}
	r.Hold("a test", after.Applied)
	if d := kept(); d != after.Applied {
		t.Errorf("the log is kept from decree %d on, %d is held", d, after.Applied)
	}
	r.Release("a test")
	if d := kept(); d <= after.Applied {
		t.Errorf("the log is kept from decree %d on, and nobody holds it", d)
	}
	cancel()
	last := r.View().Prepared
	if err := r.Propose(ctx, func(p []byte) ([]byte, error) { return rrdb.AppendOp(p, op), nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	done := make(chan struct{})
	real.post(func(*driver) { close(done) })
	<-done
	if now := r.View().Prepared; now != last {
		t.Errorf("decree %d was proposed after its caller had gone", now)
	}
	if _, err := r.Checkpoint(ctx, filepath.Join(t.TempDir(), "late")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A part that comes late with a replica, which is closed, or whose server is, gets an error and
// nothing worse.
func TestClosedReplicaOfPart(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "a", "1")
	h := host{g.nodes[0].srv}
	r, ok := h.Replica(g.gpid)
	if !ok {
		t.Fatal("the replica isn't found")
	}
	use := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if r.Gpid() != g.gpid || r.View().AppName == "" {
			t.Errorf("%v: %+v", r.Gpid(), r.View())
		}
		if err := r.Propose(ctx, func([]byte) ([]byte, error) {
			t.Error("a closed replica asks for a write")
			return nil, nil
		}); err == nil || ctx.Err() != nil {
			t.Errorf("propose: %v", err)
		}
		if _, err := r.Checkpoint(ctx, filepath.Join(t.TempDir(), "copy")); err == nil {
			t.Error("checkpoint of a closed replica")
		}
		_, err := r.ReadLog(1, 1000)
		t.Log(err)
		if first := r.Hold("late", 1); first < 1 {
			t.Errorf("hold from %d", first)
		}
		r.HoldWhileRoom("later", 1, func() {})
		r.Release("late")
		r.Release("later")
	}
	g.nodes[0].stop()
	use()
	if _, ok := h.Replica(g.gpid); ok || len(h.Replicas()) != 0 {
		t.Error("a closed server has replicas")
	}
}

// holder is a part that holds the log of each replica from a decree on, in each tick.
type holder struct {
	part.Quiet
	host  part.Host
	first atomic.Int64 // the lowest decree that was kept when it was held first
}

func (h *holder) Tick(time.Time) {
	for _, r := range h.host.Replicas() {
		h.first.CompareAndSwap(0, r.Hold("a test", 5))
	}
}

// TestHeldOverRestart: a part that holds the log in each tick has lost nothing when the server was
// restarted, although nobody remembered, and the store needs none of it.
func TestHeldOverRestart(t *testing.T) {
	g := newGroupWith(t, 1, func(c *config.Config) {
		c.Replica.MinReplicas = 1
		c.WAL.SegmentBytes, c.WAL.MaxBytes, c.WAL.KeepBytes = 64<<10, 256<<10, 0
	})
	n := g.nodes[0]
	r := n.srv.replica(g.gpid)
	(&holder{host: host{n.srv}}).Tick(time.Now())
	for i := range 100 {
		g.mustPut(0, fmt.Sprintf("k%d", i), string(make([]byte, 10<<10)))
	}
	r.flushSoon()
	until(t, "the store has all", func() bool { return r.store.Load().LastFlushed() >= 100 && r.flushes.Load() == 0 })
	n.stop()

	l, err := net.Listen("tcp4", n.cfg.Replica.Listen)
	if err != nil {
		t.Fatal(err)
	}
	if n.srv, err = New(n.cfg, l.Addr(), quiet()); err != nil {
		t.Fatal(err)
	}
	h := &holder{host: host{n.srv}}
	n.srv.parts = slices.Insert(n.srv.parts, len(n.srv.parts)-1, part.Part(h))
	n.srv.replica(g.gpid).flushSoon() // as a log that is over its bound asks for
	n.end = make(chan error, 1)
	go func() { n.end <- n.srv.Serve(l) }()
	until(t, "it is held again", func() bool { return h.first.Load() > 0 })
	until(t, "the log was told", func() bool { return n.srv.replica(g.gpid).ticks.Load() > 3 })
	if first := h.first.Load(); first != 5 {
		t.Errorf("the log begins with decree %d", first)
	}
	if es, err := n.srv.replica(g.gpid).dir.Log().Read(g.gpid, 5, 100); err != nil || len(es) == 0 || es[0].Decree != 5 {
		t.Errorf("%d entries, %v", len(es), err)
	}
}
