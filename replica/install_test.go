package replica

import (
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"pegasus/pacifica"
)

// TestCopyThatCannotBeOpened: a checkpoint that was copied whole, and can't be opened for a reason
// that passes, is neither thrown away nor asked for again and again.
func TestCopyThatCannotBeOpened(t *testing.T) {
	bad := plant(t, "store.2", errorfs.OpOpen, errorfs.OpCreate, errorfs.OpOpenDir)
	g := learnGroup(t)
	short := syscall.EMFILE
	bad.Store(&short)
	s := g.nodes[2].srv
	g.insist("the copy can't be opened", func() bool { return s.copies.Counts().Failed > 1 }, func() { g.proposeAdd(2) })
	r := s.replica(g.gpid)
	if n := r.learner.Failures(); n < 2 {
		t.Errorf("%d failures in a row are known: nothing makes the next attempt wait longer", n)
	}
	bad.Store(nil)
	g.add(2)
	g.mustPut(0, "last", "1")
	g.same(0, 1, 2)
	if copied, most := s.copies.Counts().Bytes, int64(60*33<<10); copied > most {
		t.Errorf("%d bytes were copied of a store of less than %d", copied, most)
	}
}

// TestAsideStays: what was moved aside isn't removed by a further attempt to move it.
func TestAsideStays(t *testing.T) {
	g := newGroup(t, 1)
	d := g.nodes[0].srv.disks.All()[0]
	g.nodes[0].stop()
	to, err := d.Quarantine(g.gpid)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.Quarantine(g.gpid); err != nil || again != "" {
		t.Errorf("moved once more, to %q: %v", again, err)
	}
	if _, err := os.Stat(to); err != nil {
		t.Error(err)
	}
}

// plantUnder makes the calls of the kinds given fail under one path, while there is one.
func plantUnder(t *testing.T, errno syscall.Errno, kinds ...errorfs.OpKind) *atomic.Pointer[string] {
	t.Helper()
	var bad atomic.Pointer[string]
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was })
	vfs.Default = errorfs.Wrap(was, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if p := bad.Load(); p != nil && strings.HasPrefix(op.Path, *p) && slices.Contains(kinds, op.Kind) {
			return &os.PathError{Op: "planted", Path: op.Path, Err: errno}
		}
		return nil
	}))
	return &bad
}

// TestFreshReplicaInTheWay: what is left of a replica that could not be made, and not be removed,
// doesn't keep the next attempt from making it.
func TestFreshReplicaInTheWay(t *testing.T) {
	bad := plantUnder(t, syscall.EMFILE, errorfs.OpCreate, errorfs.OpRemoveAll)
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	g.nodes = append(g.nodes, startNode(t, g.meta))
	s := g.nodes[2].srv
	path := s.disks.All()[0].ReplicaPath(g.gpid)
	bad.Store(&path)
	g.insist("something is left of it", func() bool { return s.disks.All()[0].Has(g.gpid) && s.replica(g.gpid) == nil }, func() { g.proposeAdd(2) })
	bad.Store(nil)
	g.add(2)
	g.mustPut(0, "b", "2")
	g.same(0, 1, 2)
}

// TestDiscardedReplicaStays: a replica that nobody needs and that can't be removed is looked after.
func TestDiscardedReplicaStays(t *testing.T) {
	bad := plantUnder(t, syscall.EIO, errorfs.OpRename)
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	s := g.nodes[2].srv
	g.meta.promote(g.gpid, g.nodes[0].srv.Addr(), g.nodes[1].srv.Addr())
	until(t, "it is no member", func() bool { return g.view(2).Status == pacifica.Inactive })
	path := s.disks.All()[0].ReplicaPath(g.gpid)
	bad.Store(&path)
	members{s}.discard(g.gpid, g.view(2), true)
	until(t, "it is known not to be usable", func() bool { _, is := s.brokenReplicas()[g.gpid]; return is })
	bad.Store(nil)
	until(t, "it is in use again, or gone", func() bool { return s.replica(g.gpid) != nil || !s.disks.All()[0].Has(g.gpid) })
	g.add(2)
	g.mustPut(0, "b", "2")
	g.same(0, 1, 2)
}
