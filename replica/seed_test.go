package replica

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pegasus/backup"
	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/config"
	"pegasus/blob/stores"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/replica/restore"
	rocks "pegasus/rocks/pegasus"
	"pegasus/rpc"
)

// seedRows are rows to be backed up, by k0000 and so on.
type seedRows struct{ i, n int }

// Next, Key, Value and Err implement backup.Rows.
func (r *seedRows) Next() bool  { r.i++; return r.i <= r.n }
func (r *seedRows) Key() []byte { return rowKey(fmt.Sprintf("k%04d", r.i-1)) }
func (r *seedRows) Value() rocks.Value {
	return rocks.Value{Timetag: 1 << 8, Data: fmt.Appendf(nil, "v%d", r.i-1)}
}
func (r *seedRows) Err() error { return nil }

const seeded = 300

// newSeedGroup starts nodes, and a meta whose only table is to be restored. Nobody is asked yet.
func newSeedGroup(t *testing.T, nodes int) *group {
	t.Helper()
	b := config.DefaultBlob()
	b.Path, b.RetryTime = t.TempDir(), config.Duration(100*time.Millisecond)
	blobs := map[string]config.Blob{"local_service": b}
	set := stores.New(blobs, nil)
	t.Cleanup(set.Close)
	store, err := set.Get(t.Context(), "local_service")
	if err != nil {
		t.Fatal(err)
	}
	of := backup.Location{Cluster: "there", ID: 77}.Table("was", 5)
	info := layer2.NewAppInfo()
	info.Status, info.AppType, info.AppName, info.AppId, info.PartitionCount, info.MaxReplicaCount = layer2.AS_AVAILABLE, "pegasus", of.Name, of.AppID, 1, 3
	if err := backup.WriteTable(t.Context(), store, of.Location, &info); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.WritePartition(t.Context(), store, &seedRows{n: seeded}, backup.WriteOptions{Table: of, Checkpoint: "chkpt_h_1", Decree: 9, Taken: time.Now()}); err != nil {
		t.Fatal(err)
	}
	g := &group{t: t, meta: newFakeMeta(t, 1), gpid: base.Gpid{AppID: 1}, pool: rpc.NewPool(rpc.PoolOptions{})}
	t.Cleanup(g.pool.Close)
	source := appenv.Restore{Provider: "local_service", Cluster: of.Cluster, App: of.Name, AppID: of.AppID, BackupID: of.ID}
	g.meta.app.Envs = source.Envs()
	for range nodes {
		g.nodes = append(g.nodes, startNodeWith(t, g.meta, func(c *config.Config) { c.Blob = blobs }))
	}
	return g
}

func (g *group) assign(i int) {
	n := g.nodes[i].srv.Addr()
	g.meta.propose(g.gpid, metaadmin.CT_ASSIGN_PRIMARY, n, n)
}

// seededHere waits until node i has a restored replica that took part in nothing.
func (g *group) seededHere(i int) *replica {
	g.t.Helper()
	g.insist(fmt.Sprintf("node %d has restored the partition", i), func() bool {
		v := g.view(i)
		return v.info.Seed == restore.Decree && v.applied == restore.Decree && isNew(v)
	}, func() { g.assign(i) })
	return g.nodes[i].srv.replica(g.gpid)
}

// wantSeed demands rows of the backup from node i.
func (g *group) wantSeed(i int) {
	g.t.Helper()
	for k := 0; k < seeded; k += 37 {
		g.wantGet(i, fmt.Sprintf("k%04d", k), fmt.Sprintf("v%d", k))
	}
}

// A restored replica becomes the first of its partition, with what it holds as committed; the others learn all of it from a
// checkpoint, and take over.
func TestSeed(t *testing.T) {
	g := newSeedGroup(t, 3)
	g.insist("node 0 is primary", func() bool { return g.serving(0) }, func() { g.assign(0) })
	g.meta.set(func() {
		if g.meta.committed != restore.Decree {
			t.Errorf("it said that decree %d is committed", g.meta.committed)
		}
		if len(g.meta.restores) == 0 {
			t.Error("nothing was reported")
		}
	})
	g.wantSeed(0)
	g.add(1)
	g.add(2)
	for i := 1; i <= 2; i++ {
		if v := g.view(i); v.info.Store != 2 || v.info.Seed != 0 {
			t.Errorf("node %d: %+v: it didn't come from a checkpoint", i, v.info)
		}
	}
	g.mustPut(0, "new", "1")
	g.same(0, 1, 2)
	g.nodes[0].stop()
	g.meta.promote(g.gpid, g.nodes[1].addr, g.nodes[2].addr)
	g.insist("node 1 leads", func() bool { return g.serving(1) }, func() { g.meta.propose(g.gpid, metaadmin.CT_UPGRADE_TO_PRIMARY, g.nodes[1].addr, g.nodes[1].addr) })
	g.wantSeed(1)
	g.mustPut(1, "newer", "2")
	g.nodes[0].start()
	g.add(0)
	g.same(0, 1, 2)
}

// A server that ends between the restored replica and the meta's answer goes on with that replica.
func TestSeedSurvivesRestart(t *testing.T) {
	g := newSeedGroup(t, 1)
	g.meta.set(func() { g.meta.busy = true })
	made := g.seededHere(0).view.Load().info.Made
	g.nodes[0].stop()
	g.nodes[0].start()
	if v := g.view(0); v.info.Seed != restore.Decree || v.applied != restore.Decree || v.Last != restore.Decree || v.suspect || !isNew(v) {
		t.Fatalf("after a restart: %+v", v)
	}
	until(t, "the meta hears of it", func() bool {
		r, ok := g.meta.reported(g.nodes[0].addr, g.gpid)
		return ok && r.LastPreparedDecree == restore.Decree && r.Ballot == 0
	})
	g.meta.set(func() { g.meta.busy = false; g.meta.app.MaxReplicaCount = 1 })
	g.insist("it is primary", func() bool { return g.serving(0) }, func() { g.assign(0) })
	g.wantSeed(0)
	if v := g.view(0); v.info.Made != made {
		t.Error("it was restored again")
	}
	if left, _ := filepath.Glob(filepath.Join(g.nodes[0].cfg.Replica.DataDirs[0], "tmp", "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Of two servers that restored the partition one is the first; the other one begins anew, as a learner without anything, whether it
// hears so from the meta or from the new primary.
func TestSeedOfTwo(t *testing.T) {
	t.Run("the meta says so", func(t *testing.T) {
		g := newSeedGroup(t, 2)
		g.meta.set(func() { g.meta.busy = true })
		g.seededHere(0)
		g.seededHere(1)
		g.meta.set(func() { g.meta.busy = false })
		g.insist("one of them is primary", func() bool { return g.serving(0) || g.serving(1) }, func() { g.assign(0); g.assign(1) })
		first, other := 0, 1
		if g.serving(1) {
			first, other = 1, 0
		}
		g.insist("the other one removes its replica", func() bool { return g.nodes[other].srv.replica(g.gpid) == nil || g.view(other).info.Seed == 0 }, func() { g.assign(other) })
		g.add(other)
		if v := g.view(other); v.info.Seed != 0 || v.info.Store != 2 {
			t.Errorf("%+v", v.info)
		}
		g.wantSeed(first)
		g.same(0, 1)
	})
	t.Run("the primary says so", func(t *testing.T) {
		g := newSeedGroup(t, 2)
		g.meta.set(func() { g.meta.busy = true })
		g.seededHere(1)
		g.nodes[1].stop() // so that it doesn't ask the meta
		g.meta.set(func() { g.meta.busy = false })
		g.insist("node 0 is primary", func() bool { return g.serving(0) }, func() { g.assign(0) })
		g.nodes[1].start()
		if v := g.view(1); v.info.Seed != restore.Decree {
			t.Fatalf("%+v", v.info)
		}
		g.add(1)
		if v := g.view(1); v.info.Seed != 0 || v.info.Store != 2 {
			t.Errorf("it learned from what it had: %+v", v.info)
		}
		g.mustPut(0, "x", "1")
		g.same(0, 1)
	})
}

// An empty replica that took part in nothing gives way to one that is restored.
func TestSeedReplacesEmpty(t *testing.T) {
	g := newSeedGroup(t, 1)
	envs := g.meta.app.Envs
	g.meta.set(func() { g.meta.busy = true; g.meta.app.Envs = nil; g.meta.app.MaxReplicaCount = 1 })
	g.insist("there is an empty replica", func() bool { return g.nodes[0].srv.replica(g.gpid) != nil }, func() { g.assign(0) })
	if v := g.view(0); v.info.Seed != 0 || v.Last != 0 {
		t.Fatalf("%+v", v)
	}
	g.meta.set(func() {
		g.meta.busy = false
		g.meta.app.Envs = envs
		g.meta.parts[g.gpid].Ballot = 0
		g.meta.busy = true
	})
	g.seededHere(0)
	g.meta.set(func() { g.meta.busy = false })
	g.insist("it is primary", func() bool { return g.serving(0) }, func() { g.assign(0) })
	g.wantSeed(0)
}

// What stands in the place of a replica is told, and tried again elsewhere.
func TestSeedInTheWay(t *testing.T) {
	g := newSeedGroup(t, 1)
	s := g.nodes[0].srv
	d := s.disks.Pick(1)
	block := filepath.Join(d.Path, "reps", g.gpid.String()+".pegasus")
	info := replicaInfo{AppID: 1, Partitions: 1}
	of, _ := appenv.RestoreOf(map[string]string{})
	of.Provider, of.Cluster, of.App, of.AppID, of.BackupID = "local_service", "there", "was", 5, 77
	if err := os.MkdirAll(filepath.Join(block, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r, err := (members{s}).restore(g.gpid, &info, restore.Job{Gpid: g.gpid, Partitions: 1, Of: of}); err == nil {
		t.Errorf("restored over what is there: %v", r)
	}
	g.meta.set(func() {
		last := g.meta.restores[len(g.meta.restores)-1]
		if last.RestoreStatus == base.ErrOK || last.RestoreStatus == base.ErrCorruption || last.Reason.V == "" {
			t.Errorf("reported: %+v", last)
		}
	})
	if left, _ := filepath.Glob(filepath.Join(d.Scratch(), "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
