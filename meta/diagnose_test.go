package meta

import (
	"testing"

	"pegasus/base"
	"pegasus/gen/metaadmin"
)

func TestDiagnose(t *testing.T) {
	c := newCluster(t, 1, 2, nil)
	id := c.mustCreate("t", 2, 2)
	c.whole("t", 2)
	ask := func(app, part int32) *metaadmin.DddDiagnoseResponse {
		var r metaadmin.DddDiagnoseResponse
		c.ask("RPC_CM_DDD_DIAGNOSE", &metaadmin.DddDiagnoseRequest{Pid: base.Gpid{AppID: app, PartitionIndex: part}}, &r)
		return &r
	}
	if r := ask(-1, -1); r.Err != base.ErrOK || len(r.Partitions) != 0 {
		t.Errorf("of a whole cluster: %+v", r)
	}
	if r := ask(99, -1); r.Err != base.ErrAppNotExist {
		t.Errorf("of no table: %v", r.Err)
	}
	for _, f := range c.reps {
		f.kill()
	}
	until(t, "both partitions have no living member", func() bool { return len(ask(-1, -1).Partitions) == 2 })
	r := ask(id, 1)
	if len(r.Partitions) != 1 || r.Partitions[0].Config.Pid != (base.Gpid{AppID: id, PartitionIndex: 1}) ||
		len(r.Partitions[0].Dropped) == 0 || r.Partitions[0].Dropped[0].IsAlive || r.Partitions[0].Reason == "" {
		t.Errorf("of one partition: %+v", r)
	}
	if r := ask(id, -1); len(r.Partitions) != 2 {
		t.Errorf("of the table: %d partitions", len(r.Partitions))
	}
}
