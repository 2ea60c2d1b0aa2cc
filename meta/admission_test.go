package meta

import (
	"context"
	"strings"
	"testing"

	"pegasus/base"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/state"
	"pegasus/rpc"
)

const strangerNode = base.RPCAddress(0x7f00000100620001)

func (c *cluster) nodes() *metaadmin.ConfigurationListNodesResponse {
	c.t.Helper()
	r := &metaadmin.ConfigurationListNodesResponse{}
	c.ask("RPC_CM_LIST_NODES", &metaadmin.ConfigurationListNodesRequest{}, r)
	return r
}

// A replica server of another cluster is no node, whatever ids and addresses it names: it is
// told of no role and of nothing to remove, and it changes no configuration.
func TestForeignServerIsRefused(t *testing.T) {
	c := newCluster(t, 1, 1, nil)
	id := c.mustCreate("t", 1, 1)
	c.whole("t", 1)
	for _, theirs := range []string{"theirs", ""} {
		b := &fd.BeaconMsg{FromNode: strangerNode, StartTime: base.Some(int64(7)), Version: base.Some(int32(version.Newest)), ClusterId: base.Opt[string]{V: theirs, Set: true}}
		var ack fd.BeaconAck
		for range 2 {
			until(t, "the leader answers", func() bool {
				ack = fd.BeaconAck{}
				return c.call(c.leader().name, "RPC_FD_FAILURE_DETECTOR_PING", rpc.RDSN, b, &ack) == nil && ack.IsMaster
			})
		}
		if ack.Allowed || ack.ClusterId.V == "" {
			t.Errorf("id %q: %+v", theirs, ack)
		}
		// It says that it has what was dropped, and what we have.
		g := base.Gpid{AppID: id}
		q := &metaadmin.ConfigurationQueryByNodeRequest{Node: strangerNode, ClusterId: base.Opt[string]{V: theirs, Set: true},
			StoredReplicas: base.Some([]metadata.ReplicaInfo{{Pid: g, Ballot: 90, Status: metadata.PS_PRIMARY}, {Pid: base.Gpid{AppID: 77}, Ballot: 2}})}
		var s metaadmin.ConfigurationQueryByNodeResponse
		c.ask("RPC_CM_CONFIG_SYNC", q, &s)
		if s.Err != base.ErrClusterNotFound || len(s.GcReplicas.V) > 0 || len(s.Partitions) > 0 {
			t.Errorf("id %q: config sync: %+v", theirs, s)
		}
		before := c.query("t").Partitions[0]
		u := &metaadmin.ConfigurationUpdateRequest{Config: before, Type: metaadmin.CT_UPGRADE_TO_SECONDARY, Node: strangerNode, ClusterId: base.Opt[string]{V: theirs, Set: true}}
		u.Config.Ballot++
		u.Config.Secondaries = []base.RPCAddress{strangerNode}
		var r metaadmin.ConfigurationUpdateResponse
		c.ask("RPC_CM_UPDATE_PARTITION_CONFIGURATION", u, &r)
		if now := c.query("t").Partitions[0]; r.Err != base.ErrClusterNotFound || now.Ballot != before.Ballot {
			t.Errorf("id %q: update: %v, ballot %d was %d", theirs, r.Err, now.Ballot, before.Ballot)
		}
		n := c.nodes()
		if len(n.Infos) != 2 || n.Infos[1].Status != metaadmin.NS_UNALIVE || n.Infos[1].Node != strangerNode || len(n.Refused.V) == 0 || n.Refused.V[0].Node != strangerNode || !strings.Contains(n.Refused.V[0].Why, "cluster") {
			t.Errorf("id %q: nodes %+v", theirs, n)
		}
	}
}

// reborn empties the disk of the only meta, and starts it again.
func (c *cluster) reborn() {
	c.t.Helper()
	m := c.metas[0]
	c.stopMeta(m)
	emptyDir(c.t.(*testing.T), m.cfg.Meta.DataDir)
	c.startMeta(m, nil)
	c.leader()
}

// server answers what a replica server is asked for a recovery.
func server(t *testing.T, id string, table layer2.AppInfo) base.RPCAddress {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	addr, err := base.ParseAddr(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	mux := rpc.NewMux(nil)
	mux.HandleFunc("RPC_QUERY_APP_INFO", func(r *rpc.Request) {
		r.Reply(&metaadmin.QueryAppInfoResponse{Err: base.ErrOK, Apps: []layer2.AppInfo{table}})
	})
	mux.HandleFunc("RPC_QUERY_REPLICA_INFO", func(r *rpc.Request) {
		r.Reply(&replicaadmin.QueryReplicaInfoResponse{Err: base.ErrOK, ClusterId: base.NonZero(id),
			Replicas: []metadata.ReplicaInfo{{Pid: base.Gpid{AppID: table.AppId}, Ballot: 3, Status: metadata.PS_PRIMARY}}})
	})
	srv := rpc.NewServer(rpc.ServerOptions{}, mux, nil, nil)
	go srv.Serve(l)
	t.Cleanup(func() { srv.Shutdown(context.Background()) })
	return addr
}

// A meta that lost its state is of another cluster than its replica servers, until it is told to
// recover from them: then it takes their identity, if they agree.
func TestRecoveryTakesTheIdentity(t *testing.T) {
	c := newCluster(t, 1, 0, nil)
	own := c.id(c.leader().name)
	c.reborn()
	if now := c.id(c.leader().name); now == own || now == "" {
		t.Fatalf("a new quorum has the identity %q, the one before %q", now, own)
	}
	app := layer2.NewAppInfo()
	app.AppId, app.AppName, app.AppType, app.PartitionCount, app.MaxReplicaCount, app.CreateSecond = 4, "t", "pegasus", 1, 1, 55
	ours, theirs, none := server(t, own, app), server(t, "theirs", app), server(t, "", app)
	var r metaadmin.ConfigurationRecoveryResponse
	c.ask("RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{ours, theirs}}, &r)
	if r.Err != base.ErrInvalidParameters || !strings.Contains(r.HintMessage, "several clusters") {
		t.Errorf("of two clusters: %v %q", r.Err, r.HintMessage)
	}
	c.ask("RPC_CM_START_RECOVERY", &metaadmin.ConfigurationRecoveryRequest{RecoveryNodes: []base.RPCAddress{ours, none}}, &r)
	if now := c.id(c.leader().name); r.Err != base.ErrOK || now != own {
		t.Errorf("%v %q: identity %q, want %q", r.Err, r.HintMessage, now, own)
	}
}

func TestIdentityOf(t *testing.T) {
	app := func(second int64) layer2.AppInfo {
		return layer2.AppInfo{AppId: 1, AppName: "t", PartitionCount: 1, MaxReplicaCount: 3, CreateSecond: second}
	}
	old := []state.Table{{ID: 1, Name: "t", CreateSecond: 5, Parts: make([]state.Config, 1)}}
	for _, c := range []struct {
		name string
		all  []inventory
		want string
		ok   bool
	}{
		{"none has one", []inventory{{}, {}}, "", true},
		{"they have ours", []inventory{{cluster: "ours"}}, "", true},
		{"one who gave no answer doesn't count", []inventory{{cluster: "a"}, {cluster: "b", err: base.ErrTimeout}}, "a", true},
		{"two", []inventory{{cluster: "a"}, {cluster: "b"}}, "", false},
		{"the table of the backup", []inventory{{cluster: "a", tables: []layer2.AppInfo{app(5)}}}, "a", true},
		{"another table than the backup's", []inventory{{cluster: "a", tables: []layer2.AppInfo{app(6)}}}, "", false},
	} {
		if id, err := identityOf(c.all, "ours", old); id != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %q %v", c.name, id, err)
		}
	}
}
