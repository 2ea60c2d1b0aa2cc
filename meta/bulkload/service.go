package bulkload

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"pegasus/base"
	"pegasus/base/appenv"
	"pegasus/base/version"
	"pegasus/blob"
	"pegasus/gen/bulkload"
	"pegasus/gen/loading"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// Options are what the service needs of the meta beside its Leader.
type Options struct {
	Blobs *blob.Set
	// AtOnce is how many partitions of the cluster take their rows at a time.
	AtOnce int
	// Rate is at how many bytes per second a server reads the files of a load that doesn't say; 0: as the server is configured.
	Rate int64
	// Tries is how often the members of a partition may fail before the load does.
	Tries int
	// Every is how often a member is asked that isn't there yet; 0: askEvery.
	Every time.Duration
	// Now is the wall clock that most agree on.
	Now func() time.Time
	// Frozen says why nothing may be begun or told to anybody; "" if it may.
	Frozen func() string
	// Cluster is the id of the cluster; "" if it has none.
	Cluster func() string
}

// Service loads files into tables.
type Service struct {
	service.Quiet
	service.Leader
	o     Options
	calls chan struct{} // how many members are asked at a time

	mu   sync.Mutex     // of what follows; held for moments only
	runs map[int32]*run // by table
}

// New returns the service of a meta that leads.
func New(l service.Leader, o Options) *Service {
	o.Every = cmp.Or(o.Every, askEvery)
	return &Service{Leader: l, o: o, calls: make(chan struct{}, maxCalls), runs: map[int32]*run{}}
}

// start begins to load files into a table. It answers once the files were looked at and the load is in the State; the rows come later.
func (s *Service) start(c *service.Call, q *bulkload.StartBulkLoadRequest, r *bulkload.StartBulkLoadResponse) {
	refuse := func(code base.ErrorCode, format string, args ...any) {
		r.Err, r.HintMsg = code, fmt.Sprintf(format, args...)
		s.Log().Infof("load files into table %.*q: %v: %s, asked by %s", base.MaxTableName, q.AppName, r.Err, r.HintMsg, c.From)
	}
	var table, partitions int32
	why := error(nil)
	s.Read(func(st *state.State) {
		t := st.TableNamed(q.AppName)
		if t == nil {
			return
		}
		table, partitions = t.ID, int32(len(t.Parts))
		if why = version.Permit(st.Version(), version.Loads.Since()); why != nil {
			why = fmt.Errorf("%w: %w", why, base.ErrServiceNotActive)
		} else if why = st.MayLoad(t); why == nil && q.IngestBehind {
			// Upstream's rule: its engine must have been prepared for that. Whoever sets it wants rows that are there to be kept.
			if v, _ := t.Env(appenv.AllowIngestBehind); !strings.EqualFold(v, "true") {
				why = fmt.Errorf("inconsistent ingestion behind option: set %s=true of the table first: %w", appenv.AllowIngestBehind, base.ErrInconsistentState)
			}
		}
	})
	if table == 0 {
		refuse(base.ErrAppNotExist, "app not existed is ") // sic
		return
	}
	if why != nil {
		refuse(base.CodeOf(why), "%s", hintOf(why))
		return
	}
	if q.BytesPerSecond.V < 0 {
		refuse(base.ErrInvalidParameters, "%d bytes per second are no rate", q.BytesPerSecond.V)
		return
	}
	if why := s.o.Frozen(); why != "" {
		refuse(base.ErrStateFreezed, "%s", why)
		return
	}
	place, code, hint := s.check(q, table, partitions)
	if code != base.ErrOK {
		refuse(code, "%s", hint)
		return
	}
	now := s.o.Now()
	// Ids grow with time, so that one of a State that was lost isn't used again.
	r.Err = s.Apply(&state.StartBulkLoad{From: state.BulkLoad{Table: table, ID: now.UnixMicro(), Provider: q.FileProviderType, Root: place.Root, Cluster: place.Cluster,
		Behind: q.IngestBehind, Rate: q.BytesPerSecond.Or(s.o.Rate), Timetag: now.UnixMicro(), Begun: now.UnixMilli()}}).Err
	if r.Err != base.ErrOK {
		if r.Err == base.ErrServiceNotActive { // who doesn't lead has no hint
			return
		}
		why := error(r.Err)
		s.Read(func(st *state.State) { // something else was begun while the files were looked at
			if t := st.Table(table); t != nil && t.Status == state.Available {
				why = cmp.Or(st.MayLoad(t), why)
			}
		})
		refuse(r.Err, "%s", hintOf(why))
		return
	}
	s.Log().Infof("files of %s in %s are being loaded into table %q (%d), asked by %s", place.Dir(), q.FileProviderType, q.AppName, table, c.From)
}

// notThere is what upstream says of a table that isn't there.
const notThere = "app(%s) is not existed or not available"

// control pauses a load, goes on with it, or cancels it.
func (s *Service) control(c *service.Call, q *bulkload.ControlBulkLoadRequest, r *bulkload.ControlBulkLoadResponse) {
	refuse := func(code base.ErrorCode, format string, args ...any) {
		r.Err, r.HintMsg = code, base.Some(fmt.Sprintf(format, args...))
	}
	word := map[state.LoadControl]string{state.LoadPause: "pause", state.LoadRestart: "restart", state.LoadCancel: "cancel", state.LoadForceCancel: "force cancel"}[state.LoadControl(q.Type)]
	if word == "" {
		refuse(base.ErrInvalidParameters, "%d is nothing that can be done to a bulk load", q.Type)
		return
	}
	var l state.BulkLoad
	table, loading := int32(0), false
	s.Read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			table = t.ID
			l, loading = st.BulkLoadOf(t.ID)
		}
	})
	switch {
	case table == 0:
		refuse(base.ErrAppNotExist, notThere, q.AppName)
		return
	case !loading || !l.Loading():
		refuse(base.ErrInactiveState, "app(%s) is not executing bulk load", q.AppName)
		return
	}
	switch r.Err = s.Apply(&state.ControlBulkLoad{Table: table, Do: state.LoadControl(q.Type)}).Err; r.Err {
	case base.ErrOK:
		s.Log().Infof("bulk load of table %q: %s, asked by %s", q.AppName, word, c.From)
	case base.ErrInactiveState:
		refuse(r.Err, "app(%s) is not executing bulk load", q.AppName)
	case base.ErrInvalidState:
		status := bulkload.BLS_INVALID
		s.Read(func(st *state.State) {
			if l, ok := st.BulkLoadOf(table); ok {
				status = s.status(&l)
			}
		})
		refuse(r.Err, "can not %s bulk load for app(%s) with status(replication::bulk_load_status::%v)", word, q.AppName, status)
	}
}

// clear forgets what came of a load.
func (s *Service) clear(c *service.Call, q *bulkload.ClearBulkLoadStateRequest, r *bulkload.ClearBulkLoadStateResponse) {
	table, known := int32(0), false
	s.Read(func(st *state.State) {
		if t := st.TableNamed(q.AppName); t != nil {
			table = t.ID
			_, known = st.BulkLoadOf(t.ID)
		}
	})
	if table == 0 {
		r.Err, r.HintMsg = base.ErrAppNotExist, fmt.Sprintf(notThere, q.AppName)
		return
	}
	r.Err = base.ErrOK
	if known {
		r.Err = s.Apply(&state.ClearBulkLoad{Table: table}).Err
	}
	switch r.Err {
	case base.ErrOK:
		r.HintMsg = fmt.Sprintf("clear app(%s) bulk load result succeed, remove bulk load dir succeed", q.AppName)
		if known {
			s.Log().Infof("what came of the bulk load of table %q is forgotten, asked by %s", q.AppName, c.From)
		}
	case base.ErrInvalidState:
		r.HintMsg = fmt.Sprintf("app(%s) is executing bulk load", q.AppName)
	}
}

// ended tells a replica server which loads, of which it has something, don't go on. One that isn't known here, as the metas lost their state, has ended, too. The server looks for itself
// whether what it has may be needed yet. Of a server of another cluster nothing is known.
func (s *Service) ended(_ *service.Call, q *loading.LoadsEndedRequest, r *loading.LoadsEndedResponse) {
	own := s.o.Cluster()
	r.Err, r.ClusterId = base.ErrOK, base.NonZero(own)
	if q.ClusterId.V != own {
		r.Err = base.ErrClusterNotFound
		return
	}
	s.Read(func(st *state.State) {
		for _, left := range q.Left {
			if l, ok := st.BulkLoadOf(left.Pid.AppID); !ok || !l.Loading() || l.ID != left.LoadId {
				r.Ended = append(r.Ended, left)
			}
		}
	})
}

// Lead has members prepare, take and forget.
func (s *Service) Lead(ctx context.Context) {
	tick := time.NewTicker(s.o.Every / 5)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		if s.o.Frozen() == "" {
			s.look(ctx, &wg)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
