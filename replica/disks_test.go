package replica

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/faults/hook"
	"pegasus/gen/replicaadmin"
	"pegasus/remotecmd/answer"
	"pegasus/replica/disk"
	"pegasus/replica/wal"
)

// twoDisks is a group of three whose last node, the one that it returns, has two data
// directories. The partition is in the first of them.
func twoDisks(t *testing.T) (*group, *node) {
	t.Helper()
	g := newGroupWith(t, 2, impatient)
	n := startNode(t, g.meta)
	n.stop()
	n.cfg.Replica.DataDirs = append(n.cfg.Replica.DataDirs, filepath.Join(t.TempDir(), "data"))
	n.cfg.Replica.DiskRetry = config.Duration(200e6)
	n.start()
	g.nodes = append(g.nodes, n)
	g.add(2)
	if d := n.srv.replica(g.gpid).dir; d.Dir != n.srv.disks.All()[0] {
		t.Fatalf("the replica is in %s", d.Path)
	}
	return g, n
}

// breakLog makes the disk of d fail for good.
func breakLog(t *testing.T, set func(hook.Control), d *disk.Dir) {
	t.Helper()
	set(hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpSync, hook.OpWrite, hook.OpCreate}, Path: d.Path})
	if err := wal.Wait(func(done func(error)) { d.Log().Reset(base.Gpid{AppID: 9}, 1, done) }); err == nil {
		t.Fatal("the log works")
	}
}

func (g *group) disksOf(i int) (ds []answer.Disk) {
	g.t.Helper()
	g.command(i, &ds, "replica.disks")
	return ds
}

func (g *group) ask(i int, name string, args ...string) string {
	g.t.Helper()
	var res struct {
		Error string `json:"error"`
	}
	g.command(i, &res, name, args...)
	return res.Error
}

// TestAbandonedDisk: what was on a disk that is given up is learned on another disk of the same
// server. If the disk is there again after a restart, the newer of the two is used.
func TestAbandonedDisk(t *testing.T) {
	set := hurtDisks(t)
	g, n := twoDisks(t)
	g.mustPut(0, "a", "1")
	d, tag := n.srv.disks.All()[0], n.srv.disks.All()[0].Tag
	if got := g.ask(2, "replica.disk-abandon", tag); !strings.Contains(got, "works") {
		t.Fatalf("a disk that works is given up: %s", got)
	}
	breakLog(t, set, d)
	g.mustPut(0, "b", "2") // it is acknowledged once the group does without the member
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	if got := g.ask(2, "replica.disk-abandon", tag); got != "ok" {
		t.Fatal(got)
	}
	g.add(2)
	if r := n.srv.replica(g.gpid); r == nil || r.dir.Dir != n.srv.disks.All()[1] {
		t.Fatal("it is not on the other disk")
	}
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
	if ds := g.disksOf(2); ds[0].State != "IO_ERROR" || ds[0].Next != answer.NextAbandoned || ds[0].Replicas != 0 || ds[1].Replicas != 1 || ds[1].Next != "" {
		t.Errorf("%+v", ds)
	}
	for _, again := range []string{"replica.disk-retry", "replica.disk-abandon"} {
		if got := g.ask(2, again, tag); !strings.Contains(got, "given up") {
			t.Errorf("%s afterwards: %s", again, got)
		}
	}

	set(hook.Control{})
	n.stop()
	n.start()
	g.add(2)
	g.mustPut(0, "d", "4")
	g.same(0, 1, 2)
	if r := n.srv.replica(g.gpid); r.dir.Dir != n.srv.disks.All()[1] || n.srv.disks.All()[0].Has(g.gpid) || len(g.asideOn(2)) != 1 {
		t.Errorf("it is in %s; in the other: %t; aside: %v", r.dir.Path, n.srv.disks.All()[0].Has(g.gpid), g.asideOn(2))
	}
}

// TestOnlyDisk: a server without another disk doesn't give one up.
func TestOnlyDisk(t *testing.T) {
	set := hurtDisks(t)
	g := newGroup(t, 2)
	d := g.nodes[1].srv.disks.All()[0]
	breakLog(t, set, d)
	if got := g.ask(1, "replica.disk-abandon", d.Tag); !strings.Contains(got, "no other") {
		t.Error(got)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"x"}} {
		if got := g.ask(1, "replica.disk-retry", args...); !strings.HasPrefix(got, "ERR: ") {
			t.Errorf("%q: %s", args, got)
		}
	}
	set(hook.Control{})
}

// TestReplacedDisk: a disk that failed too often is left alone, and used again when an
// administrator says so, also if it is another one, which is empty.
func TestReplacedDisk(t *testing.T) {
	set := hurtDisks(t)
	g, n := twoDisks(t)
	g.mustPut(0, "a", "1")
	d := n.srv.disks.All()[0]
	if got := g.ask(2, "replica.disk-retry", d.Tag); !strings.Contains(got, "works") {
		t.Errorf("retry of a disk that works: %s", got)
	}
	for range disk.ReviveTimes {
		d.Revived(n.srv.started, false)
	}
	breakLog(t, set, d)
	until(t, "it is left alone", func() bool { return g.disksOf(2)[0].Next == answer.NextOperator })
	g.mustPut(0, "b", "2")
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	if ds := g.disksOf(2); ds[0].Failures != disk.ReviveTimes || ds[0].Broken != 1 || !strings.Contains(ds[0].Error, syscall.EIO.Error()) {
		t.Errorf("%+v", ds)
	}

	set(hook.Control{})
	if err := os.Rename(d.Path, d.Path+".dead"); err != nil {
		t.Fatal(err)
	}
	if got := g.ask(2, "replica.disk-retry", d.Tag); got != "ok" {
		t.Fatal(got)
	}
	until(t, "the disk is used", func() bool { return g.disksOf(2)[0].State == "NORMAL" })
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
	if ds := g.disksOf(2); ds[0].Failures != 1 || ds[0].Next != "" {
		t.Errorf("%+v", ds)
	}
}

// TestTwoDirectories: of one replica in two places neither is used if nothing tells which is
// newer.
func TestTwoDirectories(t *testing.T) {
	g, n := twoDisks(t)
	a, b := n.srv.disks.All()[0].ReplicaPath(g.gpid), n.srv.disks.All()[1].ReplicaPath(g.gpid)
	n.stop()
	copyDir(t, a, b)
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(n.cfg.Replica.Listen))
	if _, err := New(n.cfg, addr, quiet()); err == nil || !strings.Contains(err.Error(), "two data directories") {
		t.Errorf("%v", err)
	}
	if err := os.RemoveAll(b); err != nil {
		t.Fatal(err)
	}
	n.start()
	g.add(2)
	g.same(0, 1, 2)
}

// mountPoint leaves an empty directory where the data directory d was, and returns what mounts it again.
func mountPoint(t *testing.T, d *disk.Dir) (mount func()) {
	t.Helper()
	away := d.Path + ".disk"
	if err := errors.Join(os.Rename(d.Path, away), os.Mkdir(d.Path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if es, err := os.ReadDir(d.Path); err != nil || len(es) > 0 {
			t.Errorf("in the mount point: %v, %v", es, err)
		}
		if err := errors.Join(os.Remove(d.Path), os.Rename(away, d.Path)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnmountedDisk: the group does without what is on a disk that is unmounted, though nobody
// writes, and it is used again once it is mounted.
func TestUnmountedDisk(t *testing.T) {
	g, n := twoDisks(t)
	g.mustPut(0, "a", "1")
	d := n.srv.disks.All()[0]
	mount := mountPoint(t, d)
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	until(t, "the disk is missed", func() bool { return g.disksOf(2)[0].State == "IO_ERROR" })
	if k := g.disksOf(2)[0]; k.Next != answer.NextRetry || !strings.Contains(k.Error, d.Path) || !strings.Contains(k.Error, "mount") {
		t.Errorf("%+v", k)
	}
	g.proposeAdd(2) // and it isn't learned on the other disk
	g.mustPut(0, "b", "2")
	if n.srv.disks.All()[1].Has(g.gpid) {
		t.Error("it is on the other disk")
	}
	mount()
	until(t, "the disk is used", func() bool { return g.disksOf(2)[0].State == "NORMAL" })
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
	if k := g.disksOf(2)[0]; k.Failures != 0 || k.Replicas != 1 || k.Next != "" || n.srv.disks.All()[1].Has(g.gpid) {
		t.Errorf("%+v", k)
	}
}

// TestStartWithoutDisk: a server that is started on the bare mount point of a disk goes on with the
// others, and what is on the disk is used once it is mounted.
func TestStartWithoutDisk(t *testing.T) {
	g, n := twoDisks(t)
	g.mustPut(0, "a", "1")
	n.stop()
	mount := mountPoint(t, &disk.Dir{Path: n.cfg.Replica.DataDirs[0]})
	n.start()
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	if ks := g.disksOf(2); ks[0].State != "IO_ERROR" || !strings.Contains(ks[0].Error, ks[0].Path) || ks[1].State != "NORMAL" {
		t.Errorf("%+v", ks)
	}
	g.mustPut(0, "b", "2")
	mount()
	until(t, "the disk is used", func() bool { return n.srv.replica(g.gpid) != nil })
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
	if ks := g.disksOf(2); ks[0].State != "NORMAL" || ks[0].Replicas != 1 || ks[1].Replicas != 0 {
		t.Errorf("%+v", ks)
	}

	// What was learned on another disk meanwhile stays there; the next start moves the older aside.
	n.stop()
	mount = mountPoint(t, &disk.Dir{Path: n.cfg.Replica.DataDirs[0]})
	n.start()
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	g.add(2)
	mount()
	until(t, "the disk is used", func() bool { return g.disksOf(2)[0].State == "NORMAL" })
	g.mustPut(0, "d", "4")
	g.same(0, 1, 2)
	if ks := g.disksOf(2); ks[0].Replicas != 0 || ks[1].Replicas != 1 {
		t.Errorf("%+v", ks)
	}
	n.stop()
	n.start()
	g.add(2)
	g.same(0, 1, 2)
	if r := n.srv.replica(g.gpid); r.dir.Dir != n.srv.disks.All()[1] || len(g.asideOn(2)) != 1 {
		t.Errorf("it is in %s; aside: %v", r.dir.Path, g.asideOn(2))
	}
}

// TestAddDisk adds data directories to a server that runs; new replicas are made there, also after a
// restart that knows of them by the others alone.
func TestAddDisk(t *testing.T) {
	set := hurtDisks(t)
	g := newGroupWith(t, 2, impatient)
	g.mustPut(0, "a", "1")
	n := startNode(t, g.meta)
	g.nodes = append(g.nodes, n)
	path := filepath.Join(t.TempDir(), "more")
	add := func(text string) (r replicaadmin.AddNewDiskResponse) {
		t.Helper()
		if err := g.call(2, base.RPCAddNewDisk, &replicaadmin.AddNewDiskRequest{DiskStr: text}, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for text, code := range map[string]base.ErrorCode{"": base.ErrInvalidParameters, path: base.ErrInvalidParameters, "d1:" + path: base.ErrNodeAlreadyExist, "x:" + n.srv.disks.All()[0].Path: base.ErrNodeAlreadyExist} {
		if r := add(text); r.Err != code || r.ErrHint.V == "" {
			t.Errorf("%q: %v, %q", text, r.Err, r.ErrHint.V)
		}
	}
	if r := add("more:" + path); r.Err != base.ErrOK {
		t.Fatalf("%v, %q", r.Err, r.ErrHint.V)
	}
	if got := g.ask(2, "replica.disk-add", "again:"+path); !strings.Contains(got, "directory more") {
		t.Error(got)
	}
	breakLog(t, set, n.srv.disks.All()[0]) // so that the replica is made in the new one
	g.add(2)
	if r := n.srv.replica(g.gpid); r.dir.Path != path {
		t.Errorf("the replica is in %s", r.dir.Path)
	}
	g.mustPut(0, "b", "2")
	g.same(0, 1, 2)
	if got := g.ask(2, "replica.disk-add", "again:"+filepath.Join(filepath.Dir(path), "again")); !strings.Contains(got, "remember") {
		t.Error(got)
	}
	set(hook.Control{})
	n.stop()
	n.start()
	g.add(2)
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
	if r, ds := n.srv.replica(g.gpid), g.disksOf(2); r.dir.Path != path || len(ds) != 2 || !ds[1].Added || ds[1].Replicas != 1 {
		t.Errorf("the replica is in %s, the disks are %+v", r.dir.Path, ds)
	}
}
