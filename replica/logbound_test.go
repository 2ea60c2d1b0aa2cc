package replica

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
)

// TestLogIsBounded: one partition writes many times what the log may hold, a hundred others
// wrote a little once. The log stays small, and a restart finds every row. Then a learner
// that asks for nothing any more keeps the log from shrinking, but not for ever.
func TestLogIsBounded(t *testing.T) {
	const idle = 100
	meta := newFakeMeta(t, idle+1)
	g := &group{t: t, meta: meta, gpid: base.Gpid{AppID: 1, PartitionIndex: idle}, pool: newGroupPool(t)}
	change := func(c *config.Config) {
		c.Replica.MinReplicas = 1
		c.WAL.Sync = "os" // it's the same with both, and faster
		c.WAL.SegmentBytes, c.WAL.MaxBytes, c.WAL.KeepBytes = 128<<10, 1<<20, 256<<10
		c.WAL.HeldBytes = 5 << 20
		c.Replica.DiskMinSpace = 0 // else what is free on the machine counts, too
		c.Storage.MemtableBytes = 256 << 10
	}
	g.nodes = append(g.nodes, startNodeWith(t, meta, change))
	at := func(p int, f func()) {
		g.gpid.PartitionIndex = int32(p)
		f()
	}
	first := g.nodes[0].srv.Addr()
	for p := range idle + 1 {
		meta.propose(base.Gpid{AppID: 1, PartitionIndex: int32(p)}, metaadmin.CT_ASSIGN_PRIMARY, first, first)
	}
	for p := range idle + 1 {
		at(p, func() {
			g.insist("it is primary", func() bool { return g.serving(0) },
				func() { meta.propose(g.gpid, metaadmin.CT_ASSIGN_PRIMARY, first, first) })
			if p < idle {
				g.mustPut(0, "a", fmt.Sprint(p))
			}
		})
	}
	d := g.nodes[0].srv.disks.All()[0]
	bound := g.nodes[0].cfg.WAL.MaxBytes + 3*g.nodes[0].cfg.WAL.SegmentBytes
	// How far the log outgrows its bound is up to how much is written while replicas flush, so
	// who writes waits there. The log must shrink by itself: nothing is written meanwhile.
	write := func(bytes, bound int64) {
		for n := int64(0); n < bytes; n += 8 << 10 {
			g.mustPut(0, fmt.Sprint("k", n%(1<<20)), string(noise(8<<10, uint64(n))))
			if d.Log().Stats().TotalBytes > bound {
				until(t, "the log shrinks to its bound", func() bool { return d.Log().Stats().TotalBytes <= bound })
			}
		}
	}
	write(6<<20, bound)
	if s := d.Log().Stats(); s.Removed < 10 {
		t.Errorf("nothing left the log: %+v", s)
	}

	// Somebody began a copy and is not heard of any more.
	if code, m := g.askCheckpoint(0, g.nodes[0].srv.meta.Identity, "gone"); code != http.StatusOK || m.ID == "" {
		t.Fatalf("a checkpoint: %d, %v", code, m)
	}
	r := g.nodes[0].srv.replica(g.gpid)
	kept := r.kept
	holder := func() string {
		for _, h := range g.disksOf(0)[0].Holds {
			if h.Replica == g.gpid.String() && strings.Contains(h.Holder, " for gone") {
				return h.Holder
			}
		}
		return ""
	}
	write(1<<20, yieldAt*g.nodes[0].cfg.WAL.MaxBytes+bound)
	until(t, "replica.disks shows who holds the log", func() bool { return holder() != "" })
	name := holder()
	write(6<<20, yieldAt*g.nodes[0].cfg.WAL.MaxBytes+bound)
	if kept.Held(name) {
		t.Error("the log keeps what follows the checkpoint, far beyond its bound")
	}

	// A duplication has more room, which is told; then it has none.
	dup, lost := (handle{r}), make(chan struct{})
	from := dup.HoldLong("duplication", r.dir.Log().State(g.gpid).Last, func() { close(lost) })
	held := g.nodes[0].cfg.WAL.HeldBytes
	write(held*3/4, held)
	if room := dup.LogRoom(); room.Most != held || room.Bytes < held/2 || !room.Oldest || !kept.Held("duplication") || r.dir.Log().State(g.gpid).First > from {
		t.Errorf("%+v; held %v, the log begins at %d, held from %d", room, kept.Held("duplication"), r.dir.Log().State(g.gpid).First, from)
	}
	write(held/2, held+bound)
	until(t, "the holder is told that there is no room", func() bool {
		select {
		case <-lost:
			return true
		default:
			return false
		}
	})
	until(t, "the log is let go", func() bool { return d.Log().Stats().TotalBytes <= bound && !dup.LogRoom().Oldest })

	// An administrator has all of it kept, which doesn't yield.
	if text := g.run(0, "replica.disable-plog-gc", g.gpid.String()); !strings.Contains(text, "disabled") {
		t.Errorf("replica.disable-plog-gc: %s", text)
	}
	from = r.dir.Log().State(g.gpid).First
	for n := range 5 << 20 / (8 << 10) {
		g.mustPut(0, fmt.Sprint("k", n), string(noise(8<<10, uint64(n))))
	}
	r.flushSoon()
	until(t, "the flush has ended", func() bool { return r.flushes.Load() == 0 })
	if st := r.dir.Log().State(g.gpid); st.First > from || !kept.Held(operatorHold) {
		t.Errorf("what was to be kept is gone: the log begins at %d, %d before", st.First, from)
	}
	g.run(0, "replica.enable-plog-gc", g.gpid.String())
	until(t, "the log shrinks", func() bool { r.flushSoon(); return d.Log().Stats().TotalBytes <= bound })

	g.nodes[0].stop()
	g.nodes[0].start()
	for p := range idle {
		at(p, func() {
			until(t, "it serves again", func() bool { return g.serving(0) })
			g.wantGet(0, "a", fmt.Sprint(p))
		})
	}
}

// TestReadsDuringAddition: no read is refused or late while a member is added.
func TestReadsDuringAddition(t *testing.T) {
	g := newGroup(t, 2)
	for i := range 100 {
		g.mustPut(0, fmt.Sprintf("k%d", i), "v")
	}
	g.nodes = append(g.nodes, startNode(t, g.meta))
	stop, ended := make(chan struct{}), make(chan error, 1)
	reads := 0
	go func() {
		for {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := g.read(0, fmt.Sprintf("k%d", reads%100)); err != nil {
				ended <- fmt.Errorf("read %d: %w", reads, err)
				return
			}
			reads++
		}
	}()
	g.add(2)
	until(t, "the new member follows", func() bool { return g.view(2).Committed == g.view(0).Committed })
	close(stop)
	if err := <-ended; err != nil || reads < 10 {
		t.Errorf("%d reads: %v", reads, err)
	}
}

// TestIdleSecondaryApplies: what was written last is on secondaries soon, though nothing is
// written after it.
func TestIdleSecondaryApplies(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	start := time.Now()
	until(t, "both secondaries have applied it", func() bool {
		last := g.view(0).Last
		return g.view(1).applied == last && g.view(2).applied == last
	})
	if d := time.Since(start); d > 20*time.Second { // a second, on a machine that does nothing else
		t.Errorf("it took %v", d)
	}
}
