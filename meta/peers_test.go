package meta

import (
	"context"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// Each connection is answered by what it has asked: the newest collector is told names, all others aren't.
func TestHostPortByPeer(t *testing.T) {
	ask := func(t *testing.T, c *cluster, f rpc.Framing, codes ...string) (named map[string]bool) {
		t.Helper()
		pool := rpc.NewPool(rpc.PoolOptions{}) // with a connection of its own
		defer pool.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		named = map[string]bool{}
		for _, code := range codes {
			var err error
			out := rpc.Outgoing{Code: code, Framing: f}
			switch code {
			case base.RPCListApps:
				out.Arg = &metaadmin.ConfigurationListAppsRequest{Status: layer2.AS_AVAILABLE}
				err = pool.Call(ctx, c.leader().name, out, new(metaadmin.ConfigurationListAppsResponse))
			case base.RPCQueryPartitionConfigByIndex:
				out.Arg = &layer2.QueryCfgRequest{AppName: "temp"}
				var r layer2.QueryCfgResponse
				err = pool.Call(ctx, c.leader().name, out, &r)
				if len(r.Partitions) != 4 {
					t.Fatalf("%d partitions, %v", len(r.Partitions), r.Err)
				}
				named[code] = r.Partitions[0].HpPrimary.Set
			case base.RPCListNodes:
				out.Arg = &metaadmin.ConfigurationListNodesRequest{}
				var r metaadmin.ConfigurationListNodesResponse
				err = pool.Call(ctx, c.leader().name, out, &r)
				if len(r.Infos) != 3 {
					t.Fatalf("%d nodes, %v", len(r.Infos), r.Err)
				}
				named[code] = r.Infos[0].HpNode.Set
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return named
	}
	const apps, query, nodes = base.RPCListApps, base.RPCQueryPartitionConfigByIndex, base.RPCListNodes
	c := newCluster(t, 1, 3, nil)
	c.mustCreate("temp", 4, 3)
	c.whole("temp", 3)
	for _, x := range []struct {
		who   string
		f     rpc.Framing
		codes []string
		want  bool
	}{
		{"the newest collector", rpc.THFT0, []string{apps, query, query, nodes}, true},
		{"that, of a leader that is just elected", rpc.THFT0, []string{apps, apps, query, nodes}, true},
		{"Go and Python clients", rpc.THFT0, []string{query}, false},
		{"admin-cli", rpc.THFT0, []string{nodes, apps, query}, false},
		{"its table-stat", rpc.THFT0, []string{apps, nodes, apps, query}, false},
		{"Java", rpc.THFT1, []string{apps, query, nodes}, false},
		{"the shell", rpc.RDSN, []string{nodes, query}, true},
	} {
		for code, named := range ask(t, c, x.f, x.codes...) {
			if named != x.want {
				t.Errorf("%s: the answer to %s has names: %v", x.who, code, named)
			}
		}
	}
	c = newCluster(t, 1, 3, func(cfg *config.Config) { cfg.RPC.HostPortDetect, cfg.RPC.HostPortOverRDSN = false, false })
	c.mustCreate("temp", 4, 3)
	c.whole("temp", 3)
	for _, f := range []rpc.Framing{rpc.THFT0, rpc.RDSN} {
		for code, named := range ask(t, c, f, apps, query, nodes) {
			if named {
				t.Errorf("%v: names are switched off, and the answer to %s has them", f, code)
			}
		}
	}
}
