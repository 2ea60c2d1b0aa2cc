package replica

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/faults/hook"
	"pegasus/replica/wal"
)

// hurtDisks makes the disks of all nodes that are started from now on do what the function
// that it returns is told.
func hurtDisks(t *testing.T) func(hook.Control) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "control")
	h := hook.New(file, func(int64) {})
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was }) // after all nodes are stopped
	vfs.Default = h.FS(was)
	return func(c hook.Control) {
		t.Helper()
		if err := hook.Write(file, c); err != nil {
			t.Fatal(err)
		}
		h.Poll()
	}
}

// TestFullDiskIsLeftBehind fills the disk of a member and makes room again.
func TestFullDiskIsLeftBehind(t *testing.T) {
	set := hurtDisks(t)
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	d := g.nodes[2].srv.disks.All()[0]
	set(hook.Control{Error: "ENOSPC", Ops: []hook.Op{hook.OpWrite, hook.OpCreate}, Path: d.Path})
	g.mustPut(0, "b", "2") // it is acknowledged once the group does without the member
	until(t, "the log failed", func() bool { return errors.Is(d.Log().Failed(), syscall.ENOSPC) })
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	if n := len(g.asideOn(2)); n != 0 {
		t.Errorf("%d directories were moved aside, though nothing is wrong with them", n)
	}
	set(hook.Control{})
	until(t, "the log works again", func() bool { return d.Log().Failed() == nil && g.nodes[2].srv.replica(g.gpid) != nil })
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
}

// TestDiskErrorIsLeftBehind: a disk that had an error, and works again, is used again.
func TestDiskErrorIsLeftBehind(t *testing.T) {
	set := hurtDisks(t)
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	d := g.nodes[2].srv.disks.All()[0]
	for i, ops := range [][]hook.Op{{hook.OpSync}, {hook.OpWrite}} {
		failed := d.Log()
		set(hook.Control{Error: "EIO", Ops: ops, Path: filepath.Join(d.Path, "wal")})
		g.mustPut(0, "b", "2") // it is acknowledged once the group does without the member
		until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
		if err := failed.Failed(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("round %d: the log: %v", i, err)
		}
		set(hook.Control{})
		until(t, "the log works again", func() bool {
			return d.Log() != failed && d.Log().Failed() == nil && g.nodes[2].srv.replica(g.gpid) != nil
		})
		if n := len(g.asideOn(2)); n != 0 {
			t.Errorf("%d directories were moved aside, though nothing is wrong with them", n)
		}
		g.add(2)
		g.mustPut(0, "c", "3")
		g.same(0, 1, 2)
	}
}

// TestDeadDisk: a disk that gives errors for good is told to the meta and not used again. Also
// of a replica that nobody writes to.
func TestDeadDisk(t *testing.T) {
	set := hurtDisks(t)
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	s := g.nodes[2].srv
	d := s.disks.All()[0]
	set(hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpSync, hook.OpWrite, hook.OpCreate}, Path: d.Path})
	// Somebody else's entry.
	if err := wal.Wait(func(done func(error)) { d.Log().Reset(base.Gpid{AppID: 9}, 1, done) }); !errors.Is(err, syscall.EIO) {
		t.Fatalf("write to the log: %v", err)
	}
	failed := d.Log()
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	until(t, "the disk was tried", func() bool {
		return s.disks.Report()[0].Retry > 2*s.cfg.Replica.DiskRetry.D().Seconds() // it waited twice that, and doubled it
	})
	if d.Log() != failed || !d.Has(g.gpid) {
		t.Error("a directory on a dead disk is in use")
	}
	g.mustPut(0, "b", "2")
	g.wantGet(0, "b", "2")
	set(hook.Control{})
}
