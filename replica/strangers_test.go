package replica

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/replica/disk"
)

// A server one of whose metas' addresses is another cluster's now asks its other ones, whether it
// meets the stranger at its start or while it runs, and learns no metas from it.
func TestStrangerAmongMetas(t *testing.T) {
	theirs, ours := newFakeMeta(t, 1), newFakeMeta(t, 1)
	theirs.become(version.Newest, "theirs")
	theirs.names = []string{theirs.addr, "127.0.0.1:1"}
	n := startNode(t, ours)
	until(t, "it has the identity", func() bool { return n.srv.meta.Identity.ID() == "ours" })
	n.stop()
	n.cfg.Cluster.MetaServers = []string{theirs.addr, ours.addr}
	n.start()
	until(t, "it finds its own metas behind the stranger", n.srv.meta.Lease.Valid)
	before := theirs.beaconsOf(n.addr)
	ours.setMute(n.addr, true)
	until(t, "it asks the stranger again", func() bool { return theirs.beaconsOf(n.addr) > before })
	ours.setMute(n.addr, false)
	until(t, "it turns away from the stranger", func() bool { return n.srv.meta.Leader() == ours.addr })
	if metas := n.srv.meta.Metas(); len(metas) != 2 {
		t.Errorf("the stranger told it that the metas are %v", metas)
	}
}

// Each replica is compared with what the metas know, not one of each table: a server can have
// a directory of each of two clusters that have a table of the same id.
func TestIdentityComparesEachReplica(t *testing.T) {
	meta := newFakeMeta(t, 1)
	meta.app.CreateSecond = 55
	n := startNode(t, meta)
	first := n.srv.disks.All()[0].Path
	n.stop()
	n.cfg.Replica.DataDirs = append(n.cfg.Replica.DataDirs, first+"2")
	ident := disk.Ident{Format: version.First, Cluster: n.cfg.Cluster.Name, Node: n.cfg.Replica.Listen}
	for path, created := range map[string]int64{first: 77, first + "2": 55} {
		info := replicaInfo{AppName: "temp", AppID: 1, Partitions: 1, MaxReplica: 3, Created: created}
		g := base.Gpid{AppID: 1, PartitionIndex: int32(created)}
		dir := filepath.Join(path, "reps", g.String()+disk.ReplicaSuffix)
		if err := errors.Join(os.MkdirAll(dir, 0o755), disk.WriteJSON(filepath.Join(dir, "info.json"), &info), disk.WriteJSON(disk.IdentName(path), &ident)); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	until(t, "it has compared them", func() bool {
		return n.srv.meta.Identity.Refusal() != "" || n.srv.meta.Identity.ID() != ""
	})
	if id := n.srv.meta.Identity.ID(); id != "" {
		t.Errorf("it took the id %q with a replica of another cluster", id)
	}
}

// What is set aside under a clock that is wrong has its full time when the clock is put right.
func TestTrashIsStampedByTheToldClock(t *testing.T) {
	g := newGroupWith(t, 2, func(c *config.Config) { c.Replica.TrashAge = config.Duration(time.Hour) })
	g.mustPut(0, "a", "1")
	n := g.nodes[1]
	const behind = 30 * 24 * time.Hour
	g.meta.set(func() { g.meta.ahead = behind })
	until(t, "it knows that its clock is wrong", func() bool { return n.srv.meta.Clock.Wrong() != nil })
	g.meta.promote(g.gpid, g.nodes[0].srv.Addr())
	g.meta.set(func() { g.meta.gc = true })
	until(t, "it is set aside", func() bool { return len(dirsOf(t, n, disk.TrashDir)) == 1 })
	list, err := n.srv.disks.All()[0].Trash()
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	if off := time.Since(list[0].When.Add(-behind)).Abs(); off > time.Minute {
		t.Errorf("it is stamped %v off", off)
	}
}
