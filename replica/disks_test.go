package replica

import (
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
)

// twoDisks is a group of three whose last node, the one that it returns, has two data
// directories. The partition is in the first of them.
func twoDisks(t *testing.T) (*group, *node) {
	t.Helper()
	g := newGroup(t, 2)
	n := startNode(t, g.meta)
	n.stop()
	n.cfg.Replica.DataDirs = append(n.cfg.Replica.DataDirs, filepath.Join(t.TempDir(), "data"))
	n.cfg.Replica.DiskRetry = config.Duration(200e6)
	n.start()
	g.nodes = append(g.nodes, n)
	g.add(2)
	if d := n.srv.replica(g.gpid).dir; d != n.srv.dirs[0] {
		t.Fatalf("the replica is in %s", d.path)
	}
	return g, n
}

// breakLog makes the disk of d fail for good.
func breakLog(t *testing.T, set func(hook.Control), d *dataDir) {
	t.Helper()
	set(hook.Control{Error: "EIO", Ops: []hook.Op{hook.OpSync, hook.OpWrite, hook.OpCreate}, Path: d.path})
	if err := wait(func(done func(error)) { d.log().Reset(base.Gpid{AppID: 9}, 1, done) }); err == nil {
		t.Fatal("the log works")
	}
}

func (g *group) disksOf(i int) (ds []Disk) {
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
	d, tag := n.srv.dirs[0], n.srv.dirs[0].tag
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
	if r := n.srv.replica(g.gpid); r == nil || r.dir != n.srv.dirs[1] {
		t.Fatal("it is not on the other disk")
	}
	g.mustPut(0, "c", "3")
	g.same(0, 1, 2)
	if ds := g.disksOf(2); ds[0].State != "IO_ERROR" || ds[0].Next != nextAbandoned || ds[0].Replicas != 0 || ds[1].Replicas != 1 || ds[1].Next != "" {
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
	if r := n.srv.replica(g.gpid); r.dir != n.srv.dirs[1] || n.srv.dirs[0].has(g.gpid) || len(g.asideOn(2)) != 1 {
		t.Errorf("it is in %s; in the other: %t; aside: %v", r.dir.path, n.srv.dirs[0].has(g.gpid), g.asideOn(2))
	}
}

// TestOnlyDisk: a server without another disk doesn't give one up.
func TestOnlyDisk(t *testing.T) {
	set := hurtDisks(t)
	g := newGroup(t, 2)
	d := g.nodes[1].srv.dirs[0]
	breakLog(t, set, d)
	if got := g.ask(1, "replica.disk-abandon", d.tag); !strings.Contains(got, "no other") {
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
	d := n.srv.dirs[0]
	if got := g.ask(2, "replica.disk-retry", d.tag); !strings.Contains(got, "works") {
		t.Errorf("retry of a disk that works: %s", got)
	}
	d.revivalMu.Lock()
	for range reviveTimes {
		d.revival.revived(n.srv.started)
	}
	d.revivalMu.Unlock()
	breakLog(t, set, d)
	until(t, "it is left alone", func() bool { return g.disksOf(2)[0].Next == nextOperator })
	g.mustPut(0, "b", "2")
	until(t, "the group does without it", func() bool { return len(g.meta.config(g.gpid).Secondaries) == 1 })
	if ds := g.disksOf(2); ds[0].Failures != reviveTimes || ds[0].Broken != 1 || !strings.Contains(ds[0].Error, syscall.EIO.Error()) {
		t.Errorf("%+v", ds)
	}

	set(hook.Control{})
	if err := os.Rename(d.path, d.path+".dead"); err != nil {
		t.Fatal(err)
	}
	if got := g.ask(2, "replica.disk-retry", d.tag); got != "ok" {
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
	a, b := n.srv.dirs[0].replicaPath(g.gpid), n.srv.dirs[1].replicaPath(g.gpid)
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
