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

	"pegasus/base"
)

// plant makes the calls of the kinds given fail, on paths with part in them, on the disks of all
// nodes that are started from now on, while there is an error to give.
func plant(t *testing.T, part string, kinds ...errorfs.OpKind) *atomic.Pointer[syscall.Errno] {
	t.Helper()
	var now atomic.Pointer[syscall.Errno]
	was := vfs.Default
	t.Cleanup(func() { vfs.Default = was }) // after all nodes are stopped
	vfs.Default = errorfs.Wrap(was, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if e := now.Load(); e != nil && strings.Contains(op.Path, part) && slices.Contains(kinds, op.Kind) {
			return &os.PathError{Op: "planted", Path: op.Path, Err: *e}
		}
		return nil
	}))
	return &now
}

// TestAllFailAndComeBack: what describes a replica can't be written on any node, while roles
// change, for a reason that passes. All nodes are members again by themselves, and nothing was
// moved aside.
func TestAllFailAndComeBack(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EMFILE, syscall.EIO} {
		t.Run(errno.Error(), func(t *testing.T) {
			bad := plant(t, "info.json", errorfs.OpCreate)
			g := newGroup(t, 3)
			g.meta.mu.Lock()
			g.meta.refuseLast = base.ErrInvalidState
			g.meta.mu.Unlock()
			g.mustPut(0, "a", "1")
			bad.Store(&errno)
			n0, n1, n2 := g.nodes[0].srv.Addr(), g.nodes[1].srv.Addr(), g.nodes[2].srv.Addr()
			g.meta.promote(g.gpid, n1, n0, n2)
			until(t, "a replica fails", func() bool {
				n := 0
				for i := range g.nodes {
					n += len(g.nodes[i].srv.brokenReplicas())
				}
				return n > 0 && g.meta.refusals() > 0
			})
			bad.Store(nil)
			for i := range g.nodes {
				until(t, "it is in use again", func() bool {
					r := g.nodes[i].srv.replica(g.gpid)
					return r != nil && r.view.Load().failed == nil
				})
				if n := g.asideOn(i); len(n) > 0 {
					t.Errorf("moved aside: %v", n)
				}
			}
			p := -1
			g.insist("one leads", func() bool {
				p = slices.IndexFunc(g.nodes, func(n *node) bool { return n.srv.Addr() == g.meta.config(g.gpid).Primary })
				return p >= 0 && g.serving(p)
			}, func() {
				if c := g.meta.config(g.gpid); c.Primary.IsZero() && len(c.Secondaries) > 0 {
					g.meta.promote(g.gpid, c.Secondaries[0], c.Secondaries[1:]...)
				}
			})
			for i := range g.nodes {
				if i != p {
					g.add(i)
				}
			}
			g.mustPut(p, "b", "2")
			g.wantGet(p, "a", "1")
			g.same(0, 1, 2)
		})
	}
}

// TestDescriptorsShortAtStart: a server that has too few descriptors while it starts has all its
// replicas once it has enough, though its group did without it meanwhile.
func TestDescriptorsShortAtStart(t *testing.T) {
	bad := plant(t, "store.", errorfs.OpOpen, errorfs.OpCreate, errorfs.OpOpenDir)
	g := newGroup(t, 3)
	g.mustPut(0, "a", "1")
	g.nodes[2].stop()
	short := syscall.EMFILE
	bad.Store(&short)
	g.nodes[2].start()
	if _, broken := g.nodes[2].srv.brokenReplicas()[g.gpid]; !broken {
		t.Fatal("the replica could be opened: the test tests nothing")
	}
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	until(t, "it was tried some times", func() bool { return g.nodes[2].srv.disks.Tries(g.gpid) > 1 })
	bad.Store(nil)
	until(t, "it is in use again", func() bool { return g.nodes[2].srv.replica(g.gpid) != nil })
	if dirs := g.asideOn(2); len(dirs) > 0 {
		t.Errorf("moved aside: %v", dirs)
	}
	g.add(2)
	g.mustPut(0, "b", "2")
	g.same(0, 1, 2)
}
