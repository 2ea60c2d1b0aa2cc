package meta

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/metaquorum"
	"pegasus/gen/replicaadmin"
	"pegasus/meta/service"
	"pegasus/rpc"
)

// maxWait is how long tests wait for something before they fail.
const maxWait = 90 * time.Second

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(maxWait)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", maxWait, what)
		}
		<-tick.C
	}
}

func testLog() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	if os.Getenv("META_TEST_LOG") != "" {
		l.SetOutput(os.Stderr)
		l.SetLevel(logrus.DebugLevel)
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "05.000"})
	}
	return logrus.NewEntry(l)
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// cluster is some metas and fake replica servers in this process.
type cluster struct {
	t     testing.TB
	cfg   config.Config
	metas []*metaProc
	reps  []*fakeReplica
	mu    sync.RWMutex // of reps, which a test may add to
	pool  *rpc.Pool
	net   network
	// begin is the version that the cluster begins with, of newClusterAt.
	begin version.Version
	ahead atomic.Int64 // of the metas' wall clock, in nanoseconds
	rates rates
}

// rates are the units of reads and writes that partitions serve in a second; nil: nobody tells.
type rates struct {
	mu    sync.Mutex
	of    map[base.Gpid][2]float64
	since time.Time
}

func (r *rates) get() (of map[base.Gpid][2]float64, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of, r.since
}

func (r *rates) set(of map[base.Gpid][2]float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of, r.since = of, time.Now()
}

func (c *cluster) wall() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// network is what the metas' connections to each other go over.
type network struct {
	mu    sync.Mutex
	cut   []string // metas that reach no other, and aren't reached
	conns map[net.Conn][2]string
}

func (n *network) dial(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		n.mu.Lock()
		cut := slices.Contains(n.cut, from) || slices.Contains(n.cut, to)
		n.mu.Unlock()
		if cut {
			return nil, fmt.Errorf("%s is cut off from %s", from, to)
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", to)
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if slices.Contains(n.cut, from) || slices.Contains(n.cut, to) {
			c.Close()
			return nil, fmt.Errorf("%s is cut off from %s", from, to)
		}
		if n.conns == nil {
			n.conns = map[net.Conn][2]string{}
		}
		n.conns[c] = [2]string{from, to}
		return c, nil
	}
}

// isolate cuts each of these metas off from all others, and heals the rest.
func (n *network) isolate(names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = names
	for c, ends := range n.conns {
		if slices.Contains(names, ends[0]) || slices.Contains(names, ends[1]) {
			c.Close()
			delete(n.conns, c)
		}
	}
}

type metaProc struct {
	name string
	cfg  config.Config
	srv  *Server // nil: stopped
}

func testConfig() config.Config {
	c := config.Default()
	c.FD.BeaconInterval = config.Duration(100 * time.Millisecond)
	// Nobody dies because the machine is busy. A killed server's port refuses, which is found out at once.
	c.FD.Lease = config.Duration(15 * time.Second)
	c.FD.Grace = config.Duration(18 * time.Second)
	c.Meta.CureInterval = config.Duration(50 * time.Millisecond)
	c.Meta.ReplaceWait = config.Duration(time.Second)
	c.Meta.ReserveBytes = 256 << 10
	c.Meta.RaftHeartbeat = config.Duration(200 * time.Millisecond)
	return c
}

// mortal is for tests in which servers die by being silent.
func mortal(c *config.Config) {
	c.FD.Lease, c.FD.Grace = config.Duration(2*time.Second), config.Duration(3*time.Second)
}

// steady is for tests in which who leads must not change by itself, also on a busy machine.
func steady(c *config.Config) { c.Meta.RaftHeartbeat = config.Duration(time.Second) }

// newCluster starts metas and replica servers.
func newCluster(t testing.TB, metas, replicas int, change func(*config.Config)) *cluster {
	t.Helper()
	return newClusterAt(t, 0, metas, replicas, change)
}

// newClusterAt starts a cluster that begins with a version, 0: the newest.
func newClusterAt(t testing.TB, begin version.Version, metas, replicas int, change func(*config.Config)) *cluster {
	t.Helper()
	var dirs []string
	for range metas {
		dirs = append(dirs, t.TempDir())
	}
	return newClusterIn(t, begin, dirs, replicas, change)
}

// newClusterIn starts a meta in each directory, and replica servers.
func newClusterIn(t testing.TB, begin version.Version, dirs []string, replicas int, change func(*config.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, cfg: testConfig(), pool: rpc.NewPool(rpc.PoolOptions{}), begin: begin}
	t.Cleanup(c.pool.Close)
	if change != nil {
		change(&c.cfg)
	}
	var lis []net.Listener
	c.cfg.Cluster.MetaServers = nil
	at := "127.0.0.3:0" // from which nobody connects: nobody takes the port of one that is stopped
	if usual := config.Default().Meta.Listen; c.cfg.Meta.Listen != usual {
		at, c.cfg.Meta.Listen = c.cfg.Meta.Listen, usual
	}
	for range dirs {
		l := listen(t, at)
		lis = append(lis, l)
		c.cfg.Cluster.MetaServers = append(c.cfg.Cluster.MetaServers, l.Addr().String())
	}
	for i, l := range lis {
		m := &metaProc{name: l.Addr().String(), cfg: c.cfg}
		m.cfg.Meta.DataDir = dirs[i]
		c.metas = append(c.metas, m)
		c.startMeta(m, l)
	}
	t.Cleanup(func() {
		for _, m := range c.metas {
			c.stopMeta(m)
		}
	})
	for range replicas {
		c.addReplica()
	}
	c.leader()
	for _, f := range c.reps {
		until(t, "every replica server is acknowledged", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return !f.acked.IsZero()
		})
	}
	return c
}

func (c *cluster) startMeta(m *metaProc, l net.Listener) {
	c.t.Helper()
	if l == nil {
		l = listen(c.t, m.name)
	}
	srv, err := New(Options{Config: m.cfg, Listener: l, Log: testLog(), Begin: c.begin, Dial: c.net.dial(m.name), Clock: c.wall, LoadPace: 100 * time.Millisecond})
	if err == nil {
		err = srv.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	m.srv = srv
}

func (c *cluster) stopMeta(m *metaProc) {
	c.t.Helper()
	if m.srv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	select {
	case err := <-m.srv.Failed():
		c.t.Errorf("meta %s: %v", m.name, err)
	default:
	}
	if err := m.srv.Stop(ctx); err != nil {
		c.t.Errorf("stop meta %s: %v", m.name, err)
	}
	m.srv = nil
}

// leader waits for a meta that leads.
func (c *cluster) leader() (found *metaProc) {
	c.t.Helper()
	until(c.t, "a meta leads", func() bool {
		i := slices.IndexFunc(c.metas, func(m *metaProc) bool { return m.srv != nil && m.srv.Leading() })
		if i >= 0 {
			found = c.metas[i]
		}
		return i >= 0
	})
	return found
}

func (c *cluster) follower() *metaProc {
	c.t.Helper()
	l := c.leader()
	i := slices.IndexFunc(c.metas, func(m *metaProc) bool { return m.srv != nil && m != l })
	return c.metas[i]
}

// id is the identity of the cluster that a meta says it has, "" if it has none or doesn't answer.
func (c *cluster) id(meta string) string {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	var r metaquorum.QuorumStatusResponse
	if err := c.pool.Call(ctx, meta, rpc.Outgoing{Code: "RPC_CM_QUORUM_STATUS", Arg: &metaquorum.QuorumStatusRequest{}}, &r); err != nil {
		return ""
	}
	return r.ClusterId.V
}

// identify makes what a replica server says that of a member of the cluster, unless it says
// something else.
func (c *cluster) identify(meta string, q tbin.Encoder) {
	var o *base.Opt[string]
	switch q := q.(type) {
	case *fd.BeaconMsg:
		o = &q.ClusterId
	case *metaadmin.ConfigurationQueryByNodeRequest:
		o = &q.ClusterId
	case *metaadmin.ConfigurationUpdateRequest:
		o = &q.ClusterId
	}
	if o != nil && !o.Set {
		*o = base.NonZero(c.id(meta))
	}
}

// call asks one meta. The framing is THFT unless out says otherwise.
func (c *cluster) call(to string, code string, f rpc.Framing, q tbin.Encoder, r tbin.Decoder) error {
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	c.identify(to, q)
	return c.pool.Call(ctx, to, rpc.Outgoing{Code: code, Arg: q, Framing: f}, r)
}

// ask asks the leader over THFT and wants an answer. On a busy machine it may be deposed just
// before it is asked: then whoever leads next is asked.
func (c *cluster) ask(code string, q tbin.Encoder, r tbin.Decoder) {
	c.t.Helper()
	until(c.t, code+" is answered by a leader", func() bool {
		answer := reflect.ValueOf(r).Elem()
		answer.SetZero()
		if err := c.call(c.leader().name, code, rpc.THFT0, q, r); err != nil {
			c.t.Fatal(err)
		}
		if answer.Kind() != reflect.Struct {
			return true
		}
		e := answer.FieldByName("Err")
		return !e.IsValid() || e.Interface() != base.ErrForwardToOthers && e.Interface() != base.ErrServiceNotActive
	})
}

func (c *cluster) create(name string, partitions, replicas int32) *metaadmin.ConfigurationCreateAppResponse {
	c.t.Helper()
	q := &metaadmin.ConfigurationCreateAppRequest{AppName: name, Options: metaadmin.CreateAppOptions{
		PartitionCount: partitions, ReplicaCount: replicas, AppType: "pegasus", IsStateful: true,
	}}
	r := &metaadmin.ConfigurationCreateAppResponse{}
	c.ask("RPC_CM_CREATE_APP", q, r)
	return r
}

func (c *cluster) mustCreate(name string, partitions, replicas int32) int32 {
	c.t.Helper()
	r := c.create(name, partitions, replicas)
	if r.Err != base.ErrOK {
		c.t.Fatalf("create %s: %v", name, r.Err)
	}
	return r.Appid
}

func (c *cluster) query(name string) *layer2.QueryCfgResponse {
	c.t.Helper()
	r := &layer2.QueryCfgResponse{}
	c.ask("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", &layer2.QueryCfgRequest{AppName: name}, r)
	return r
}

// whole waits until every partition of a table has n members, all of them up.
func (c *cluster) whole(name string, n int) *layer2.QueryCfgResponse {
	c.t.Helper()
	var r *layer2.QueryCfgResponse
	until(c.t, fmt.Sprintf("table %s has %d members everywhere", name, n), func() bool {
		r = c.query(name)
		if r.Err != base.ErrOK {
			return false
		}
		for _, p := range r.Partitions {
			if p.Primary == 0 || len(p.Secondaries) != n-1 {
				return false
			}
			for _, a := range append([]base.RPCAddress{p.Primary}, p.Secondaries...) {
				if f := c.replica(a); f == nil || !f.isUp() {
					return false
				}
			}
		}
		return true
	})
	return r
}

func (c *cluster) replica(a base.RPCAddress) *fakeReplica {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i := slices.IndexFunc(c.reps, func(f *fakeReplica) bool { return f.addr == a })
	if i < 0 {
		return nil
	}
	return c.reps[i]
}

// reported waits until every server has said what it stores now: a report that was on its
// way is older, and makes its replicas unfit until the next one.
func (c *cluster) reported() {
	c.t.Helper()
	for _, f := range c.reps {
		synced := func() int {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.synced
		}
		before := synced()
		until(c.t, "every server has reported", func() bool { return synced() >= before+2 })
	}
}

// fakeReplica does what the meta tells it, at once, without any data.
type fakeReplica struct {
	c     *cluster
	name  string
	addr  base.RPCAddress
	host  base.HostPort // what it calls itself; zero: nothing
	id    string        // of its data; "": it doesn't tell
	pool  *rpc.Pool
	srv   *rpc.Server
	stop  context.CancelFunc
	ctx   context.Context
	wg    sync.WaitGroup
	start int64

	mu        sync.Mutex
	up        bool
	mute      bool                    // sends no beacon
	ahead     time.Duration           // of its wall clock
	clock     base.Opt[time.Duration] // by how much what it was told last of the time is ahead; not set: doubted
	lazy      bool                    // ignores proposals, and doesn't confirm its roles
	leader    string
	acked     time.Time
	ackedSent time.Time // when what was acknowledged then was sent
	metas     []string  // as the leader named them with that
	confs     map[base.Gpid]layer2.PartitionConfiguration
	stored    map[base.Gpid]metadata.ReplicaInfo
	copies    sync.Map                 // of what stored doesn't show yet: it was learned
	infos     map[int32]layer2.AppInfo // of tables that it was told of
	gc        []base.Gpid
	disks     []metaadmin.DiskReport
	tag       string          // of the disk that has all its replicas
	moves     *fakeMoves      // nil: it can't move them between disks
	most      base.Opt[int32] // replicas it says it can hold
	synced    int             // configuration syncs that were answered
	proposals []metaadmin.ConfigurationUpdateRequest
	loads     fakeLoads
	updates   chan metaadmin.ConfigurationUpdateRequest
	asked     func() // called once, when it is asked for its tables; nil: nothing
}

func (c *cluster) addReplica() *fakeReplica {
	c.t.Helper()
	l := listen(c.t, "127.0.0.3:0")
	f := c.newReplica(l)
	f.begin(l)
	return f
}

// newReplica makes a server that isn't running yet.
func (c *cluster) newReplica(l net.Listener) *fakeReplica {
	f := &fakeReplica{c: c, name: l.Addr().String(), confs: map[base.Gpid]layer2.PartitionConfiguration{}, stored: map[base.Gpid]metadata.ReplicaInfo{}, infos: map[int32]layer2.AppInfo{}, start: 1}
	f.addr, _ = base.ParseAddr(f.name)
	c.mu.Lock()
	c.reps = append(c.reps, f)
	c.mu.Unlock()
	c.t.Cleanup(f.kill)
	return f
}

// begin starts the process; its configurations of before are only what it stored.
func (f *fakeReplica) begin(l net.Listener) {
	if l == nil {
		l = listen(f.c.t, f.name)
	}
	mux := rpc.NewMux(nil)
	mux.HandleFunc(base.RPCConfigProposal, f.onProposal)
	mux.HandleFunc(base.RPCLoadRows, f.onLoad)
	mux.HandleFunc("RPC_QUERY_APP_INFO", func(r *rpc.Request) {
		f.mu.Lock()
		asked := f.asked
		f.asked = nil
		f.mu.Unlock()
		if asked != nil {
			asked()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		a := &metaadmin.QueryAppInfoResponse{Err: base.ErrOK}
		for _, i := range f.infos {
			a.Apps = append(a.Apps, i)
		}
		r.Reply(a)
	})
	mux.HandleFunc("RPC_QUERY_REPLICA_INFO", func(r *rpc.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		a := &replicaadmin.QueryReplicaInfoResponse{Err: base.ErrOK}
		a.Replicas = f.replicas()
		r.Reply(a)
	})
	f.serveMoves(mux)
	f.srv = rpc.NewServer(rpc.ServerOptions{}, mux, nil, nil)
	f.pool = rpc.NewPool(rpc.PoolOptions{StallTimeout: time.Second})
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.mu.Lock()
	f.start++
	f.up = true
	f.leader = f.c.cfg.Cluster.MetaServers[0]
	f.confs = map[base.Gpid]layer2.PartitionConfiguration{}
	f.updates = make(chan metaadmin.ConfigurationUpdateRequest, 1024)
	f.mu.Unlock()
	srv, updates := f.srv, f.updates
	f.wg.Go(func() { srv.Serve(l) })
	f.wg.Go(f.beat)
	for range 8 {
		f.wg.Go(func() { f.update(updates) })
	}
}

// kill ends the process; its port refuses connections from then on.
func (f *fakeReplica) kill() {
	f.mu.Lock()
	was := f.up
	f.up = false
	f.mu.Unlock()
	if !was {
		return
	}
	f.stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.srv.Shutdown(ctx)
	f.pool.Close()
	f.wg.Wait()
}

func (f *fakeReplica) isUp() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.up && !f.mute
}

func (f *fakeReplica) set(mute, lazy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mute, f.lazy = mute, lazy
}

func (f *fakeReplica) call(code string, q tbin.Encoder, r tbin.Decoder) error {
	f.mu.Lock()
	to := f.leader
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	f.c.identify(to, q)
	return f.pool.Call(ctx, to, rpc.Outgoing{Code: code, Arg: q, From: f.addr}, r)
}

func (f *fakeReplica) beat() {
	t := time.NewTicker(f.c.cfg.FD.BeaconInterval.D())
	defer t.Stop()
	synced := time.Time{}
	for {
		f.mu.Lock()
		mute := f.mute
		f.mu.Unlock()
		if !mute && f.beacon() && time.Since(synced) > 200*time.Millisecond {
			synced = time.Now()
			f.sync()
		}
		select {
		case <-f.ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (f *fakeReplica) beacon() bool {
	f.mu.Lock()
	sent := time.Now()
	b := &fd.BeaconMsg{Time: sent.Add(f.ahead).UnixMilli(), FromNode: f.addr, StartTime: base.Some(f.start), Version: base.Some(int32(version.Newest)),
		HpFromNode: base.Opt[base.HostPort]{V: f.host, Set: !f.host.IsZero()}, ServerId: base.NonZero(f.id)}
	f.mu.Unlock()
	var ack fd.BeaconAck
	err := f.call("RPC_FD_FAILURE_DETECTOR_PING", b, &ack)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil && ack.IsMaster:
		if ack.ClusterId.V != b.ClusterId.V {
			return false // it has just begun, or was raised
		}
		if ack.Time != b.Time || !ack.Allowed {
			f.c.t.Errorf("ack: %+v", ack)
		}
		f.acked, f.ackedSent, f.metas = time.Now(), sent, ack.MetaServers.Or(nil)
		if f.clock = (base.Opt[time.Duration]{}); ack.ClockMs.Set && !ack.ClockDoubted.V {
			f.clock = base.Some(time.Until(time.UnixMilli(ack.ClockMs.V)))
		}
		return true
	case err == nil && ack.PrimaryNode != 0 && ack.PrimaryNode.String() != f.leader:
		f.leader = ack.PrimaryNode.String()
	default:
		metas := f.metas
		if len(metas) == 0 {
			metas = f.c.cfg.Cluster.MetaServers
		}
		f.leader = metas[(slices.Index(metas, f.leader)+1)%len(metas)]
	}
	return false
}

func (f *fakeReplica) sync() {
	f.mu.Lock()
	q := &metaadmin.ConfigurationQueryByNodeRequest{Node: f.addr, HpNode: base.Opt[base.HostPort]{V: f.host, Set: !f.host.IsZero()}}
	q.StoredReplicas.Set = true
	q.StoredReplicas.V = f.replicas()
	if len(f.disks) > 0 {
		q.Disks = base.Some(f.disks)
	}
	q.MaxReplicas = f.most
	lazy := f.lazy
	f.mu.Unlock()
	var r metaadmin.ConfigurationQueryByNodeResponse
	if err := f.call("RPC_CM_CONFIG_SYNC", q, &r); err != nil || r.Err != base.ErrOK {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced++
	for _, g := range r.GcReplicas.V {
		f.gc = append(f.gc, g.Pid)
		delete(f.stored, g.Pid)
		f.copies.Delete(g.Pid)
	}
	for _, p := range r.Partitions {
		g := p.Config.Pid
		old, known := f.confs[g]
		if !lazy && !known && p.Config.Primary == f.addr && p.Config.Ballot > f.stored[g].Ballot-1 {
			// The first that this process hears of it: the role must be confirmed.
			p.Type, p.Node = metaadmin.CT_PRIMARY_FORCE_UPDATE_BALLOT, f.addr
			p.Config.Ballot++
			f.want(p)
		} else if p.Config.Ballot > old.Ballot {
			f.adopt(p.Config)
		}
	}
}

// adopt takes a configuration. The caller holds mu.
func (f *fakeReplica) adopt(p layer2.PartitionConfiguration) {
	if p.Ballot < f.confs[p.Pid].Ballot {
		return
	}
	f.confs[p.Pid] = p
	f.stored[p.Pid] = metadata.ReplicaInfo{Pid: p.Pid, Ballot: p.Ballot, Status: metadata.PS_INACTIVE}
}

func (f *fakeReplica) want(q metaadmin.ConfigurationUpdateRequest) {
	select {
	case f.updates <- q:
	default:
	}
}

// update sends what the replica wants of the meta. Calls of one partition may overtake
// each other, as they may in a network.
func (f *fakeReplica) update(ch chan metaadmin.ConfigurationUpdateRequest) {
	for {
		select {
		case <-f.ctx.Done():
			return
		case q := <-ch:
			var r metaadmin.ConfigurationUpdateResponse
			if err := f.call("RPC_CM_UPDATE_PARTITION_CONFIGURATION", &q, &r); err != nil {
				continue
			}
			if r.Err == base.ErrOK || r.Err == base.ErrInvalidVersion {
				f.mu.Lock()
				f.adopt(r.Config)
				f.mu.Unlock()
			}
			// Another change came first: what is still wanted is asked for again.
			cur := &r.Config
			if r.Err == base.ErrInvalidVersion && cur.Primary == f.addr && q.Type == metaadmin.CT_UPGRADE_TO_SECONDARY && !slices.Contains(cur.Secondaries, q.Node) {
				q.Config = *cur
				q.Config.Ballot++
				q.Config.Secondaries = append(slices.Clone(cur.Secondaries), q.Node)
				f.want(q)
			}
		}
	}
}

func (f *fakeReplica) onProposal(req *rpc.Request) {
	var p metaadmin.ConfigurationUpdateRequest
	err := req.DecodeArg(&p)
	req.Drop()
	if err != nil {
		f.c.t.Errorf("proposal: %v", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proposals = append(f.proposals, p)
	f.infos[p.Info.AppId] = p.Info
	if f.lazy {
		return
	}
	q := p
	q.Config.Ballot++
	switch p.Type {
	case metaadmin.CT_ASSIGN_PRIMARY:
		q.Config.Primary, q.Node = f.addr, f.addr
	case metaadmin.CT_ADD_SECONDARY, metaadmin.CT_ADD_SECONDARY_FOR_LB:
		q.Type = metaadmin.CT_UPGRADE_TO_SECONDARY
		if peer := f.c.replica(p.Node); peer == nil || !peer.learns(p.Config.Pid) {
			return
		}
		q.Config.Secondaries = append(slices.Clone(p.Config.Secondaries), p.Node)
	case metaadmin.CT_REMOVE, metaadmin.CT_DOWNGRADE_TO_INACTIVE:
		q.Config.Secondaries = slices.DeleteFunc(slices.Clone(p.Config.Secondaries), func(a base.RPCAddress) bool { return a == p.Node })
	case metaadmin.CT_UPGRADE_TO_PRIMARY:
		if p.Config.Primary != f.addr {
			f.c.t.Errorf("%s is told to be primary of %v, which has %v", f.name, p.Config.Pid, p.Config.Primary)
		}
		f.adopt(p.Config)
		return
	case metaadmin.CT_INVALID:
		f.adopt(p.Config)
		return
	case metaadmin.CT_DROP_PARTITION:
		delete(f.confs, p.Config.Pid)
		return
	default:
		f.c.t.Errorf("proposal %v", p.Type)
		return
	}
	f.want(q)
}

// replicas lists what it holds. The caller holds mu.
func (f *fakeReplica) replicas() (list []metadata.ReplicaInfo) {
	rates, since := f.c.rates.get()
	for _, r := range f.stored {
		if rates != nil {
			used := func(perSecond float64) base.Opt[int64] {
				return base.Some(int64(perSecond * time.Since(since).Seconds()))
			}
			r.ReadUnits, r.WriteUnits = used(rates[r.Pid][0]), used(rates[r.Pid][1])
		}
		if f.tag != "" {
			r.DiskTag = f.tag
		}
		if f.moves != nil {
			f.moves.tell(f, &r)
		}
		list = append(list, r)
	}
	f.copies.Range(func(g, _ any) bool {
		if _, ok := f.stored[g.(base.Gpid)]; !ok {
			list = append(list, metadata.ReplicaInfo{Pid: g.(base.Gpid), Status: metadata.PS_INACTIVE, DiskTag: f.tag})
		}
		return true
	})
	return list
}

// learns tells whether the node would take a copy of g; it has one then.
func (f *fakeReplica) learns(g base.Gpid) bool {
	defer f.copies.Store(g, true)
	if !f.mu.TryLock() {
		return true // busy, so it is there
	}
	defer f.mu.Unlock()
	return f.up && !f.lazy
}

func (f *fakeReplica) told(typ metaadmin.ConfigType) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.proposals {
		if p.Type == typ {
			n++
		}
	}
	return n
}

// tables is the service of tables of a server that leads.
func (s *Server) tables() *tables { return serviceOf[*tables](s.leader.Load()) }

// serviceOf returns a leader's service of that type.
func serviceOf[S service.Service](l *leader) S {
	for _, s := range l.services {
		if s, ok := s.(S); ok {
			return s
		}
	}
	panic("no such service")
}
