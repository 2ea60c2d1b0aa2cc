package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pegasus/base"
	"pegasus/replica/disk"
	"pegasus/rrdb"
)

// fail takes node i's replica out of service.
func (g *group) fail(i int, err error) {
	g.t.Helper()
	r := g.nodes[i].srv.replica(g.gpid)
	r.post(func(r *driver) { r.fail(fmt.Errorf("planted: %w", err)) })
	until(g.t, "the meta does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == len(g.nodes)-2 })
	until(g.t, "it is no longer in the way", func() bool {
		now := g.nodes[i].srv.replica(g.gpid)
		return now != r
	})
}

func (g *group) asideOn(i int) []string {
	g.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(g.nodes[i].srv.disks.All()[0].Path, "reps", "*"+disk.AsideSuffix))
	if err != nil {
		g.t.Fatal(err)
	}
	return dirs
}

func TestDamagedReplicaIsMovedAside(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	for round := range 2 {
		g.fail(2, rrdb.ErrCorrupt)
		until(t, "it is moved aside", func() bool { return len(g.asideOn(2)) == 1 && !g.nodes[2].srv.disks.All()[0].Has(g.gpid) })
		g.add(2)
		g.mustPut(0, "b", fmt.Sprint(round))
		g.same(0, 1, 2)
	}
	// A restart takes what was moved aside for nothing.
	g.nodes[2].stop()
	g.nodes[2].start()
	g.mustPut(0, "c", "1")
	if n := len(g.asideOn(2)); n != 1 {
		t.Errorf("%d directories are aside, want 1", n)
	}
}

func TestReplicaOfARecoveredDiskIsOpenedAgain(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	g.fail(2, syscall.ENOSPC)
	until(t, "it is opened again", func() bool { return g.nodes[2].srv.replica(g.gpid) != nil })
	if dirs := g.asideOn(2); len(dirs) != 0 {
		t.Errorf("moved aside: %v", dirs)
	}
	g.add(2)
	g.mustPut(0, "b", "1")
	g.same(0, 1, 2)
}

// TestUnreadableReplicaIsMovedAside has a store that can't be opened at the start.
func TestUnreadableReplicaIsMovedAside(t *testing.T) {
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	path := g.nodes[2].srv.replica(g.gpid).path
	g.nodes[2].stop()
	manifests, err := filepath.Glob(filepath.Join(path, "store.*", "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("manifests: %v, %v", manifests, err)
	}
	for _, m := range manifests {
		if err := os.WriteFile(m, []byte("garbage"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g.nodes[2].start()
	until(t, "it is moved aside", func() bool { return len(g.asideOn(2)) == 1 })
	if d := g.asideOn(2)[0]; !strings.Contains(d, g.gpid.String()+".") {
		t.Errorf("moved to %s", d)
	}
	g.add(2)
	g.mustPut(0, "b", "1")
	g.same(0, 1, 2)
}

// TestLastCopyIsNotMoved: the meta refuses to do without the last member.
func TestLastCopyIsNotMoved(t *testing.T) {
	g := newGroup(t, 1)
	g.meta.mu.Lock()
	g.meta.refuseLast = base.ErrInvalidState
	g.meta.mu.Unlock()
	r := g.nodes[0].srv.replica(g.gpid)
	r.post(func(r *driver) { r.fail(fmt.Errorf("planted: %w", rrdb.ErrCorrupt)) })
	until(t, "the meta was asked", func() bool { return g.meta.refusals() > 2 })
	if len(g.asideOn(0)) != 0 || !g.nodes[0].srv.disks.All()[0].Has(g.gpid) {
		t.Errorf("the last copy was moved to %v", g.asideOn(0))
	}
}
