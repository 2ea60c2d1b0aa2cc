package meta

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

func TestCreate(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	if id := c.mustCreate("temp", 8, 3); id != 1 {
		t.Fatalf("id %d", id)
	}
	// The table is usable at the moment create returns.
	for i, p := range c.query("temp").Partitions {
		if p.Primary == 0 || len(p.Secondaries) == 0 {
			t.Errorf("partition %d after create: %+v", i, p)
		}
	}
	r := c.whole("temp", 3)
	if r.Err != base.ErrOK || r.AppId != 1 || r.PartitionCount != 8 || !r.IsStateful || len(r.Partitions) != 8 {
		t.Fatalf("query: %+v", r)
	}
	primaries := map[base.RPCAddress]int{}
	for i, p := range r.Partitions {
		if p.Pid != (base.Gpid{AppID: 1, PartitionIndex: int32(i)}) || p.Ballot != 3 || p.MaxReplicaCount != 3 || len(p.Secondaries) != 2 {
			t.Errorf("partition %d: %+v", i, p)
		}
		if p.HpPrimary.Set || p.HpSecondaries.Set || p.HpLastDrops.Set {
			t.Errorf("partition %d has host_port fields over THFT", i)
		}
		primaries[p.Primary]++
	}
	for a, n := range primaries {
		if n < 2 || n > 3 {
			t.Errorf("node %v has %d primaries", a, n)
		}
	}

	// Over RDSN the host_port fields are there.
	var h layer2.QueryCfgResponse
	if err := c.call(c.metas[0].name, "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", rpc.RDSN, &layer2.QueryCfgRequest{AppName: "temp", PartitionIndices: []int32{5, 99}}, &h); err != nil {
		t.Fatal(err)
	}
	if len(h.Partitions) != 1 || h.Partitions[0].Pid.PartitionIndex != 5 {
		t.Fatalf("query of one index: %+v", h.Partitions)
	}
	p := h.Partitions[0]
	if p.HpPrimary.V.String() != p.Primary.String() || len(p.HpSecondaries.V) != 2 || p.HpSecondaries.V[1].String() != p.Secondaries[1].String() || !p.HpLastDrops.Set {
		t.Errorf("host_port fields: %+v", p)
	}
	if r := c.query("nosuch"); r.Err != base.ErrObjectNotFound || r.IsStateful || len(r.Partitions) != 0 {
		t.Errorf("query of no table: %+v", r)
	}
}

func TestCreateErrors(t *testing.T) {
	c := newCluster(t, 1, 2, func(c *config.Config) { c.Meta.MaxPartitionCount = 1000 })
	c.mustCreate("temp", 2, 2)
	type req = metaadmin.ConfigurationCreateAppRequest
	good := req{AppName: "new", Options: metaadmin.CreateAppOptions{PartitionCount: 2, ReplicaCount: 2, AppType: "pegasus", IsStateful: true}}
	for _, tc := range []struct {
		what   string
		change func(*req)
		want   base.ErrorCode
		id     int32
	}{
		{"no partitions", func(q *req) { q.Options.PartitionCount = 0 }, base.ErrInvalidParameters, 0},
		{"negative partitions", func(q *req) { q.Options.PartitionCount = -1 }, base.ErrInvalidParameters, 0},
		{"too many partitions", func(q *req) { q.Options.PartitionCount = 1001 }, base.ErrInvalidParameters, 0},
		{"no replicas", func(q *req) { q.Options.ReplicaCount = 0 }, base.ErrInvalidParameters, 0},
		{"too many replicas", func(q *req) { q.Options.ReplicaCount = 6 }, base.ErrInvalidParameters, 0},
		{"more replicas than nodes", func(q *req) { q.Options.ReplicaCount = 3 }, base.ErrInvalidParameters, 0},
		{"no name", func(q *req) { q.AppName = "" }, base.ErrInvalidParameters, 0},
		{"long name", func(q *req) { q.AppName = strings.Repeat("x", 257) }, base.ErrInvalidParameters, 0},
		{"bad env", func(q *req) { q.Options.Envs = []base.Pair[string, string]{{Key: "rocksdb.num_levels", Val: "99"}} }, base.ErrInvalidParameters, 0},
		{"exists", func(q *req) { q.AppName = "temp" }, base.ErrAppExist, 0},
		{"exists and is the same", func(q *req) { q.AppName = "temp"; q.Options.SuccessIfExist = true }, base.ErrOK, 1},
		{"exists with other partitions", func(q *req) {
			q.AppName, q.Options.SuccessIfExist, q.Options.PartitionCount = "temp", true, 4
		}, base.ErrInvalidParameters, 0},
		{"exists with other envs", func(q *req) {
			q.AppName, q.Options.SuccessIfExist = "temp", true
			q.Options.Envs = []base.Pair[string, string]{{Key: "a", Val: "b"}}
		}, base.ErrInvalidParameters, 0},
		{"unknown env", func(q *req) { q.Options.Envs = []base.Pair[string, string]{{Key: "nosuch.env", Val: "1"}} }, base.ErrOK, 2},
		{"longest name", func(q *req) { q.AppName = strings.Repeat("y", 256) }, base.ErrOK, 3},
	} {
		q := good
		tc.change(&q)
		var r metaadmin.ConfigurationCreateAppResponse
		c.ask("RPC_CM_CREATE_APP", &q, &r)
		if r.Err != tc.want || r.Appid != tc.id {
			t.Errorf("%s: %v, id %d; want %v, %d", tc.what, r.Err, r.Appid, tc.want, tc.id)
		}
	}
	if err := c.call(c.metas[0].name, "RPC_CM_CREATE_APP", rpc.THFT0, &rpcRubbish{}, nil); !errors.Is(err, base.ErrInvalidData) {
		t.Errorf("rubbish: %v", err)
	}
}

// rpcRubbish is a body that no struct can be read from.
type rpcRubbish struct{}

func (*rpcRubbish) AppendThrift(b []byte) []byte { return append(b, 0x0c, 0, 1, 0x0b, 0, 1, 0xff) }

func TestSurvivesRestart(t *testing.T) {
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("temp", 4, 3)
	var er metaadmin.ConfigurationUpdateAppEnvResponse
	c.ask("RPC_CM_UPDATE_APP_ENV", &metaadmin.ConfigurationUpdateAppEnvRequest{AppName: "temp", Op: metaadmin.APP_ENV_OP_SET,
		Keys: base.Some([]string{"default_ttl"}), Values: base.Some([]string{"7"})}, &er)
	if er.Err != base.ErrOK {
		t.Fatal(er)
	}
	before := c.query("temp")
	m := c.metas[0]
	c.stopMeta(m)
	c.startMeta(m, nil)
	c.leader()
	after := c.query("temp")
	if len(after.Partitions) != 4 || after.AppId != before.AppId {
		t.Fatalf("after the restart: %+v", after)
	}
	for i := range after.Partitions {
		if after.Partitions[i].Ballot != before.Partitions[i].Ballot || after.Partitions[i].Primary != before.Partitions[i].Primary {
			t.Errorf("partition %d was %+v, is %+v", i, before.Partitions[i], after.Partitions[i])
		}
	}
	var lr metaadmin.ConfigurationListAppsResponse
	c.ask("RPC_CM_LIST_APPS", &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}, &lr)
	if len(lr.Infos) != 1 || len(lr.Infos[0].Envs) != 1 || lr.Infos[0].Envs[0].Val != "7" {
		t.Errorf("tables: %+v", lr.Infos)
	}
	// And it still works.
	c.mustCreate("more", 2, 3)
}

func TestRefusesForeignData(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	m := c.metas[0]
	// Its directory is in use.
	if _, err := New(Options{Config: m.cfg, Log: testLog()}); err == nil || !strings.Contains(err.Error(), "meta.listen") {
		t.Errorf("without the listener: %v", err)
	}
	c.stopMeta(m)
	try := func(change func(*config.Config)) error {
		cfg := m.cfg
		cfg.Meta.Listen = m.name
		change(&cfg)
		s, err := New(Options{Config: cfg, Log: testLog()})
		if err != nil {
			return err
		}
		err = s.Start()
		if e := s.Stop(t.Context()); e != nil {
			t.Error(e)
		}
		return err
	}
	for _, tc := range []struct {
		what   string
		change func(*config.Config)
		want   []string
	}{
		{"another cluster", func(c *config.Config) { c.Cluster.Name = "other" }, []string{"onebox", "other", "cluster.name"}},
		{"another address", func(c *config.Config) {
			c.Meta.Listen = "127.0.0.1:34601"
			c.Cluster.MetaServers = []string{"127.0.0.1:34601"}
		}, []string{m.name, "127.0.0.1:34601", "address"}},
		{"another address", func(c *config.Config) { c.Meta.Listen = "127.0.0.1:34609" }, []string{"34609", "keeps its address for life"}},
		{"no directory", func(c *config.Config) { c.Meta.DataDir += "/nosuch" }, []string{"nosuch", "mkdir"}},
		{"lease not below grace", func(c *config.Config) { c.FD.Lease = c.FD.Grace }, []string{"failure_detector.lease"}},
	} {
		err := try(tc.change)
		if err == nil {
			t.Errorf("%s: started", tc.what)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q doesn't say %q", tc.what, err, w)
			}
		}
	}
	// Damage is said plainly.
	path := filepath.Join(m.cfg.Meta.DataDir, ownerFile)
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, []byte("onebox")) {
		t.Fatalf("owner file: %s %v", b, err)
	}
	if err := os.WriteFile(path, b[:5], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := try(func(*config.Config) {}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged owner file: %v", err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := try(func(*config.Config) {}); err != nil {
		t.Errorf("as before: %v", err)
	}
}

func TestDirectoryInUse(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	cfg := c.metas[0].cfg
	cfg.Meta.Listen = c.metas[0].name
	began := time.Now()
	if _, err := New(Options{Config: cfg, Log: testLog()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server on the same directory: %v after %v", err, time.Since(began))
	}
}
