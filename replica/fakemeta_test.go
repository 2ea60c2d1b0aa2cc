package replica

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/rpc"
)

// fakeMeta is the least meta that a replica server can live with: configurations with
// compare-and-set, beacons, and what the test tells it to do.
type fakeMeta struct {
	t    testing.TB
	addr string
	pool *rpc.Pool

	mu    sync.Mutex
	app   layer2.AppInfo
	parts map[base.Gpid]*layer2.PartitionConfiguration
	mute  map[base.RPCAddress]bool // whose beacons go unanswered

	refuseLast base.ErrorCode // the answer to who wants the last member removed, "" grants it
	refused    int
}

func newFakeMeta(t testing.TB, partitions int32) *fakeMeta {
	t.Helper()
	m := &fakeMeta{t: t, pool: rpc.NewPool(rpc.PoolOptions{}), parts: map[base.Gpid]*layer2.PartitionConfiguration{},
		mute: map[base.RPCAddress]bool{}}
	m.app = layer2.NewAppInfo()
	m.app.Status, m.app.AppType, m.app.AppName, m.app.AppId = layer2.AS_AVAILABLE, "pegasus", "temp", 1
	m.app.PartitionCount, m.app.MaxReplicaCount, m.app.IsStateful = partitions, 3, true
	for i := range partitions {
		g := base.Gpid{AppID: 1, PartitionIndex: i}
		m.parts[g] = &layer2.PartitionConfiguration{Pid: g, MaxReplicaCount: 3}
	}
	mux := rpc.NewMux(quiet())
	mux.HandleFunc(codePing, m.ping)
	mux.HandleFunc(codeConfigSync, m.configSync)
	mux.HandleFunc(codeUpdateConfig, m.update)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = l.Addr().String()
	s := rpc.NewServer(testConfig(t).RPC, mux, nil, quiet())
	go func() {
		if err := s.Serve(l); err != nil {
			t.Errorf("fake meta: %v", err)
		}
	}()
	t.Cleanup(func() {
		m.pool.Close()
		if err := s.Shutdown(t.Context()); err != nil && t.Context().Err() == nil {
			t.Errorf("fake meta: %v", err)
		}
	})
	return m
}

func (m *fakeMeta) ping(req *rpc.Request) {
	var b fd.BeaconMsg
	if err := req.DecodeArg(&b); err != nil {
		m.t.Errorf("beacon: %v", err)
	}
	m.mu.Lock()
	mute := m.mute[b.FromNode]
	m.mu.Unlock()
	if mute {
		req.Drop()
		return
	}
	req.Reply(&fd.BeaconAck{Time: b.Time, ThisNode: b.ToNode, PrimaryNode: b.ToNode, IsMaster: true, Allowed: true})
}

func (m *fakeMeta) setMute(n base.RPCAddress, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mute[n] = on
}

func (m *fakeMeta) configSync(req *rpc.Request) {
	var q metaadmin.ConfigurationQueryByNodeRequest
	if err := req.DecodeArg(&q); err != nil {
		m.t.Errorf("config sync: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	res := metaadmin.ConfigurationQueryByNodeResponse{Err: base.ErrOK}
	for _, p := range m.parts {
		if p.Primary == q.Node || slices.Contains(p.Secondaries, q.Node) {
			res.Partitions = append(res.Partitions, metaadmin.ConfigurationUpdateRequest{Info: m.app, Config: clone(p), Node: q.Node})
		}
	}
	req.Reply(&res)
}

func (m *fakeMeta) refusals() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

func clone(p *layer2.PartitionConfiguration) layer2.PartitionConfiguration {
	c := *p
	c.Secondaries = slices.Clone(p.Secondaries)
	return c
}

func (m *fakeMeta) update(req *rpc.Request) {
	var q metaadmin.ConfigurationUpdateRequest
	if err := req.DecodeArg(&q); err != nil {
		m.t.Errorf("update: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.parts[q.Config.Pid]
	res := metaadmin.ConfigurationUpdateResponse{Err: base.ErrOK}
	switch {
	case q.Config.Ballot != p.Ballot+1:
		res.Err = base.ErrInvalidVersion
	case m.refuseLast != "" && q.Config.Primary.IsZero() && len(q.Config.Secondaries) == 0:
		res.Err = m.refuseLast
		m.refused++
	default:
		p.Ballot, p.Primary, p.Secondaries = q.Config.Ballot, q.Config.Primary, slices.Clone(q.Config.Secondaries)
	}
	res.Config = clone(p)
	req.Reply(&res)
}

// propose sends what a meta would.
func (m *fakeMeta) propose(g base.Gpid, typ metaadmin.ConfigType, to, node base.RPCAddress) {
	m.mu.Lock()
	req := metaadmin.ConfigurationUpdateRequest{Info: m.app, Config: clone(m.parts[g]), Type: typ, Node: node}
	m.mu.Unlock()
	m.pool.Go(to.String(), time.Second, rpc.Outgoing{Code: codeProposal, Arg: &req, OneWay: true}, nil)
}

func (m *fakeMeta) config(g base.Gpid) layer2.PartitionConfiguration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clone(m.parts[g])
}

// promote persists a configuration in which to leads and the others follow.
func (m *fakeMeta) promote(g base.Gpid, to base.RPCAddress, others ...base.RPCAddress) {
	m.mu.Lock()
	p := m.parts[g]
	p.Ballot++
	p.Primary, p.Secondaries = to, slices.Clone(others)
	m.mu.Unlock()
	m.propose(g, metaadmin.CT_UPGRADE_TO_PRIMARY, to, to)
}

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// testConfig has short times.
func testConfig(t testing.TB) config.Config {
	t.Helper()
	c := config.Default()
	c.FD.BeaconInterval = config.Duration(50 * time.Millisecond)
	c.FD.Lease = config.Duration(4 * time.Second)
	c.FD.Grace = config.Duration(5 * time.Second)
	c.Replica.ConfigSync = config.Duration(200 * time.Millisecond)
	c.Replica.PrepareTimeout = config.Duration(2 * time.Second)
	c.Replica.DiskRetry = config.Duration(200 * time.Millisecond)
	c.Storage.BlockCacheBytes = 8 << 20
	c.Storage.MemtableBytes = 1 << 20
	c.WAL.SegmentBytes = 1 << 20
	return c
}

// node is a replica server in this process that can be stopped and started again.
type node struct {
	t   testing.TB
	cfg config.Config
	srv *Server
	end chan error
}

func startNode(t testing.TB, m *fakeMeta) *node {
	t.Helper()
	return startNodeWith(t, m, func(*config.Config) {})
}

func startNodeWith(t testing.TB, m *fakeMeta, change func(*config.Config)) *node {
	t.Helper()
	n := &node{t: t, cfg: testConfig(t)}
	change(&n.cfg)
	n.cfg.Cluster.MetaServers = []string{m.addr}
	n.cfg.Replica.Listen = "127.0.0.1:0"
	n.cfg.Replica.DataDirs = []string{filepath.Join(t.TempDir(), "data")}
	n.start()
	t.Cleanup(func() {
		if n.srv != nil {
			n.stop()
		}
	})
	return n
}

func (n *node) start() {
	n.t.Helper()
	l, err := net.Listen("tcp4", n.cfg.Replica.Listen)
	if err != nil {
		n.t.Fatal(err)
	}
	n.cfg.Replica.Listen = l.Addr().String() // the same when started again
	if n.srv, err = New(n.cfg, l.Addr(), quiet()); err != nil {
		n.t.Fatal(err)
	}
	n.end = make(chan error, 1)
	srv := n.srv
	go func() { n.end <- srv.Serve(l) }()
}

func (n *node) stop() {
	n.t.Helper()
	if err := n.srv.Close(n.t.Context()); err != nil && n.t.Context().Err() == nil {
		n.t.Errorf("close: %v", err)
	}
	if err := <-n.end; err != nil {
		n.t.Errorf("serve: %v", err)
	}
	n.srv = nil
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		<-tick.C
	}
}
