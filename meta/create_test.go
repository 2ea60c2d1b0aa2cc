package meta

import (
	"slices"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/layer2"
	"pegasus/gen/metadata"
)

// A new cluster gets its default tables, once; they aren't made again when they were dropped.
func TestDefaultTables(t *testing.T) {
	c := newCluster(t, 1, 2, func(c *config.Config) { c.Meta.DefaultTables = []string{"temp:4:2", "a:b:1:1"} })
	c.whole("temp", 2)
	c.whole("a:b", 1)
	if code := c.drop("temp", false, 0); code != base.ErrOK {
		t.Fatal(code)
	}
	m := c.metas[0]
	c.stopMeta(m)
	c.startMeta(m, nil)
	c.leader()
	c.mustCreate("third", 1, 1)
	var names []string
	for _, i := range c.list(layer2.AS_AVAILABLE) {
		names = append(names, i.AppName)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "a:b third" {
		t.Errorf("tables %s", got)
	}
}

// Where a replica server stores anything the state was lost: nothing is made, and the tables
// can be recovered.
func TestNoDefaultTablesOverLostState(t *testing.T) {
	c := newCluster(t, 1, 0, func(c *config.Config) { c.Meta.DefaultTables = []string{"temp:4:1"} })
	f := c.addReplica()
	f.mu.Lock()
	f.stored[base.Gpid{AppID: 1}] = metadata.ReplicaInfo{Pid: base.Gpid{AppID: 1}, Ballot: 7, Status: metadata.PS_INACTIVE}
	f.mu.Unlock()
	l := c.leader().srv.leader.Load()
	until(t, "the server has said what it stores, and the leader has had its time", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.nodes.of(f.addr).holds && l.now() > (warmUpBeats+5)*c.cfg.FD.BeaconInterval.D()
	})
	if serviceOf[*tables](l).isNew(nil) || serviceOf[*tables](l).hasTables() {
		t.Error("the cluster counts as new")
	}
	f.mu.Lock()
	f.stored = map[base.Gpid]metadata.ReplicaInfo{}
	f.mu.Unlock()
	until(t, "it is made when nothing is stored any more", func() bool { return c.query("temp").Err == base.ErrOK })
}
