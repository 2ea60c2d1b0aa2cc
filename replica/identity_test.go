package replica

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/metaadmin"
	"pegasus/pacifica"
	"pegasus/replica/disk"
	"pegasus/replica/metalink"
	"pegasus/rpc"
)

// dirsOf are the names in a data directory's folder.
func dirsOf(t *testing.T, n *node, folder string) (names []string) {
	t.Helper()
	es, err := os.ReadDir(filepath.Join(n.cfg.Replica.DataDirs[0], folder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

// A server whose meta servers are suddenly those of another cluster, which has no use for what is
// here, keeps all of it, serves nothing, and goes on when they are its own again.
func TestForeignMetaIsNotObeyed(t *testing.T) {
	g := newGroupWith(t, 2, brief)
	g.mustPut(0, "a", "1")
	g.meta.mu.Lock()
	parts := g.meta.parts
	g.meta.parts, g.meta.gc = nil, true
	g.meta.mu.Unlock()
	g.meta.become(version.Newest, "theirs")
	for _, n := range g.nodes {
		until(t, "the lease runs out", func() bool { return !n.srv.meta.Lease.Valid() })
		n.stop()
		n.start()
	}
	for i, n := range g.nodes {
		until(t, "it says why it doesn't obey", func() bool {
			why := n.srv.meta.Identity.Refusal()
			return strings.Contains(why, "id ours") && strings.Contains(why, "theirs")
		})
		if err := n.srv.meta.Sync(t.Context(), false); !errors.Is(err, base.ErrClusterNotFound) {
			t.Errorf("config sync: %v", err)
		}
		if reps, trash := dirsOf(t, n, "reps"), dirsOf(t, n, disk.TrashDir); len(reps) != 1 || len(trash) != 0 {
			t.Errorf("node %d has %v, and in its trash %v", i, reps, trash)
		}
		if err := g.read(i, "a"); err == nil {
			t.Errorf("node %d serves", i)
		}
	}
	g.meta.mu.Lock()
	g.meta.parts, g.meta.gc = parts, false
	g.meta.mu.Unlock()
	g.meta.become(version.Newest, "ours")
	until(t, "they serve again", func() bool { return g.put(0, "b", "2") == nil })
	g.wantGet(0, "a", "1")
}

// ofCluster is the identity of a server that has no data directories.
type ofCluster string

func (c ofCluster) Cluster() (string, version.Version) { return string(c), version.Newest }
func (c ofCluster) Said() (id, by, lacks string)       { return string(c), "", "" }
func (c ofCluster) Keep(string, version.Version) error {
	return errors.New("there is nowhere to keep it")
}

// A message or a request for a checkpoint of a server of another cluster changes nothing, though
// address, partition and ballot fit.
func TestStrangersMessages(t *testing.T) {
	g := newGroup(t, 2)
	g.mustPut(0, "a", "1")
	n := g.nodes[1].srv
	before := g.view(1)
	m := pacifica.Message{Type: pacifica.MsgPrepare, Role: pacifica.Secondary, From: g.nodes[0].srv.addr, To: n.addr, Ballot: before.Ballot + 5, Prev: before.Last, Commit: before.Last,
		Entries: []pacifica.Entry{{Decree: before.Last + 1, Ballot: before.Ballot + 5, Payload: []byte("x")}}}
	for _, tag := range []uint64{0, metalink.NewIdentity(ofCluster("theirs")).Tag()} {
		if err := g.message(1, tag, m); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both are refused", func() bool { return n.meta.Identity.Strangers() == 2 })
	if now := g.view(1); now.Ballot != before.Ballot || now.Last != before.Last {
		t.Errorf("a stranger's message changed ballot %d to %d, decree %d to %d", before.Ballot, now.Ballot, before.Last, now.Last)
	}
	theirs, nobody := metalink.NewIdentity(ofCluster("theirs")), metalink.NewIdentity(ofCluster(""))
	for _, id := range []*metalink.Identity{nobody, theirs} {
		if code, m := g.askCheckpoint(0, id, "one"); code != http.StatusForbidden {
			t.Errorf("a stranger asks for a checkpoint: %d, %v", code, m)
		}
	}
	g.nodes[0].srv.meta.Identity.AdmitUnmarked(time.Minute) // it still takes who doesn't say
	if code, m := g.askCheckpoint(0, nobody, "one"); code != http.StatusOK || len(m.Files) == 0 {
		t.Errorf("who has no identity yet, while the source allows it: %d, %v", code, m)
	}
}

// versionOf is the version of the cluster as a server's data directories say it.
func versionOf(s *Server) version.Version {
	_, v := s.disks.Cluster()
	return v
}

// Servers of before there was an identity take the one that the metas make, and the group goes
// on meanwhile.
func TestIdentityIsAdopted(t *testing.T) {
	meta := newFakeMeta(t, 1)
	meta.become(version.First, "")
	g := &group{t: t, meta: meta, gpid: base.Gpid{AppID: 1}, pool: newGroupPool(t)}
	for range 2 {
		g.nodes = append(g.nodes, startNode(t, meta))
	}
	first := g.nodes[0].srv.Addr()
	g.insist("the first node is primary", func() bool { return g.meta.config(g.gpid).Primary == first && g.serving(0) },
		func() { g.meta.propose(g.gpid, metaadmin.CT_ASSIGN_PRIMARY, first, first) })
	g.add(1)
	g.mustPut(0, "a", "1")
	for _, n := range g.nodes {
		if id := n.srv.meta.Identity.ID(); id != "" || versionOf(n.srv) != version.First {
			t.Fatalf("before: id %q", id)
		}
	}
	meta.become(version.Newest, "ours")
	for i, n := range g.nodes {
		until(t, "it has the identity", func() bool { return n.srv.meta.Identity.ID() == "ours" })
		g.mustPut(0, "b", "2")
		var id disk.Ident
		if err := disk.ReadJSON(disk.IdentName(n.srv.disks.All()[0].Path), &id); err != nil || id.ID != "ours" || id.Format != version.Newest {
			t.Errorf("node %d: %+v %v", i, id, err)
		}
	}
	n := g.nodes[1]
	n.stop()
	n.start()
	if id := n.srv.meta.Identity.ID(); id != "ours" || n.srv.meta.Identity.Admits(0) {
		t.Errorf("after a restart: id %q", id)
	}
	g.add(1)
	g.same(0, 1)
}

// A server without an identity that holds what the metas don't know takes theirs not, whatever
// differs.
func TestIdentityIsNotAdopted(t *testing.T) {
	for name, change := range map[string]func(*replicaInfo){
		"another id":     func(i *replicaInfo) { i.AppID = 9 },
		"more":           func(i *replicaInfo) { i.Partitions = 8 },
		"made then":      func(i *replicaInfo) { i.Created = 77 },
		"another's name": func(i *replicaInfo) { i.AppName, i.Created = "other", 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			meta := newFakeMeta(t, 1)
			meta.app.CreateSecond = 55
			n := startNode(t, meta)
			path := n.srv.disks.All()[0].Path
			n.stop()
			id := disk.Ident{Format: version.First, Cluster: n.cfg.Cluster.Name, Node: n.cfg.Replica.Listen}
			info := replicaInfo{AppName: "temp", AppID: 1, Partitions: 1, MaxReplica: 3, Created: 55}
			change(&info)
			dir := filepath.Join(path, "reps", base.Gpid{AppID: info.AppID}.String()+disk.ReplicaSuffix)
			if err := errors.Join(os.Mkdir(dir, 0o755), disk.WriteJSON(filepath.Join(dir, "info.json"), &info), disk.WriteJSON(disk.IdentName(path), &id)); err != nil {
				t.Fatal(err)
			}
			n.start()
			until(t, "it is refused by itself", func() bool {
				why := n.srv.meta.Identity.Refusal()
				return strings.Contains(why, "doesn't take that of the meta servers")
			})
			if own := n.srv.meta.Identity.ID(); own != "" || n.srv.meta.Lease.Valid() {
				t.Errorf("id %q, serves %v", own, n.srv.meta.Lease.Valid())
			}
			if reps := dirsOf(t, n, "reps"); len(reps) != 1 {
				t.Errorf("reps has %v", reps)
			}
		})
	}
}

// A directory with replicas that doesn't say of which cluster it is takes part in nothing before it
// was compared, though another one of the server says it.
func TestDirThatLacksIdentity(t *testing.T) {
	meta := newFakeMeta(t, 1)
	n := startNodeWith(t, meta, func(c *config.Config) {})
	until(t, "it has the identity", func() bool { return n.srv.meta.Identity.ID() == "ours" })
	path := n.srv.disks.All()[0].Path
	n.stop()
	other := path + "2"
	dir := filepath.Join(other, "reps", "1.0"+disk.ReplicaSuffix)
	old := disk.Ident{Format: version.First, Cluster: n.cfg.Cluster.Name, Node: n.cfg.Replica.Listen}
	if err := errors.Join(os.MkdirAll(dir, 0o755), disk.WriteJSON(disk.IdentName(other), &old), disk.WriteJSON(filepath.Join(dir, "info.json"), &replicaInfo{AppName: "temp", AppID: 1, Partitions: 4})); err != nil {
		t.Fatal(err)
	}
	n.cfg.Replica.DataDirs = append(n.cfg.Replica.DataDirs, other)
	n.start()
	until(t, "it says which directory", func() bool {
		why := n.srv.meta.Identity.Refusal()
		return strings.Contains(why, other) && strings.Contains(why, "partitions")
	})
	if n.srv.meta.Lease.Valid() {
		t.Error("it serves")
	}
	var is disk.Ident
	if err := disk.ReadJSON(disk.IdentName(path), &is); err != nil || is.ID != "ours" {
		t.Errorf("the directory that said it says %q now, %v", is.ID, err)
	}
}

// message sends node i a message of another replica server with the tag of a cluster.
func (g *group) message(i int, tag uint64, m pacifica.Message) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), answerTime)
	defer cancel()
	return g.pool.Call(ctx, g.nodes[i].srv.Addr().String(), rpc.Outgoing{Code: base.RPCPacifica, Gpid: g.gpid, PartitionHash: tag, Arg: wireMessage{&m}, OneWay: true}, nil)
}
