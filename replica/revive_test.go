package replica

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/base"
	"pegasus/faults/hook"
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
	d := g.nodes[2].srv.dirs[0]
	set(hook.Control{Error: "ENOSPC", Ops: []hook.Op{hook.OpWrite, hook.OpCreate}, Path: d.path})
	g.mustPut(0, "b", "2") // it is acknowledged once the group does without the member
	until(t, "the log failed", func() bool { return errors.Is(d.log().Failed(), syscall.ENOSPC) })
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	if n := len(g.asideOn(2)); n != 0 {
		t.Errorf("%d directories were moved aside, though nothing is wrong with them", n)
	}
	set(hook.Control{})
	until(t, "the log works again", func() bool { return d.log().Failed() == nil && g.nodes[2].srv.replica(g.gpid) != nil })
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
}

// TestDiskErrorIsLeftBehind: a disk that had an error, and works again, is used again.
func TestDiskErrorIsLeftBehind(t *testing.T) {
	set := hurtDisks(t)
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	d := g.nodes[2].srv.dirs[0]
	for i, ops := range [][]hook.Op{{hook.OpSync}, {hook.OpWrite}} {
		failed := d.log()
		set(hook.Control{Error: "EIO", Ops: ops, Path: filepath.Join(d.path, "wal")})
		g.mustPut(0, "b", "2") // it is acknowledged once the group does without the member
		until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
		if err := failed.Failed(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("round %d: the log: %v", i, err)
		}
		set(hook.Control{})
		until(t, "the log works again", func() bool {
			return d.log() != failed && d.log().Failed() == nil && g.nodes[2].srv.replica(g.gpid) != nil
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
	d := s.dirs[0]
	set(hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpSync, hook.OpWrite, hook.OpCreate}, Path: d.path})
	// Somebody else's entry.
	if err := wait(func(done func(error)) { d.log().Reset(base.Gpid{AppID: 9}, 1, done) }); !errors.Is(err, syscall.EIO) {
		t.Fatalf("write to the log: %v", err)
	}
	failed := d.log()
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	until(t, "the disk was tried", func() bool {
		d.revivalMu.Lock()
		defer d.revivalMu.Unlock()
		return d.revival.wait >= 4*s.cfg.Replica.DiskRetry.D()
	})
	if d.log() != failed || !d.has(g.gpid) {
		t.Error("a directory on a dead disk is in use")
	}
	g.mustPut(0, "b", "2")
	g.wantGet(0, "b", "2")
	set(hook.Control{})
}

func TestFlappingDiskIsLeftAlone(t *testing.T) {
	v, now := revival{}, time.Now()
	for i := range reviveTimes {
		if !v.failed(now, time.Second) || v.wait != time.Second<<i {
			t.Fatalf("failure %d: %+v", i, v)
		}
		if v.due(now) || !v.due(now.Add(v.wait)) {
			t.Errorf("failure %d: due at the wrong time: %+v", i, v)
		}
		now = now.Add(time.Minute)
		v.revived(now)
	}
	late := v
	if v.failed(now, time.Second) || v.due(now.Add(24*time.Hour)) {
		t.Errorf("a disk that failed %d times is tried again: %+v", reviveTimes+1, v)
	}
	if now = now.Add(reviveWindow); !late.failed(now, time.Second) || late.wait > 2*time.Second {
		t.Errorf("an hour later: %+v", late)
	}
}

func TestProbe(t *testing.T) {
	set := hurtDisks(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := probe(dir); err != nil {
		t.Fatal(err)
	}
	for _, op := range []hook.Op{hook.OpRead, hook.OpWrite, hook.OpSync, hook.OpCreate} {
		set(hook.Control{Error: "EIO", Ops: []hook.Op{op}, Path: dir})
		if err := probe(dir); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s fails: %v", op, err)
		}
	}
	set(hook.Control{})
	if es, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(es) > 0 {
		t.Errorf("left behind: %v, %v", es, err)
	}
}
