package replica

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pegasus/base/config"
	"pegasus/replica/disk"
)

// A replica that the meta has no use for is set aside with all that it had, and goes when its time
// is over.
func TestUnusedReplicaIsSetAside(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	n := g.nodes[1]
	until(t, "the second has applied it", func() bool { return g.view(1).applied > 0 })
	g.meta.promote(g.gpid, g.nodes[0].srv.Addr())
	until(t, "the second is no member", func() bool { return !g.nodes[1].srv.replica(g.gpid).look().Serving })
	g.meta.mu.Lock()
	g.meta.gc = true
	g.meta.mu.Unlock()
	until(t, "it is set aside", func() bool { return n.srv.replica(g.gpid) == nil && len(dirsOf(t, n, disk.TrashDir)) == 1 })
	g.meta.mu.Lock()
	g.meta.gc = false
	g.meta.mu.Unlock()
	name := dirsOf(t, n, disk.TrashDir)[0]
	if !strings.HasPrefix(name, g.gpid.String()+".") || !strings.HasSuffix(name, ".unused") {
		t.Errorf("it is called %s", name)
	}
	d := n.srv.disks.All()[0]
	list, err := d.Trash()
	if err != nil || len(list) != 1 {
		t.Fatalf("%d are left, %v", len(list), err)
	}
	if bytes, err := list[0].Bytes(); bytes == 0 || err != nil {
		t.Errorf("it has %d bytes: %v", bytes, err)
	}
	// The way back.
	n.stop()
	if err := os.Rename(filepath.Join(d.Path, disk.TrashDir, name), d.ReplicaPath(g.gpid)); err != nil {
		t.Fatal(err)
	}
	n.start()
	if v := n.srv.replica(g.gpid).look(); v.applied == 0 {
		t.Errorf("it comes back with nothing: %+v", v)
	}
	g.add(1)
	g.same(0, 1)
}

// What is kept can be switched off.
func TestTrashCanBeOff(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.TrashAge = 0 })
	g.mustPut(0, "a", "1")
	n := g.nodes[1]
	g.meta.promote(g.gpid, g.nodes[0].srv.Addr())
	g.meta.mu.Lock()
	g.meta.gc = true
	g.meta.mu.Unlock()
	until(t, "it is removed", func() bool { return n.srv.replica(g.gpid) == nil && len(dirsOf(t, n, "reps")) == 0 })
	if names := dirsOf(t, n, disk.TrashDir); len(names) != 0 {
		t.Errorf("the trash has %v", names)
	}
}
