package replica

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
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
	s.setMutable(routes)
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
	if _, err := r.Checkpoint(ctx, filepath.Join(t.TempDir(), "late")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
