package duplication

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/gen/duplication"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// Options are what the configuration says.
type Options struct {
	Cluster string // the name of this one
	ID      int    // its number, 0 if it has none
	// Remote returns the meta servers of another cluster, and its number, 0 if none is configured; ok is false if there is no section for it.
	Remote func(name string) (metas []string, id int, ok bool)
	// Self returns this cluster's id, "" if it has none, and its meta servers.
	Self func() (id string, metas []string)
}

// prepareEvery is how often a table is tried to be made in the other cluster.
const prepareEvery = 2 * time.Second

// Service is the service of a leader.
type Service struct {
	service.Quiet
	service.Leader
	opt Options

	mu        sync.Mutex
	told      map[told]tale
	problems  map[key]string // why the other cluster hasn't the table yet
	preparing map[key]bool
}

type key struct{ table, id int32 }

type told struct {
	key
	partition int32
}

// tale is what a primary said last.
type tale struct {
	committed, skipped, gaps int64
	room                     int32 // percent
	why                      string
}

// New returns a service.
func New(l service.Leader, opt Options) *Service {
	return &Service{Leader: l, opt: opt, told: map[told]tale{}, problems: map[key]string{}, preparing: map[key]bool{}}
}

// Register implements service.Service.
func (s *Service) Register(r *service.Routes) {
	service.Handle(r, base.RPCAddDuplication, service.Slow, (*Service).add)
	service.Handle(r, base.RPCModifyDuplication, service.Slow, (*Service).modify)
	service.Handle(r, base.RPCQueryDuplication, service.Fast, (*Service).query)
	service.Handle(r, base.RPCListDuplication, service.Fast, (*Service).list)
	service.Handle(r, base.RPCDuplicationSync, service.Slow, (*Service).sync)
	service.Page(r, "meta/app/duplication", "name=<table>: show the duplications of a table.", (*Service).page)
}

// Lead makes tables in other clusters.
func (s *Service) Lead(ctx context.Context) {
	tick := time.NewTicker(prepareEvery)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		s.prepare(ctx, &wg)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// add makes a duplication.
func (s *Service) add(c *service.Call, q *duplication.DuplicationAddRequest, r *duplication.DuplicationAddResponse) {
	refuse := func(code base.ErrorCode, format string, args ...any) {
		hint := fmt.Sprintf(format, args...) // it may have names of any length, and of any bytes
		r.Err, r.Hint = code, base.Some(hint[:min(len(hint), maxWhy)])
		s.Log().Infof("add duplication of table %.*q to %.*q: %s: %.*q", base.MaxTableName, q.AppName, base.MaxTableName, q.RemoteClusterName, code, maxWhy, r.Hint.V)
	}
	to, checkpoint := q.RemoteAppName.Or(q.AppName), q.IsDuplicatingCheckpoint.Or(true)
	metas, id, ok := s.opt.Remote(q.RemoteClusterName)
	switch {
	case q.RemoteClusterName == s.opt.Cluster:
		refuse(base.ErrInvalidParameters, "illegal operation: adding duplication to itself")
		return
	case s.opt.ID == 0:
		refuse(base.ErrInvalidParameters, "this cluster has no number, by which others tell its writes from theirs: write cluster.id in the configuration of all its servers")
		return
	case !ok || id == 0:
		// Upstream's words, which tools show.
		refuse(base.ErrInvalidParameters, "get_duplication_cluster_id(%s) failed, error: ERR_OBJECT_NOT_FOUND: failed to get cluster id for  << %s", q.RemoteClusterName, q.RemoteClusterName)
		return
	case len(metas) == 0:
		refuse(base.ErrInvalidParameters, "the meta servers of cluster %s are not known: write clusters.%s.meta_servers in the configuration of this cluster's servers", q.RemoteClusterName, q.RemoteClusterName)
		return
	case q.RemoteReplicaCount.V < 0:
		refuse(base.ErrInvalidParameters, "invalid remote_replica_count(%d) which should never be negative", q.RemoteReplicaCount.V)
		return
	case to == "" || len(to) > base.MaxTableName:
		refuse(base.ErrInvalidParameters, "the remote table's name has %d bytes: it has 1 to %d", len(to), base.MaxTableName)
		return
	}
	var table, replicas int32
	var there []state.Duplication
	s.Read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			table, replicas, there = t.ID, t.MaxReplicas, st.DuplicationsOf(t.ID)
		}
	})
	if table == 0 {
		refuse(base.ErrAppNotExist, "app %s was not found", q.AppName)
		return
	}
	for _, d := range there {
		if d.Remote == q.RemoteClusterName {
			s.addAgain(&d, q, r, refuse)
			return
		}
	}
	var others []string
	for _, d := range there {
		others = append(others, d.Remote)
	}
	if code, why := s.checkRemote(q.RemoteClusterName, others, q.MustAnswer.V); why != "" {
		refuse(code, "%s", why)
		return
	}
	replicas = cmp.Or(q.RemoteReplicaCount.V, replicas)
	now := time.Now()
	res := s.Apply(&state.AddDuplication{Table: table, ID: int32(now.Unix()), Remote: q.RemoteClusterName, RemoteTable: to, RemoteReplicas: replicas, Checkpoint: checkpoint, Now: now.UnixMilli()})
	switch res.Err {
	case base.ErrOK:
	case base.ErrInvalidParameters:
		other := ""
		s.Read(func(st *state.State) {
			if t := st.Table(res.TableID); t != nil {
				other = t.Name
			}
		})
		refuse(res.Err, "illegal operation: another app(%s) is also duplicated to the same remote app(cluster=%s, app=%s)", other, q.RemoteClusterName, to)
		return
	case base.ErrBusy:
		refuse(res.Err, "files are being loaded into app(%s): add the duplication when they are (`pegasus bulkload status %s`)", q.AppName, q.AppName)
		return
	case base.ErrSplitting:
		refuse(res.Err, "the partitions of app %s are being split: add the duplication once that is over", q.AppName)
		return
	default:
		refuse(res.Err, "the duplication isn't added: %s", res.Err)
		return
	}
	r.Err, r.Appid, r.Dupid = base.ErrOK, table, res.TableID
	r.RemoteAppName, r.RemoteReplicaCount = base.Some(to), base.Some(replicas)
	s.Log().Infof("duplication %d of table %q to table %q of cluster %s added, with a copy %v, asked by %s", r.Dupid, q.AppName, to, q.RemoteClusterName, checkpoint, c.From)
}

// checkRemote asks another cluster what it is, and says why a table can't be sent to it, "" if it can. Where nobody answers what is
// configured counts, as upstream does, unless somebody must: the table is made later, and senders try for ever.
func (s *Service) checkRemote(name string, others []string, must bool) (base.ErrorCode, string) {
	metas, number, _ := s.opt.Remote(name)
	ctx := context.Background()
	who, err := s.identify(ctx, metas)
	if err != nil {
		if must {
			return base.ErrNetworkFailure, fmt.Sprintf("cluster %s: %v; is clusters.%s.meta_servers right?", name, err, name)
		}
		s.Log().Warnf("cluster %s: %v; a table is to be sent to it, and it is taken for what the configuration says", name, err)
	}
	if why := s.mistaken(ctx, who, name, number, others); why != "" {
		return base.ErrInvalidParameters, "illegal operation: " + why
	}
	return base.ErrOK, ""
}

// addAgain answers for a duplication that is there. As upstream, a paused one goes on.
func (s *Service) addAgain(d *state.Duplication, q *duplication.DuplicationAddRequest, r *duplication.DuplicationAddResponse, refuse func(base.ErrorCode, string, ...any)) {
	starts := state.DupLog
	if q.IsDuplicatingCheckpoint.Or(true) {
		starts = state.DupPrepare
	}
	switch {
	case d.Status == starts:
	case d.Status == state.DupPause && starts == state.DupLog:
		if res := s.Apply(&state.ModifyDuplication{Table: d.Table, ID: d.ID, Status: state.DupLog}); res.Err != base.ErrOK {
			r.Err = res.Err
			return
		}
	default:
		refuse(base.ErrInvalidParameters, "start dup[%s(%d)] failed: err = ERR_INVALID_PARAMETERS", q.AppName, d.ID)
		return
	}
	r.Err, r.Appid, r.Dupid = base.ErrDupExist, d.Table, d.ID
	r.RemoteAppName, r.RemoteReplicaCount = base.Some(d.RemoteTable), base.Some(d.RemoteReplicas)
}

// modify changes a duplication's status or mode, or removes it.
func (s *Service) modify(c *service.Call, q *duplication.DuplicationModifyRequest, r *duplication.DuplicationModifyResponse) {
	cmd := state.ModifyDuplication{ID: q.Dupid, Status: state.DuplicationStatus(q.Status.V), SetMode: q.FailMode.Set, Mode: state.DuplicationMode(q.FailMode.V)}
	changes := true
	s.Read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			return
		}
		cmd.Table = t.ID
		for _, d := range st.DuplicationsOf(t.ID) {
			if d.ID == q.Dupid {
				changes = cmd.Status != 0 && cmd.Status != d.Status || cmd.SetMode && cmd.Mode != d.Mode
			}
		}
	})
	switch {
	case cmd.Table == 0:
		r.Err = base.ErrAppNotExist
		return
	case q.Status.Set && cmd.Status <= 0:
		r.Err = base.ErrInvalidParameters
		return
	case !changes:
		r.Err = base.ErrOK
		return
	}
	if r.Err = s.Apply(&cmd).Err; r.Err != base.ErrOK {
		return
	}
	r.Appid = cmd.Table
	what := ""
	if q.Status.Set {
		what = " " + q.Status.V.String()
	}
	if q.FailMode.Set {
		what += " " + q.FailMode.V.String()
	}
	s.Log().Infof("duplication %d of table %q is now%s, asked by %s", q.Dupid, q.AppName, what, c.From)
	if cmd.Status == state.DupRemoved {
		s.forget(key{cmd.Table, cmd.ID})
	}
}

// forget drops what was told of a duplication.
func (s *Service) forget(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.problems, k)
	for t := range s.told {
		if t.key == k {
			delete(s.told, t)
		}
	}
}
