package meta

import (
	"fmt"
	"math"
	"strings"

	"pegasus/base"
	"pegasus/base/tbin"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/utils"
	"pegasus/meta/state"
	"pegasus/rpc"
)

// onQueryConfig tells clients where the partitions of a table are. A server that doesn't
// lead answers with the leader's address in the place of a primary.
func (s *Server) onQueryConfig(req *rpc.Request) {
	var q layer2.QueryCfgRequest
	if err := req.DecodeArg(&q); err != nil {
		req.Refuse(base.ErrInvalidData, err)
		return
	}
	names := s.names(req.Framing)
	l := s.leader.Load()
	if l == nil {
		s.redirect(req, func(code base.ErrorCode) tbin.Encoder {
			r := &layer2.QueryCfgResponse{Err: code}
			if to := s.leaderAddr(); code == base.ErrForwardToOthers && to != 0 {
				r.Partitions = []layer2.PartitionConfiguration{{Primary: to, HpPrimary: names.opt(to)}}
			}
			return r
		})
		return
	}
	r := l.queryConfig(&q, names)
	if r.Err == base.ErrObjectNotFound {
		req.Complain(fmt.Errorf("there is no table %.*q", maxTableName, q.AppName))
	}
	req.Reply(r)
}

func (l *leader) queryConfig(q *layer2.QueryCfgRequest, names *names) *layer2.QueryCfgResponse {
	r := &layer2.QueryCfgResponse{Err: base.ErrObjectNotFound}
	l.s.fsm.read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			return
		}
		r.Err, r.AppId, r.PartitionCount, r.IsStateful = base.ErrOK, t.ID, int32(len(t.Parts)), t.Stateful
		for _, i := range q.PartitionIndices {
			if i >= 0 && int(i) < len(t.Parts) && len(r.Partitions) < len(t.Parts) {
				r.Partitions = append(r.Partitions, partition(t, base.Gpid{AppID: t.ID, PartitionIndex: i}, &t.Parts[i]))
			}
		}
		if len(r.Partitions) > 0 {
			return
		}
		r.Partitions = make([]layer2.PartitionConfiguration, len(t.Parts))
		for i := range t.Parts {
			r.Partitions[i] = partition(t, base.Gpid{AppID: t.ID, PartitionIndex: int32(i)}, &t.Parts[i])
		}
	})
	dead := l.view.Load().dead
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if dead[p.Primary] {
			p.Primary = 0 // until another one is chosen
		}
		names.fill(p)
	}
	return r
}

func (c *call) listApps(q *metaadmin.ConfigurationListAppsRequest, r *metaadmin.ConfigurationListAppsResponse) {
	r.Err = base.ErrOK
	c.s.fsm.read(func(st *state.State) {
		st.Tables(func(t *state.Table) {
			if r.Err != base.ErrOK {
				return
			}
			if q.AppNamePattern.Set && q.MatchType.Set {
				matches, known := matchName(t.Name, q.AppNamePattern.V, q.MatchType.V)
				if !known {
					r.Err, r.Infos = base.ErrNotImplemented, nil
					r.HintMessage = base.Some(fmt.Sprintf("match_type is not supported: val=%d, str=%v", q.MatchType.V, q.MatchType.V))
				}
				if !matches {
					return
				}
			}
			if q.Status == layer2.AS_INVALID || q.Status == layer2.AppStatus(t.Status) {
				r.Infos = append(r.Infos, appInfo(t))
			}
		})
	})
}

func matchName(name, pattern string, typ utils.PatternMatchType) (matches, known bool) {
	switch typ {
	case utils.PMT_MATCH_ALL:
		return true, true
	case utils.PMT_MATCH_EXACT:
		return name == pattern, true
	case utils.PMT_MATCH_ANYWHERE:
		return strings.Contains(name, pattern), true
	case utils.PMT_MATCH_PREFIX:
		return strings.HasPrefix(name, pattern), true
	case utils.PMT_MATCH_POSTFIX:
		return strings.HasSuffix(name, pattern), true
	}
	return false, false
}

func (c *call) listNodes(q *metaadmin.ConfigurationListNodesRequest, r *metaadmin.ConfigurationListNodesResponse) {
	r.Err = base.ErrOK
	c.mu.Lock()
	nodes := c.det.Nodes()
	c.mu.Unlock()
	for _, status := range []metaadmin.NodeStatus{metaadmin.NS_ALIVE, metaadmin.NS_UNALIVE} {
		if q.Status != metaadmin.NS_INVALID && q.Status != status {
			continue
		}
		for _, n := range nodes {
			if n.Alive == (status == metaadmin.NS_ALIVE) {
				r.Infos = append(r.Infos, metaadmin.NodeInfo{Status: status, Node: n.Addr, HpNode: c.names.opt(n.Addr)})
			}
		}
	}
}

func (c *call) clusterInfo(_ *metaadmin.ConfigurationClusterInfoRequest, r *metaadmin.ConfigurationClusterInfoResponse) {
	r.Err = base.ErrOK
	primaries, replicas := c.balance()
	for _, kv := range [][2]string{
		{"meta_servers", strings.Join(c.s.memberNames(), ",")},
		{"primary_meta_server", c.s.name},
		{"zookeeper_hosts", ""}, // there is none; tools look for the keys
		{"zookeeper_root", ""},
		{"meta_function_level", strings.TrimPrefix(metaadmin.MetaFunctionLevel(c.level()).String(), "fl_")},
		{"balance_operation_count", indented(c.operations())},
		{"primary_replica_count_stddev", fmt.Sprintf("%.2f", primaries)},
		{"total_replica_count_stddev", fmt.Sprintf("%.2f", replicas)},
		{"cluster_name", c.s.cfg.Cluster.Name},
	} {
		r.Keys = append(r.Keys, kv[0])
		r.Values = append(r.Values, kv[1])
	}
}

// balance returns the standard deviations of primaries and of replicas over the living
// nodes that serve something: of a sample if a dead node still is a member somewhere.
func (l *leader) balance() (primaries, replicas float64) {
	var p, r []float64
	partial := false
	dead := l.view.Load().dead
	l.s.fsm.read(func(st *state.State) {
		for _, a := range st.Members() {
			if dead[a] {
				partial = true
				continue
			}
			load := st.Load(a)
			p, r = append(p, float64(load.Primaries)), append(r, float64(load.Replicas))
		}
	})
	return deviation(p, partial), deviation(r, partial)
}

func deviation(v []float64, sample bool) float64 {
	if len(v) <= 1 {
		return 0
	}
	var sum, squares float64
	for _, x := range v {
		sum += x
	}
	mean := sum / float64(len(v))
	for _, x := range v {
		squares += (x - mean) * (x - mean)
	}
	n := len(v)
	if sample {
		n--
	}
	return math.Sqrt(squares / float64(n))
}

func (c *call) controlMeta(q *metaadmin.ConfigurationMetaControlRequest, r *metaadmin.ConfigurationMetaControlResponse) {
	r.Err, r.OldLevel = base.ErrOK, metaadmin.MetaFunctionLevel(c.level())
	if q.Level == metaadmin.FlInvalid {
		return // just asking
	}
	if r.Err = c.apply(&state.SetLevel{Level: state.Level(q.Level)}).Err; r.Err != base.ErrOK {
		return
	}
	c.log.Infof("function level %v, was %v", q.Level, r.OldLevel)
	if q.Level <= metaadmin.FlSteady {
		c.mu.Lock()
		c.plan.ClearSteps()
		c.mu.Unlock()
	}
	c.kick()
}

// isServer tells whether a can be the address of a replica server.
func isServer(a base.RPCAddress) bool {
	ap := a.AddrPort()
	return ap.IsValid() && ap.Port() != 0 && !ap.Addr().IsUnspecified()
}

// resolve returns the address of a node in a request: the packed one, or the named one.
func resolve(a base.RPCAddress, hp base.Opt[base.HostPort]) base.RPCAddress {
	if a != 0 || !hp.Set || hp.V.IsZero() {
		return a
	}
	b, err := base.ParseAddr(hp.V.String())
	if err != nil {
		return 0
	}
	return b
}
