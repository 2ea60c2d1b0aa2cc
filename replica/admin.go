package replica

import (
	"slices"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/replicaadmin"
	"pegasus/pacifica"
	"pegasus/rpc"
)

// registerAdmin adds the RPCs by which tools and a recovering meta ask what is here.
func (s *Server) registerAdmin(m *rpc.Mux) {
	m.HandleFunc("RPC_QUERY_DISK_INFO", admin(s.queryDisk))
	m.HandleFunc("RPC_QUERY_REPLICA_INFO", admin(s.queryReplicas))
	m.HandleFunc("RPC_QUERY_APP_INFO", admin(s.queryApps))
	m.HandleFunc("RPC_QUERY_PN_DECREE", admin(s.queryDecree))
	// What this server doesn't do is refused in words; tools show them.
	m.HandleFunc("RPC_REPLICA_DISK_MIGRATE", admin(func(q *replicaadmin.ReplicaDiskMigrateRequest, r *replicaadmin.ReplicaDiskMigrateResponse) {
		if r.Err = base.ErrObjectNotFound; s.replica(q.Pid) != nil {
			r.Err, r.Hint = base.ErrServiceNotActive, base.Some("this server can't move a replica between its disks")
		}
	}))
	m.HandleFunc("RPC_ADD_NEW_DISK", admin(func(_ *replicaadmin.AddNewDiskRequest, r *replicaadmin.AddNewDiskResponse) {
		r.Err, r.ErrHint = base.ErrServiceNotActive, base.Some("add the disk to replica.data_dirs and restart the server")
	}))
	m.HandleFunc("RPC_DETECT_HOTKEY", admin(s.detectHotkey))
}

type decoder[T any] interface {
	*T
	tbin.Decoder
}

type encoder[T any] interface {
	*T
	tbin.Encoder
}

// admin makes a handler of a function from a request to its answer.
func admin[Q, R any, PQ decoder[Q], PR encoder[R]](f func(*Q, *R)) func(*rpc.Request) {
	return func(req *rpc.Request) {
		q := new(Q)
		if err := req.DecodeArg(PQ(q)); err != nil {
			req.Refuse(base.ErrInvalidData, err)
			return
		}
		var r R
		f(q, &r)
		req.Reply(PR(&r))
	}
}

// queryDisk tells what the data directories hold, of all tables or of one.
func (s *Server) queryDisk(q *replicaadmin.QueryDiskInfoRequest, r *replicaadmin.QueryDiskInfoResponse) {
	type holding struct{ primary, secondary map[int32][]base.Gpid }
	held := map[*dataDir]*holding{}
	for _, d := range s.dirs {
		held[d] = &holding{map[int32][]base.Gpid{}, map[int32][]base.Gpid{}}
	}
	found := q.AppName == ""
	for _, rep := range s.all() { // in the order of their ids
		v := rep.look()
		if q.AppName != "" && v.info.AppName != q.AppName {
			continue
		}
		found = true
		switch app := rep.gpid.AppID; v.Status {
		case pacifica.Primary:
			held[rep.dir].primary[app] = append(held[rep.dir].primary[app], rep.gpid)
		case pacifica.Secondary:
			held[rep.dir].secondary[app] = append(held[rep.dir].secondary[app], rep.gpid)
		}
	}
	if !found {
		r.Err = base.ErrObjectNotFound
		return
	}
	r.Err = base.ErrOK
	for _, d := range s.dirs {
		total, avail := d.capacity()
		r.TotalCapacityMb += total >> 20
		r.TotalAvailableMb += avail >> 20
		r.DiskInfos = append(r.DiskInfos, replicaadmin.DiskInfo{
			Tag: d.tag, FullDir: d.path, DiskCapacityMb: total >> 20, DiskAvailableMb: avail >> 20,
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

// stored is a replica as it is reported to a meta.
func (r *replica) stored() metadata.ReplicaInfo {
	v := r.look()
	return metadata.ReplicaInfo{Pid: r.gpid, Ballot: v.Ballot, Status: wireStatus(v), LastCommittedDecree: v.Committed,
		LastPreparedDecree: v.Last, LastDurableDecree: r.store.Load().LastFlushed(), AppType: "pegasus", DiskTag: r.dir.tag,
		ManualCompactStatus: base.Some(metadata.IDLE)}
}

// queryReplicas lists every replica here: a meta that lost its state chooses by it.
func (s *Server) queryReplicas(_ *replicaadmin.QueryReplicaInfoRequest, r *replicaadmin.QueryReplicaInfoResponse) {
	r.Err = base.ErrOK
	for _, rep := range s.all() {
		r.Replicas = append(r.Replicas, rep.stored())
	}
}

// queryApps lists the tables that have a replica here, with what the replicas know of them.
func (s *Server) queryApps(_ *metaadmin.QueryAppInfoRequest, r *metaadmin.QueryAppInfoResponse) {
	r.Err = base.ErrOK
	at := map[int32]int{}
	newest := map[int32]int64{}
	for _, rep := range s.all() {
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
func (s *Server) queryDecree(q *replicaadmin.QueryReplicaDecreeRequest, r *replicaadmin.QueryReplicaDecreeResponse) {
	rep := s.replica(q.Pid)
	if rep == nil {
		r.Err = base.ErrObjectNotFound
		return
	}
	r.Err, r.LastDecree = base.ErrOK, rep.look().Committed
}
