package clienttest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metaquorum"
	"pegasus/rpc"
)

// Hook sees a request before the fake server does; true means that it has dealt with it.
// server is the index of a replica server, -1 for the meta.
type Hook func(server int, r *rpc.Request) bool

// Cluster is the fake. Its methods may be called while it serves.
type Cluster struct {
	Meta  string   // address of the meta server
	Nodes []string // addresses of the replica servers

	mu     sync.Mutex
	hook   Hook
	tables map[string]*table
	nextID int32
	seen   map[string]int
	now    func() time.Time
	ours   bool
}

type table struct {
	info  layer2.AppInfo
	parts []*partition
}

// Start runs a cluster until the test ends.
func Start(t testing.TB, nodes int) *Cluster {
	t.Helper()
	k := &Cluster{tables: map[string]*table{}, nextID: 1, seen: map[string]int{}, now: time.Now}
	var ls []net.Listener
	for range nodes + 1 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	// In the order of their ports, so that lists come out the same each time.
	slices.SortFunc(ls, func(a, b net.Listener) int { return a.Addr().(*net.TCPAddr).Port - b.Addr().(*net.TCPAddr).Port })
	for i, l := range ls {
		if i == 0 {
			k.Meta = l.Addr().String()
		} else {
			k.Nodes = append(k.Nodes, l.Addr().String())
		}
		k.serve(t, i-1, l)
	}
	return k
}

func (k *Cluster) serve(t testing.TB, index int, l net.Listener) {
	t.Helper()
	srv := rpc.NewServer(rpc.ServerOptions{}, rpc.HandlerFunc(func(r *rpc.Request) { k.answer(index, r) }), nil, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
		<-done
	})
}

// SetHook installs h; nil removes it.
func (k *Cluster) SetHook(h Hook) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hook = h
}

// SetOurs has the meta server answer what only servers of this program do.
func (k *Cluster) SetOurs() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ours = true
}

// Seen returns how often requests of that name came, hooked ones included.
func (k *Cluster) Seen(code string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen[code]
}

// SetNow replaces the clock that rows expire by.
func (k *Cluster) SetNow(now func() time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = now
}

// CreateTable makes a table whose partitions' primaries are dealt out in turn.
func (k *Cluster) CreateTable(name string, partitions, replicas int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.create(name, partitions, replicas)
}

func (k *Cluster) create(name string, partitions, replicas int) *table {
	tb := &table{info: layer2.NewAppInfo()}
	tb.info.Status, tb.info.AppType, tb.info.AppName, tb.info.AppId = layer2.AS_AVAILABLE, "pegasus", name, k.nextID
	tb.info.PartitionCount, tb.info.InitPartitionCount, tb.info.MaxReplicaCount = int32(partitions), int32(partitions), int32(replicas)
	tb.info.IsStateful, tb.info.CreateSecond = true, 1700000000
	k.nextID++
	for i := range partitions {
		p := newPartition(base.Gpid{AppID: tb.info.AppId, PartitionIndex: int32(i)})
		for j := range replicas {
			p.members = append(p.members, (i+j)%len(k.Nodes))
		}
		tb.parts = append(tb.parts, p)
	}
	k.tables[name] = tb
	return tb
}

// MovePrimary makes the server the primary of a partition; -1 leaves it without one.
func (k *Cluster) MovePrimary(name string, partition, server int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.tables[name].parts[partition]
	p.ballot++
	if server < 0 {
		p.members = nil
		return
	}
	p.members = append([]int{server}, slices.DeleteFunc(p.members, func(m int) bool { return m == server })...)
}

// LoseSessions forgets all open scans, as restarting servers do.
func (k *Cluster) LoseSessions() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, tb := range k.tables {
		for _, p := range tb.parts {
			clear(p.scans)
		}
	}
}

func (k *Cluster) addr(server int) base.RPCAddress {
	return base.MakeRPCAddress(netip.MustParseAddrPort(k.Nodes[server]))
}

func (k *Cluster) answer(server int, r *rpc.Request) {
	k.mu.Lock()
	k.seen[r.Code]++
	hook := k.hook
	k.mu.Unlock()
	if hook != nil && hook(server, r) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if server < 0 {
		k.answerMeta(r)
		return
	}
	for _, tb := range k.tables {
		if tb.info.AppId == r.Gpid.AppID && int(r.Gpid.PartitionIndex) < len(tb.parts) {
			p := tb.parts[r.Gpid.PartitionIndex]
			switch {
			case !slices.Contains(p.members, server):
				r.ReplyError(base.ErrObjectNotFound)
			case p.members[0] != server:
				r.ReplyError(base.ErrInvalidState)
			default:
				p.now = uint32(k.now().Unix() - base.EpochBegin)
				p.answer(r)
			}
			return
		}
	}
	r.ReplyError(base.ErrObjectNotFound)
}

// partitionConfig describes a partition.
func (k *Cluster) partitionConfig(tb *table, p *partition) layer2.PartitionConfiguration {
	pc := layer2.PartitionConfiguration{Pid: p.gpid, Ballot: p.ballot, MaxReplicaCount: tb.info.MaxReplicaCount, LastCommittedDecree: p.decree}
	for i, m := range p.members {
		if i == 0 {
			pc.Primary = k.addr(m)
		} else {
			pc.Secondaries = append(pc.Secondaries, k.addr(m))
		}
	}
	return pc
}

func (k *Cluster) answerMeta(r *rpc.Request) {
	switch r.Code {
	case base.RPCQueryPartitionConfigByIndex:
		var q layer2.QueryCfgRequest
		if !decode(r, &q) {
			return
		}
		res := &layer2.QueryCfgResponse{Err: base.ErrObjectNotFound}
		if tb := k.tables[q.AppName]; tb != nil && tb.info.Status == layer2.AS_AVAILABLE {
			res.Err, res.AppId, res.PartitionCount, res.IsStateful = base.ErrOK, tb.info.AppId, tb.info.PartitionCount, true
			for _, p := range tb.parts {
				res.Partitions = append(res.Partitions, k.partitionConfig(tb, p))
			}
		}
		r.Reply(res)
	case base.RPCCreateApp:
		var q metaadmin.ConfigurationCreateAppRequest
		if !decode(r, &q) {
			return
		}
		res := &metaadmin.ConfigurationCreateAppResponse{Err: base.ErrOK}
		tb := k.tables[q.AppName]
		switch {
		case q.Options.PartitionCount < 1 || int(q.Options.ReplicaCount) > len(k.Nodes):
			res.Err = base.ErrInvalidParameters
		case tb != nil && tb.info.Status == layer2.AS_AVAILABLE && !q.Options.SuccessIfExist:
			res.Err = base.ErrAppExist
		case tb != nil && tb.info.Status == layer2.AS_AVAILABLE:
			res.Appid = tb.info.AppId
		default:
			tb = k.create(q.AppName, int(q.Options.PartitionCount), int(q.Options.ReplicaCount))
			tb.info.Envs = q.Options.Envs
			res.Appid = tb.info.AppId
		}
		r.Reply(res)
	case base.RPCDropApp:
		var q metaadmin.ConfigurationDropAppRequest
		if !decode(r, &q) {
			return
		}
		res := &metaadmin.ConfigurationDropAppResponse{Err: base.ErrOK}
		switch tb := k.tables[q.AppName]; {
		case tb != nil && tb.info.Status == layer2.AS_AVAILABLE:
			tb.info.Status, tb.info.DropSecond = layer2.AS_DROPPED, 1700000100
		case !q.Options.SuccessIfNotExist:
			res.Err = base.ErrAppNotExist
		}
		r.Reply(res)
	case base.RPCListApps:
		var q metaadmin.ConfigurationListAppsRequest
		if !decode(r, &q) {
			return
		}
		res := &metaadmin.ConfigurationListAppsResponse{Err: base.ErrOK}
		for _, tb := range k.tables {
			if q.Status == layer2.AS_INVALID || q.Status == tb.info.Status {
				res.Infos = append(res.Infos, tb.info)
			}
		}
		r.Reply(res)
	case base.RPCListNodes:
		res := &metaadmin.ConfigurationListNodesResponse{Err: base.ErrOK}
		for i := range k.Nodes {
			res.Infos = append(res.Infos, metaadmin.NodeInfo{Status: metaadmin.NS_ALIVE, Node: k.addr(i)})
		}
		r.Reply(res)
	case base.RPCUpdateAppEnv:
		var q metaadmin.ConfigurationUpdateAppEnvRequest
		if !decode(r, &q) {
			return
		}
		r.Reply(k.updateEnvs(&q))
	case base.RPCClusterInfo:
		r.Reply(&metaadmin.ConfigurationClusterInfoResponse{Err: base.ErrOK, Keys: []string{"cluster_name"}, Values: []string{"fake"}})
	case base.RPCQuorumStatus:
		if !k.ours {
			r.ReplyError(base.ErrHandlerNotFound)
			return
		}
		r.Reply(&metaquorum.QuorumStatusResponse{Err: base.ErrOK, Cluster: "fake", Server: k.Meta, Leader: k.Meta})
	default:
		r.ReplyError(base.ErrHandlerNotFound)
	}
}

func (k *Cluster) updateEnvs(q *metaadmin.ConfigurationUpdateAppEnvRequest) *metaadmin.ConfigurationUpdateAppEnvResponse {
	res := &metaadmin.ConfigurationUpdateAppEnvResponse{Err: base.ErrOK}
	tb := k.tables[q.AppName]
	if tb == nil || tb.info.Status != layer2.AS_AVAILABLE {
		res.Err, res.HintMessage = base.ErrAppNotExist, "app cannot be found"
		return res
	}
	for i, key := range q.Keys.V {
		if q.Op == metaadmin.APP_ENV_OP_SET {
			if res.HintMessage = appenv.Validate(key, q.Values.V[i]); res.HintMessage != "" {
				res.Err = base.ErrInvalidParameters
				return res
			}
		}
		tb.info.Envs = slices.DeleteFunc(tb.info.Envs, func(e base.Pair[string, string]) bool { return e.Key == key })
		if q.Op == metaadmin.APP_ENV_OP_SET {
			tb.info.Envs = append(tb.info.Envs, base.Pair[string, string]{Key: key, Val: q.Values.V[i]})
		}
	}
	return res
}

func decode(r *rpc.Request, v tbin.Decoder) bool {
	if err := r.DecodeArg(v); err != nil {
		r.ReplyError(base.ErrInvalidData)
		return false
	}
	return true
}
