package replica

import (
	"os"
	"path/filepath"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/pacifica"
	"pegasus/replica/disk"
)

// damagedAlone is a group of one whose log was damaged behind three quarters of its rows, all
// of which were acknowledged. The meta keeps it as the last member.
func damagedAlone(t *testing.T, rows int) *group {
	t.Helper()
	g := newGroupWith(t, 1, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.meta.set(func() { g.meta.refuseLast = base.ErrInvalidState })
	var segs []string
	sizes := func() (n int64) {
		var err error
		if segs, err = filepath.Glob(filepath.Join(g.nodes[0].srv.disks.All()[0].Path, "wal", "*.log")); err != nil || len(segs) != 1 {
			t.Fatalf("segments %v: %v", segs, err)
		}
		return g.nodes[0].srv.disks.All()[0].Log().Stats().TotalBytes
	}
	at := int64(0)
	for i := range rows {
		if i == rows*3/4 {
			at = sizes()
		}
		g.mustPut(0, rowName(i), string(make([]byte, 500)))
	}
	sizes()
	dir := g.nodes[0].srv.disks.All()[0].Path
	left := filepath.Join(t.TempDir(), "left")
	copyDir(t, dir, left) // killed, not stopped: a store that is closed holds everything
	g.nodes[0].stop()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, left, dir)
	f, err := os.OpenFile(segs[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("this is not what was written here"), at+700); err != nil {
		t.Fatal(err)
	}
	g.nodes[0].start()
	return g
}

// TestDamagedLastMemberWaits: the last member of a partition, of which the log is damaged, serves
// nothing by itself, tells the meta what it has left and what it knows to be committed, and goes
// on with all of the log before the damage once somebody accepts that the rest is lost.
func TestDamagedLastMemberWaits(t *testing.T) {
	const rows = 80
	g := damagedAlone(t, rows)
	until(t, "the meta refused twice", func() bool { return g.meta.refusals() > 1 })
	if v := g.view(0); !v.suspect || v.Serving || v.Status != pacifica.Inactive {
		t.Fatalf("it goes on without what it lost: %+v", v)
	}
	if err := g.read(0, rowName(0)); err == nil {
		t.Fatal("it answers a read")
	}
	r, ok := g.meta.reported(g.nodes[0].srv.addr, g.gpid)
	if !ok || r.Status != metadata.PS_ERROR || r.LastPreparedDecree < rows/2 || r.LastPreparedDecree >= r.LastCommittedDecree || r.LastLoggedDecree.V < rows || r.MemberBallot.V < 1 {
		t.Fatalf("the meta is told %+v", r)
	}
	g.meta.set(func() { g.meta.accept = true })
	until(t, "it serves", func() bool { return g.serving(0) })
	for i := range rows * 2 / 3 {
		g.wantGet(0, rowName(i), string(make([]byte, 500)))
	}
	g.mustPut(0, "later", "1")
	// Once accepted it is as good as any.
	g.nodes[0].stop()
	g.meta.set(func() { g.meta.accept = false })
	g.nodes[0].start()
	until(t, "it serves again", func() bool { return g.serving(0) })
	g.wantGet(0, "later", "1")
	g.wantGet(0, rowName(rows/2), string(make([]byte, 500)))
}

// TestPromotedLacksCommitted: a member that the meta makes the primary, and that lacks what the
// meta knows to be committed, doesn't take the role, and says that it can't be used.
func TestPromotedLacksCommitted(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	g.same(0, 1, 2)
	g.meta.set(func() { g.meta.mustHold = g.view(1).Last + 5 })
	g.nodes[0].stop()
	g.meta.promote(g.gpid, g.nodes[1].srv.addr, g.nodes[2].srv.addr)
	until(t, "the meta is told", func() bool {
		r, ok := g.meta.reported(g.nodes[1].srv.addr, g.gpid)
		return ok && r.Status == metadata.PS_ERROR
	})
	if v := g.view(1); v.Serving || !v.suspect {
		t.Errorf("it leads: %+v", v)
	}
	// Another one takes over, and it learns from that.
	g.meta.set(func() { g.meta.mustHold = 0 })
	until(t, "the meta does without it", func() bool { c := g.meta.config(g.gpid); return c.Primary != g.nodes[1].srv.addr })
	g.meta.promote(g.gpid, g.nodes[2].srv.addr)
	until(t, "another one serves", func() bool { return g.serving(2) })
	g.wantGet(2, "a", "1")
	g.meta.propose(g.gpid, metaadmin.CT_ADD_SECONDARY, g.nodes[2].srv.addr, g.nodes[1].srv.addr)
	until(t, "it is a member again", func() bool { return g.view(1).Status == pacifica.Secondary && !g.view(1).suspect })
	g.same(1, 2)
}

// TestMemberSince: a replica notes the ballot at which it was a member last, durably, and tells it.
func TestMemberSince(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	until(t, "both say that they are members", func() bool {
		for i := range 2 {
			r, _ := g.meta.reported(g.nodes[i].srv.addr, g.gpid)
			if r.MemberBallot.V != g.meta.config(g.gpid).Ballot {
				return false
			}
		}
		return true
	})
	name := filepath.Join(g.nodes[1].srv.disks.All()[0].ReplicaPath(g.gpid), "info.json")
	g.nodes[1].stop()
	var info replicaInfo
	if err := disk.ReadJSON(name, &info); err != nil || info.Member != info.Ballot || info.Member == 0 {
		t.Fatalf("%+v: %v", info, err)
	}
}

// TestOldEndIsReplaced: a partition began anew with a replica that lacked what the other had, and
// went on. When the other comes back, what it has more doesn't stay among the new rows.
func TestOldEndIsReplaced(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.MinReplicas = 1 })
	g.mustPut(0, "both", "1")
	g.same(0, 1)
	g.nodes[1].stop()
	g.meta.promote(g.gpid, g.nodes[0].srv.addr)
	until(t, "the first goes on alone", func() bool { return g.serving(0) && len(g.meta.config(g.gpid).Secondaries) == 0 })
	for i := range 5 {
		g.mustPut(0, rowName(i), "of the old end")
	}
	g.nodes[0].stop()
	g.nodes[1].start()
	g.meta.promote(g.gpid, g.nodes[1].srv.addr) // an administrator accepts the loss
	until(t, "the second goes on alone", func() bool { return g.serving(1) })
	for i := range 20 {
		g.mustPut(1, rowName(i+2), "of the new end")
	}
	g.nodes[0].start()
	until(t, "the first is a member again", func() bool {
		g.meta.propose(g.gpid, metaadmin.CT_ADD_SECONDARY, g.nodes[1].srv.addr, g.nodes[0].srv.addr)
		return len(g.meta.config(g.gpid).Secondaries) > 0
	})
	g.same(0, 1)
}
