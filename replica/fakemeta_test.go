package replica

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/version"
	"pegasus/gen/backup"
	"pegasus/gen/duplication"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/loading"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/placement"
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
	beats map[base.RPCAddress]int  // beacons that came

	// What it says of the cluster; version.First and "" is one that has no identity yet.
	version version.Version
	id      string
	gc      bool     // it has no use for what it doesn't list
	names   []string // the metas that it names in its acknowledgements

	refuseLast base.ErrorCode // the answer to who wants the last member removed, "" grants it
	refused    int
	// accept: the last member shall go on with what it has.
	accept   bool
	mustHold int64 // known to be committed
	reports  map[base.RPCAddress]metaadmin.ConfigurationQueryByNodeRequest

	doubted bool          // the clocks of servers, as they tell, aren't its own
	noClock bool          // it doesn't tell its own
	ahead   time.Duration // by which its clock differs from the machine's

	busy      bool                                             // it decides nothing
	committed int64                                            // what who asked last to be the first member said is committed
	restores  []backup.ConfigurationReportRestoreStatusRequest // what was reported of restores

	stops    []placement.NodeStopRequest // what servers said of their end
	afterEnd int                         // beacons of such
	newer    bool                        // it knows of that, and acts

	mayList base.Opt[bool] // of all tables

	loads   int64              // loads with larger numbers haven't ended
	asked   []loading.LoadLeft // of which loads it was asked whether they have
	loadsID string             // of which cluster it is, as it answers that; "": as else
}

func (m *fakeMeta) setClock(doubted, silent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.doubted, m.noClock = doubted, silent
}

func (m *fakeMeta) beNewer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newer = true
}

// loadsEnded says which loads of files have ended.
func (m *fakeMeta) loadsEnded(req *rpc.Request) {
	var q loading.LoadsEndedRequest
	if err := req.DecodeArg(&q); err != nil {
		m.t.Error(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, q.Left...)
	r := &loading.LoadsEndedResponse{Err: base.ErrOK, ClusterId: base.NonZero(m.loadsID)}
	if m.loadsID == "" {
		r.ClusterId = base.NonZero(m.id)
	}
	for _, l := range q.Left {
		if l.LoadId <= m.loads {
			r.Ended = append(r.Ended, l)
		}
	}
	req.Reply(r)
}

func newFakeMeta(t testing.TB, partitions int32) *fakeMeta {
	t.Helper()
	m := &fakeMeta{t: t, pool: rpc.NewPool(rpc.PoolOptions{}), parts: map[base.Gpid]*layer2.PartitionConfiguration{},
		mute: map[base.RPCAddress]bool{}, beats: map[base.RPCAddress]int{}, reports: map[base.RPCAddress]metaadmin.ConfigurationQueryByNodeRequest{}, version: version.Newest, id: "ours"}
	m.app = layer2.NewAppInfo()
	m.app.Status, m.app.AppType, m.app.AppName, m.app.AppId = layer2.AS_AVAILABLE, "pegasus", "temp", 1
	m.app.PartitionCount, m.app.MaxReplicaCount, m.app.IsStateful = partitions, 3, true
	for i := range partitions {
		g := base.Gpid{AppID: 1, PartitionIndex: i}
		m.parts[g] = &layer2.PartitionConfiguration{Pid: g, MaxReplicaCount: 3}
	}
	mux := rpc.NewMux(quiet())
	mux.HandleFunc(base.RPCFailureDetectorPing, m.ping)
	mux.HandleFunc(base.RPCConfigSync, m.configSync)
	mux.HandleFunc("RPC_CM_LIST_APPS", m.listApps)
	mux.HandleFunc(base.RPCUpdatePartitionConfiguration, m.update)
	mux.HandleFunc(base.RPCNodeStop, m.giveOver)
	mux.HandleFunc(base.RPCReportRestoreStatus, m.restored)
	mux.HandleFunc(base.RPCLoadsEnded, m.loadsEnded)
	mux.HandleFunc(base.RPCDuplicationSync, func(req *rpc.Request) { // there are none
		req.Reply(&duplication.DuplicationSyncResponse{Err: base.ErrOK})
	})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.addr = l.Addr().String()
	s := rpc.NewServer(rpc.ServerOptions{}, mux, nil, quiet())
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
	m.beats[b.FromNode]++
	mute, v, id, names := m.mute[b.FromNode], m.version, m.id, base.Opt[[]string]{}
	if m.names != nil {
		names = base.Some(m.names)
	}
	clock, doubted := base.Some(time.Now().Add(m.ahead).UnixMilli()), base.Some(m.doubted)
	if m.noClock {
		clock, doubted = base.Opt[int64]{}, base.Opt[bool]{}
	}
	for _, s := range m.stops {
		if s.Gone && s.Node == b.FromNode && s.StartTime == b.StartTime.Or(0) {
			m.afterEnd++
			break
		}
	}
	m.mu.Unlock()
	if mute {
		req.Drop()
		return
	}
	req.Reply(&fd.BeaconAck{Time: b.Time, ThisNode: b.ToNode, PrimaryNode: b.ToNode, IsMaster: true, Allowed: b.ClusterId.V == id,
		ClusterVersion: base.Some(int32(v)), ClusterId: wireID(id), ClockMs: clock, ClockDoubted: doubted, MetaServers: names})
}

// wireID is a cluster's identity in a message.
func wireID(id string) base.Opt[string] { return base.Opt[string]{V: id, Set: id != ""} }

func (m *fakeMeta) listApps(req *rpc.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	req.Reply(&metaadmin.ConfigurationListAppsResponse{Err: base.ErrOK, Infos: []layer2.AppInfo{m.app}})
}

// become makes it the meta of a cluster.
func (m *fakeMeta) become(v version.Version, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version, m.id = v, id
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
	m.reports[q.Node] = q
	res := metaadmin.ConfigurationQueryByNodeResponse{Err: base.ErrOK, ClusterId: wireID(m.id)}
	for _, r := range q.StoredReplicas.V {
		if m.gc {
			res.GcReplicas = base.Some(append(res.GcReplicas.V, r))
		}
	}
	for _, p := range m.parts {
		if p.Primary == q.Node || slices.Contains(p.Secondaries, q.Node) {
			res.Partitions = append(res.Partitions, metaadmin.ConfigurationUpdateRequest{Info: m.app, Config: clone(p), Node: q.Node, MustHold: base.Some(m.mustHold), MayList: m.mayList})
		}
	}
	req.Reply(&res)
}

// reported returns what a node said last of its replica of g.
func (m *fakeMeta) reported(n base.RPCAddress, g base.Gpid) (metadata.ReplicaInfo, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.reports[n].StoredReplicas.V {
		if r.Pid == g {
			return r, true
		}
	}
	return metadata.ReplicaInfo{}, false
}

func (m *fakeMeta) beaconsOf(n base.RPCAddress) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beats[n]
}

func (m *fakeMeta) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
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
	case m.busy && q.Config.Ballot > 0:
		res.Err = base.ErrBusy
	case q.Config.Ballot != p.Ballot+1:
		res.Err = base.ErrInvalidVersion
	case m.accept && q.Config.Primary.IsZero() && len(q.Config.Secondaries) == 0:
	case m.refuseLast != "" && q.Config.Primary.IsZero() && len(q.Config.Secondaries) == 0:
		res.Err = m.refuseLast
		m.refused++
	default:
		if q.Type == metaadmin.CT_ASSIGN_PRIMARY {
			m.committed = q.Config.LastCommittedDecree
		}
		p.Ballot, p.Primary, p.Secondaries = q.Config.Ballot, q.Config.Primary, slices.Clone(q.Config.Secondaries)
	}
	res.Config = clone(p)
	req.Reply(&res)
}

// restored takes a report of a restore.
func (m *fakeMeta) restored(req *rpc.Request) {
	var q backup.ConfigurationReportRestoreStatusRequest
	if err := req.DecodeArg(&q); err != nil {
		m.t.Errorf("report of a restore: %v", err)
	}
	m.mu.Lock()
	m.restores = append(m.restores, q)
	m.mu.Unlock()
	req.Reply(&backup.ConfigurationReportRestoreStatusResponse{Err: base.ErrOK})
}

// propose sends what a meta would.
func (m *fakeMeta) propose(g base.Gpid, typ metaadmin.ConfigType, to, node base.RPCAddress) {
	m.mu.Lock()
	req := metaadmin.ConfigurationUpdateRequest{Info: m.app, Config: clone(m.parts[g]), Type: typ, Node: node, ClusterId: wireID(m.id)}
	m.mu.Unlock()
	m.pool.Go(to.String(), time.Second, rpc.Outgoing{Code: base.RPCConfigProposal, Arg: &req, OneWay: true}, nil)
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

// answerTime is how long a test waits for an answer that has to come.
const answerTime = 40 * time.Second

// testConfig has short times. A lease is long: who misses to renew it because the machine is busy serves
// nothing. A test that waits for its end sets brief.
func testConfig(t testing.TB) config.Config {
	t.Helper()
	c := config.Default()
	c.FD.BeaconInterval = config.Duration(50 * time.Millisecond)
	c.FD.Lease = config.Duration(12 * time.Second)
	c.FD.Grace = config.Duration(14 * time.Second)
	c.Replica.ConfigSync = config.Duration(200 * time.Millisecond)
	impatient(&c)
	c.Replica.DiskRetry = config.Duration(200 * time.Millisecond)
	c.Storage.BlockCacheBytes = 8 << 20
	c.Storage.MemtableBytes = 1 << 20
	c.WAL.SegmentBytes = 1 << 20
	return c
}

// brief makes leases run out soon.
func brief(c *config.Config) {
	c.FD.Lease, c.FD.Grace = config.Duration(4*time.Second), config.Duration(5*time.Second)
}

// impatient makes a primary do without a member soon. On a machine that is busy for as long it loses
// one that is well, too: add and same bring it back.
func impatient(c *config.Config) { c.Replica.PrepareTimeout = config.Duration(2 * time.Second) }

// patient is for tests in which no member may be lost.
func patient(c *config.Config) { c.Replica.PrepareTimeout = config.Duration(30 * time.Second) }

// node is a replica server in this process that can be stopped and started again.
type node struct {
	t   testing.TB
	cfg config.Config
	srv *Server
	end chan error

	addr base.RPCAddress // also of one that is stopped
	// ahead is by how much the machine's clock is wrong, in nanoseconds.
	ahead atomic.Int64
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
	// An address from which nobody connects: nobody has the port while the node is stopped.
	n.cfg.Replica.Listen = "127.0.0.2:0"
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
	clock := func() time.Time { return time.Now().Add(time.Duration(n.ahead.Load())) }
	if n.srv, err = newServer(n.cfg, l.Addr(), quiet(), clock); err != nil {
		n.t.Fatal(err)
	}
	n.addr = n.srv.Addr()
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
	const limit = 2 * time.Minute
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}
