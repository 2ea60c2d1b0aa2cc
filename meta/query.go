package meta

import (
	"fmt"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/tbin"
	"pegasus/base/version"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/meta/service"
	"pegasus/meta/state"
	"pegasus/meta/wire"
	"pegasus/rpc"
)

// onQueryConfig tells clients where the partitions of a table are. A server that doesn't
// lead answers with the leader's address in the place of a primary.
func (s *Server) onQueryConfig(req *rpc.Request) { s.answerQuery(req, false) }

// answerQuery is onQueryConfig; held: the request waited for a leader.
func (s *Server) answerQuery(req *rpc.Request, held bool) {
	var q layer2.QueryCfgRequest
	if err := req.DecodeArg(&q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	names := s.names(req)
	l := s.leader.Load()
	if l == nil {
		limit := holdTime
		if q.AppName == "" {
			limit = probeHoldTime
		}
		s.redirect(req, func(code base.ErrorCode) tbin.Encoder {
			r := &layer2.QueryCfgResponse{Err: code}
			if to := s.leaderAddr(); code == base.ErrForwardToOthers && to != 0 {
				r.Partitions = []layer2.PartitionConfiguration{{Primary: to, HpPrimary: names.Opt(to)}}
			}
			return r
		}, holdUnless(held, limit), func() { s.answerQuery(req, true) })
		return
	}
	r := l.nodes.queryConfig(&q, names)
	if req.Framing.Thrift() && r.Err == base.ErrOK {
		l.nodes.list(r)
	}
	if r.Err == base.ErrObjectNotFound && q.AppName != "" { // without a name: who asks wants to know who leads
		req.Complain(fmt.Errorf("there is no table %.*q", base.MaxTableName, q.AppName))
	}
	req.Reply(r)
}

// queryConfig tells where the partitions of a table are.
func (ns *nodes) queryConfig(q *layer2.QueryCfgRequest, names *wire.Names) *layer2.QueryCfgResponse {
	r := &layer2.QueryCfgResponse{Err: base.ErrObjectNotFound}
	ns.s.fsm.read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			return
		}
		r.Err, r.AppId, r.PartitionCount, r.IsStateful = base.ErrOK, t.ID, int32(len(t.Parts)), t.Stateful
		for _, i := range q.PartitionIndices {
			if i >= 0 && int(i) < len(t.Parts) && len(r.Partitions) < len(t.Parts) {
				r.Partitions = append(r.Partitions, wire.Partition(t, base.Gpid{AppID: t.ID, PartitionIndex: i}, &t.Parts[i]))
			}
		}
		if len(r.Partitions) > 0 {
			return
		}
		r.Partitions = make([]layer2.PartitionConfiguration, len(t.Parts))
		for i := range t.Parts {
			r.Partitions[i] = wire.Partition(t, base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i])
		}
	})
	if r.Err == base.ErrObjectNotFound {
		if t := ns.promised(q.AppName); t != nil {
			r.Err, r.AppId, r.PartitionCount, r.IsStateful = base.ErrOK, t.ID, int32(len(t.Parts)), t.Stateful
			for i := range t.Parts {
				r.Partitions = append(r.Partitions, wire.Partition(t, base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i]))
			}
		}
	}
	dead := ns.view.Load().dead
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if dead[p.Primary] {
			p.Primary = 0 // until another one is chosen
		}
		names.Fill(p)
	}
	return r
}

// list makes of an answer what published clients get that speak THFT. A table that was split has an id that says how many partitions
// are in the answer, see base.Listing. A child that isn't registered is where its parent is, which serves its rows: not all of
// these clients know of partitions that aren't ready, and the scanners of none do.
func (ns *nodes) list(r *layer2.QueryCfgResponse) {
	split := false
	ns.s.fsm.read(func(st *state.State) {
		if t := st.Table(r.AppId); t != nil && st.Version().Allows(version.Listings) && st.MayList(t.ID) {
			looks, _ := t.Env(appenv.ValidateHash)
			split = looks == "true" || int32(len(t.Parts)) != t.InitPartitions
		}
	})
	if !split {
		return
	}
	r.AppId = base.ListedID(r.AppId, r.PartitionCount)
	half := r.PartitionCount / 2
	if int(r.PartitionCount) != len(r.Partitions) || half&(half-1) != 0 || r.PartitionCount%2 != 0 {
		return // a server couldn't tell whose child it is
	}
	for i := half; i < r.PartitionCount; i++ {
		if p := &r.Partitions[i]; p.Ballot == state.ChildBallot {
			pid := p.Pid
			*p = r.Partitions[i-half]
			p.Pid = pid
		}
	}
}

// promised returns the default table of that name that will be made once replica servers show up, as it
// will be then: nil if there is none, or if some server was heard of. In a cluster without servers
// clients may open it and wait; as soon as one is there it is looked whether the cluster is a
// new one (makeDefaults).
func (ns *nodes) promised(name string) *state.Table {
	for i := range ns.s.defaults {
		if d := &ns.s.defaults[i]; d.Name == name {
			promised := false
			ns.locked(func(st *state.State) {
				promised = st.Fresh() && !st.Restored() && len(ns.det.Nodes()) == 0 && len(ns.byAddr) == 0
			})
			if !promised {
				return nil
			}
			return &state.Table{ID: int32(i) + 1, Status: state.Available, Name: d.Name, Type: d.Type, Stateful: d.Stateful, MaxReplicas: d.MaxReplicas,
				InitPartitions: d.Partitions, Parts: make([]state.Config, d.Partitions)}
		}
	}
	return nil
}

func (ts *tables) listApps(_ *service.Call, q *metaadmin.ConfigurationListAppsRequest, r *metaadmin.ConfigurationListAppsResponse) {
	r.Err = base.ErrOK
	if hint := ts.nodes.unknownTablesHint(); hint != "" {
		r.HintMessage = base.Some(hint)
	}
	ts.s.fsm.read(func(st *state.State) {
		st.Tables(func(t *state.Table) {
			if r.Err != base.ErrOK {
				return
			}
			if q.AppNamePattern.Set && q.MatchType.Set {
				matches, known := wire.MatchName(t.Name, q.AppNamePattern.V, q.MatchType.V)
				if !known {
					r.Err, r.Infos = base.ErrNotImplemented, nil
					r.HintMessage = base.Some(fmt.Sprintf("match_type is not supported: val=%d, str=%v", q.MatchType.V, q.MatchType.V))
				}
				if !matches {
					return
				}
			}
			if q.Status == layer2.AS_INVALID || q.Status == layer2.AppStatus(t.Status) {
				r.Infos = append(r.Infos, wire.AppInfo(t))
			}
		})
	})
}
