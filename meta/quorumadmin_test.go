package meta

import (
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

func (c *cluster) upgrade(to version.Version, dry bool) *metaquorum.VersionUpgradeResponse {
	c.t.Helper()
	r := &metaquorum.VersionUpgradeResponse{}
	c.ask("RPC_CM_UPGRADE_VERSION", &metaquorum.VersionUpgradeRequest{To: int32(to), DryRun: dry}, r)
	return r
}

func (c *cluster) versions() (list []version.Version) {
	for _, m := range c.metas {
		if m.srv != nil {
			list = append(list, m.srv.fsm.version())
		}
	}
	return list
}

// beat sends the beacon of a server that understands a version, 0: of one that doesn't tell.
func (c *cluster) beat(from base.RPCAddress, v version.Version) *fd.BeaconAck {
	c.t.Helper()
	b := &fd.BeaconMsg{FromNode: from, StartTime: base.Some(int64(7))}
	if v != 0 {
		b.Version = base.Some(int32(v))
	}
	var ack fd.BeaconAck
	until(c.t, "a beacon is taken by a leader", func() bool {
		ack = fd.BeaconAck{}
		return c.call(c.leader().name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, b, &ack) == nil && ack.IsMaster
	})
	return &ack
}

// The version is raised once every member understands it, and who doesn't is named. Then a
// server that doesn't is refused.
func TestUpgradeVersion(t *testing.T) {
	c := newClusterAt(t, version.First, 3, 1, steady)
	const old = base.RPCAddress(0x7f00000100630001)
	if ack := c.beat(old, 0); !ack.Allowed || ack.ClusterVersion.V != int32(version.First) {
		t.Fatalf("at the first version: %+v", ack)
	}
	r := c.upgrade(0, false)
	if r.Err != base.ErrInvalidState || !strings.Contains(r.Hint, "replica server "+old.String()+" understands versions up to 1") {
		t.Fatalf("with an old replica server: %v %q", r.Err, r.Hint)
	}
	c.beat(old, version.Newest) // it was upgraded
	for _, bad := range []version.Version{version.Newest + 1, -1} {
		if r := c.upgrade(bad, false); r.Err != base.ErrInvalidParameters || r.Hint == "" {
			t.Errorf("to version %d: %v %q", bad, r.Err, r.Hint)
		}
	}
	down := c.follower()
	c.stopMeta(down)
	if r := c.upgrade(0, false); r.Err != base.ErrInvalidState || !strings.Contains(r.Hint, "meta server "+down.name+" gives no answer") {
		t.Fatalf("with a silent meta: %v %q", r.Err, r.Hint)
	}
	c.startMeta(down, nil)
	if r := c.upgrade(0, true); r.Err != base.ErrOK || r.Now != int32(version.First) || len(r.Members) != 5 {
		t.Fatalf("a dry run: %v %q, version %d, %d members", r.Err, r.Hint, r.Now, len(r.Members))
	}
	if v := c.leader().srv.fsm.version(); v != version.First {
		t.Fatalf("a dry run raised the version to %d", v)
	}
	if r := c.upgrade(0, false); r.Err != base.ErrOK || r.Now != int32(version.Newest) {
		t.Fatalf("%v %q, version %d", r.Err, r.Hint, r.Now)
	}
	until(t, "all metas have the version", func() bool {
		for _, v := range c.versions() {
			if v != version.Newest {
				return false
			}
		}
		return true
	})
	if r := c.upgrade(0, false); r.Err != base.ErrOK || r.Was != r.Now {
		t.Errorf("again: %v %q", r.Err, r.Hint)
	}
	if r := c.upgrade(version.First, false); r.Err != base.ErrInvalidParameters || !strings.Contains(r.Hint, "never lowered") {
		t.Errorf("lower: %v %q", r.Err, r.Hint)
	}
	if ack := c.beat(old, 0); ack.Allowed || !ack.IsMaster {
		t.Errorf("an old server at the new version: %+v", ack)
	}
	if ack := c.beat(old, version.Newest); !ack.Allowed || ack.ClusterVersion.V != int32(version.Newest) {
		t.Errorf("it was upgraded again: %+v", ack)
	}
}

// A new cluster has the newest version and an identity from the beginning.
func TestNewClusterHasTheNewestVersion(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	m := c.leader()
	st := m.srv.fsm.st
	if st.Version() != version.Newest || st.ID() == "" {
		t.Errorf("version %d, id %q", st.Version(), st.ID())
	}
}
