package replica

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"pegasus/faults/hook"
)

// TestFullDiskIsLeftBehind fills the disk of a member and makes room again.
func TestFullDiskIsLeftBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "control")
	h := hook.New(file, func(int64) {})
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was }) // after all nodes are stopped
	vfs.Default = h.FS(was)
	set := func(c hook.Control) {
		t.Helper()
		if err := hook.Write(file, c); err != nil {
			t.Fatal(err)
		}
		h.Poll()
	}

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
