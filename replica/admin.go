package replica

import (
	"fmt"
	"slices"

	"pegasus/base"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/replicaadmin"
	"pegasus/pacifica"
	"pegasus/remotecmd"
	"pegasus/replica/disk"
	"pegasus/replica/part"
	"pegasus/rpc"
)

// administrator answers the RPCs by which tools and a recovering meta ask what is here.
type administrator struct {
	part.Quiet
	srv *Server
}

func newAdmin(s *Server) part.Part { return administrator{srv: s} }

// Register implements part.Part.
func (a administrator) Register(rt *part.Routes) {
	part.Handle(rt, base.RPCQueryDiskInfo, part.Fast, a.queryDisk)
	part.Handle(rt, base.RPCQueryReplicaInfo, part.Fast, a.queryReplicas)
	part.Handle(rt, base.RPCQueryAppInfo, part.Fast, a.queryApps)
	part.Handle(rt, base.RPCQueryPNDecree, part.Fast, a.queryDecree)
	rt.Command(remotecmd.Command{Name: "replica.sync-config", Shows: remotecmd.Always, Help: "Compare the replicas here, and their tables' settings, with the meta's now", Run: func([]string) string {
		a.srv.meta.SyncSoon()
		return "OK"
	}})
	part.Handle(rt, base.RPCAddNewDisk, part.Slow, func(_ *rpc.Request, q *replicaadmin.AddNewDiskRequest, r *replicaadmin.AddNewDiskResponse) {
		if err := a.srv.disks.AddAll(q.DiskStr); err != nil {
			r.Err, r.ErrHint = base.CodeOf(err), base.Some(err.Error())
			return
		}
		r.Err = base.ErrOK
	})
}

// counters are the sizes of the replicas, by the name that upstream had for them: admin-cli asks for these.
func (a administrator) counters() (out []remotecmd.Counter) {
	for _, r := range a.srv.all() {
		if size := r.reportedSize(); size.Set {
			out = append(out, remotecmd.Counter{Name: fmt.Sprintf("replica*app.pegasus*disk.storage.sst(MB)@%v", r.gpid), Type: remotecmd.Number, Value: float64(size.V) / (1 << 20)})
		}
	}
	return out
}

// queryDisk tells what the data directories hold, of all tables or of one.
func (a administrator) queryDisk(_ *rpc.Request, q *replicaadmin.QueryDiskInfoRequest, r *replicaadmin.QueryDiskInfoResponse) {
	a.tellDisks(a.srv.disks.All(), q, r)
}

// tellDisks tells what these directories hold. There may be another one meanwhile, with replicas.
func (a administrator) tellDisks(dirs []*disk.Dir, q *replicaadmin.QueryDiskInfoRequest, r *replicaadmin.QueryDiskInfoResponse) {
	type holding struct{ primary, secondary map[int32][]base.Gpid }
	held := map[*disk.Dir]*holding{}
	for _, d := range dirs {
		held[d] = &holding{map[int32][]base.Gpid{}, map[int32][]base.Gpid{}}
	}
	found := q.AppName == ""
	for _, rep := range a.srv.all() { // in the order of their ids
		v := rep.look()
		if q.AppName != "" && v.info.AppName != q.AppName {
			continue
		}
		found = true
		in := held[rep.dir.Dir]
		if in == nil {
			continue
		}
		switch app := rep.gpid.AppID; v.Status {
		case pacifica.Primary:
			in.primary[app] = append(in.primary[app], rep.gpid)
		case pacifica.Secondary:
			in.secondary[app] = append(in.secondary[app], rep.gpid)
		}
	}
	if !found {
		r.Err = base.ErrObjectNotFound
		return
	}
	r.Err = base.ErrOK
	for _, d := range dirs {
		total, avail := d.Capacity()
		r.TotalCapacityMb += total >> 20
		r.TotalAvailableMb += avail >> 20
		r.DiskInfos = append(r.DiskInfos, replicaadmin.DiskInfo{
			Tag: d.Tag, FullDir: d.Path, DiskCapacityMb: total >> 20, DiskAvailableMb: avail >> 20,
			HoldingPrimaryReplicas: byApp(held[d].primary), HoldingSecondaryReplicas: byApp(held[d].secondary),
		})
	}
}

func byApp(m map[int32][]base.Gpid) []base.Pair[int32, []base.Gpid] {
	out := make([]base.Pair[int32, []base.Gpid], 0, len(m))
	for app, gs := range m {
		out = append(out, base.Pair[int32, []base.Gpid]{Key: app, Val: gs})
	}
	slices.SortFunc(out, func(a, b base.Pair[int32, []base.Gpid]) int { return int(a.Key) - int(b.Key) })
	return out
}

// queryReplicas lists every replica here: a meta that lost its state chooses by it.
func (a administrator) queryReplicas(_ *rpc.Request, _ *replicaadmin.QueryReplicaInfoRequest, r *replicaadmin.QueryReplicaInfoResponse) {
	r.Err, r.ClusterId = base.ErrOK, a.srv.meta.Identity.Wire()
	for _, rep := range a.srv.all() {
		v := rep.look()
		i := rep.reported(v)
		// Who rebuilds the metas' state tells by it how far a split is.
		i.PartitionCount = base.NonZero(v.info.Partitions)
		if st := rep.store.Load(); st != nil {
			i.CutCount = base.NonZero(st.Cut().Count)
		}
		r.Replicas = append(r.Replicas, i)
	}
}

// queryApps lists the tables that have a replica here, with what the replicas know of them.
func (a administrator) queryApps(_ *rpc.Request, _ *metaadmin.QueryAppInfoRequest, r *metaadmin.QueryAppInfoResponse) {
	r.Err = base.ErrOK
	at := map[int32]int{}
	newest := map[int32]int64{}
	for _, rep := range a.srv.all() {
		v := rep.look()
		i, known := at[rep.gpid.AppID]
		if !known {
			i = len(r.Apps)
			at[rep.gpid.AppID] = i
			r.Apps = append(r.Apps, layer2.AppInfo{})
		} else if v.Ballot <= newest[rep.gpid.AppID] {
			continue
		}
		newest[rep.gpid.AppID] = v.Ballot
		r.Apps[i] = tableOf(v)
	}
}

// tableOf is what a replica knows of its table.
func tableOf(v *view) layer2.AppInfo {
	a := layer2.NewAppInfo()
	a.Status, a.AppType, a.IsStateful = layer2.AS_AVAILABLE, "pegasus", true
	a.AppName, a.AppId, a.PartitionCount, a.MaxReplicaCount = v.info.AppName, v.info.AppID, v.info.Partitions, v.info.MaxReplica
	a.InitPartitionCount = v.info.Partitions
	a.CreateSecond, a.AtomicIdempotent = v.info.Created, base.Some(v.info.Atomic)
	for k, val := range v.info.Envs {
		a.Envs = append(a.Envs, base.Pair[string, string]{Key: k, Val: val})
	}
	slices.SortFunc(a.Envs, func(x, y base.Pair[string, string]) int {
		if x.Key < y.Key {
			return -1
		}
		return 1
	})
	return a
}

// queryDecree tells the last committed decree of a replica.
func (a administrator) queryDecree(_ *rpc.Request, q *replicaadmin.QueryReplicaDecreeRequest, r *replicaadmin.QueryReplicaDecreeResponse) {
	rep := a.srv.replica(q.Pid)
	if rep == nil {
		r.Err = base.ErrObjectNotFound
		return
	}
	r.Err, r.LastDecree = base.ErrOK, rep.look().Committed
}
