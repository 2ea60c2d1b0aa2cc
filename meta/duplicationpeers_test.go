package meta

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/duplication"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// forward leads connections to where to says, and returns its own address.
func forward(t *testing.T, to *atomic.Pointer[string]) string {
	l := listen(t, "127.0.0.1:0")
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", *to.Load())
				if err != nil {
					return
				}
				defer d.Close()
				go func() {
					_, _ = io.Copy(d, c)
					_ = d.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(c, d)
			}()
		}
	}()
	return l.Addr().String()
}

// cppMetas are meta servers of a C++ cluster: they say which they are, and nothing else that is asked for.
func cppMetas(t *testing.T, n int) (addrs []string) {
	var ls []net.Listener
	for range n {
		ls = append(ls, listen(t, "127.0.0.1:0"))
		addrs = append(addrs, ls[len(ls)-1].Addr().String())
	}
	for _, l := range ls {
		mux := rpc.NewMux(nil)
		mux.HandleFunc(base.RPCClusterInfo, func(req *rpc.Request) {
			req.Reply(&metaadmin.ConfigurationClusterInfoResponse{Err: base.ErrOK, Keys: []string{"meta_servers", "zookeeper_hosts"}, Values: []string{strings.Join(addrs, ","), "127.0.0.1:2181"}})
		})
		srv := rpc.NewServer(rpc.ServerOptions{}, mux, nil, nil)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		t.Cleanup(func() {
			srv.Shutdown(context.Background())
			<-served
		})
	}
	return addrs
}

// Before a table is sent to another cluster that one is asked what it is.
func TestDuplicationAsksTheOther(t *testing.T) {
	var own atomic.Pointer[string]
	alias := forward(t, &own)
	silent := listen(t, "127.0.0.1:0") // takes connections, and says nothing
	defer silent.Close()
	cpp := cppMetas(t, 2)
	east := newCluster(t, 1, 0, func(c *config.Config) { c.Cluster.Name, c.Cluster.ID = "east", 2 }).metas[0].name
	twin := newCluster(t, 1, 0, func(c *config.Config) { c.Cluster.ID = 1 }).metas[0].name
	c := newCluster(t, 1, 1, func(c *config.Config) {
		steady(c)
		c.Cluster.ID, c.Meta.MinReplicaCount = 1, 1
		c.Clusters = map[string]config.Remote{"mirror": {ID: 3, MetaServers: []string{alias}}, "east": {ID: 2, MetaServers: []string{east}}, "other": {ID: 4, MetaServers: []string{east}},
			"twin": {ID: 5, MetaServers: []string{twin}}, "cpp": {ID: 6, MetaServers: cpp[:1]}, "cpp2": {ID: 7, MetaServers: cpp[1:]},
			"gone": {ID: 8, MetaServers: []string{"127.0.0.1:1", "127.0.0.2:1"}}, "silent": {ID: 9, MetaServers: []string{silent.Addr().String()}}}
	})
	own.Store(&c.metas[0].name)
	c.mustCreate("temp", 1, 1)
	for _, x := range []struct {
		name string
		want base.ErrorCode
		hint []string
	}{
		{"mirror", base.ErrInvalidParameters, []string{"clusters.mirror.meta_servers", alias, "is this cluster itself"}},
		{"other", base.ErrInvalidParameters, []string{"has the number 2", "clusters.other.id is 4"}},
		{"twin", base.ErrInvalidParameters, []string{"has the number 1", "so has this one"}},
		{"gone", base.ErrNetworkFailure, []string{"127.0.0.1:1", "127.0.0.2:1", "clusters.gone.meta_servers"}},
		{"silent", base.ErrNetworkFailure, []string{silent.Addr().String()}},
		{"east", base.ErrOK, nil},
		{"cpp", base.ErrOK, nil},
		{"cpp2", base.ErrInvalidParameters, []string{"is also clusters.cpp"}},
	} {
		began := time.Now()
		r := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: x.name, IsDuplicatingCheckpoint: base.Some(false), MustAnswer: base.Some(true)})
		if r.Err != x.want || (r.Dupid != 0) != (x.want == base.ErrOK) {
			t.Errorf("%s: %+v", x.name, r)
		}
		for _, h := range x.hint {
			if !strings.Contains(r.Hint.V, h) {
				t.Errorf("%s: %q isn't in %q", x.name, h, r.Hint.V)
			}
		}
		t.Logf("%s: %v, %s", x.name, time.Since(began).Round(time.Millisecond), r.Hint.V)
	}
	// Upstream's tools may add one before the other cluster is there. It says what is wrong.
	if r := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "gone"}); r.Err != base.ErrOK {
		t.Errorf("%+v", r)
	}
	if r := c.addDup(duplication.DuplicationAddRequest{AppName: "temp", RemoteClusterName: "mirror"}); r.Err != base.ErrInvalidParameters {
		t.Errorf("%+v", r)
	}
	if n := len(c.dups("temp").EntryList); n != 3 {
		t.Errorf("%d duplications", n)
	}
}
