package meta

import (
	"fmt"
	"net/http"

	"pegasus/base"
	"pegasus/gen/bulkload"
	"pegasus/httpapi"
	"pegasus/meta/service"
	"pegasus/meta/state"
)

// unimplemented is the service of features that this server doesn't have. A request is answered
// as upstream answers when the feature is switched off or nothing of it was begun, so that
// tools say something true. RPC_QUERY_APP_INFO and others that upstream's meta doesn't
// serve either are left to the mux: ERR_HANDLER_NOT_FOUND.
type unimplemented struct {
	service.Quiet
	*term
}

func newUnimplemented(l *leader) service.Service { return &unimplemented{term: l.term} }

// Register adds the requests and pages of all these features.
func (u *unimplemented) Register(r *service.Routes) {

	u.registerBulkLoad(r)
	service.Page(r, "meta/app/query_bulk_load", "name=<table>: show the bulk load of a table.", (*unimplemented).bulkLoadPage)
	service.Page(r, "meta/app/start_bulk_load", "Load files into a table (POST).", (*unimplemented).noPage)
}

// registerBulkLoad: no table is ever loading.
func (*unimplemented) registerBulkLoad(r *service.Routes) {
	service.Handle(r, base.RPCStartBulkLoad, service.Fast,
		func(u *unimplemented, _ *service.Call, q *bulkload.StartBulkLoadRequest, r *bulkload.StartBulkLoadResponse) {
			if u.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, "app not existed is "
				return
			}
			r.Err, r.HintMsg = base.ErrServiceNotActive, "this server can't load tables in bulk"
		})
	service.Handle(r, base.RPCControlBulkLoad, service.Fast,
		func(u *unimplemented, _ *service.Call, q *bulkload.ControlBulkLoadRequest, r *bulkload.ControlBulkLoadResponse) {
			if u.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, base.Some(fmt.Sprintf("app(%s) is not existed or not available", q.AppName))
				return
			}
			r.Err, r.HintMsg = base.ErrInactiveState, base.Some(fmt.Sprintf("app(%s) is not executing bulk load", q.AppName))
		})
	service.Handle(r, base.RPCQueryBulkLoadStatus, service.Fast,
		func(u *unimplemented, _ *service.Call, q *bulkload.QueryBulkLoadRequest, r *bulkload.QueryBulkLoadResponse) {
			r.AppName = q.AppName
			partitions := 0
			u.s.fsm.read(func(st *state.State) {
				if t := st.TableNamed(q.AppName); t != nil {
					partitions, r.MaxReplicaCount = len(t.Parts), t.MaxReplicas
				}
			})
			if partitions == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, base.Some(fmt.Sprintf("app(%s) is not existed or not available", q.AppName))
				return
			}
			// Tools look into the lists for each partition, whatever else the answer says.
			r.PartitionsStatus = make([]bulkload.BulkLoadStatus, partitions)
			r.BulkLoadStates = make([][]base.Pair[base.RPCAddress, bulkload.PartitionBulkLoadState], partitions)
			r.HpBulkLoadStates = base.Some(make([][]base.Pair[base.HostPort, bulkload.PartitionBulkLoadState], partitions))
			r.Err, r.IsBulkLoading = base.ErrOK, base.Some(false)
			r.HintMsg = base.Some(fmt.Sprintf("app(%s) is not during bulk load, return last time result", q.AppName))
		})
	service.Handle(r, base.RPCClearBulkLoad, service.Fast,
		func(u *unimplemented, _ *service.Call, q *bulkload.ClearBulkLoadStateRequest, r *bulkload.ClearBulkLoadStateResponse) {
			if u.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, fmt.Sprintf("app(%s) is not existed or not available", q.AppName)
				return
			}
			r.Err, r.HintMsg = base.ErrOK, fmt.Sprintf("clear app(%s) bulk load result succeed, remove bulk load dir succeed", q.AppName)
		})
}

// noPage answers for a feature as upstream answers where it is switched off.
func (*unimplemented) noPage(*service.Call, *httpapi.Request) httpapi.Response {
	return httpapi.Text(http.StatusNotFound, "this server doesn't have this feature")
}

func (u *unimplemented) bulkLoadPage(_ *service.Call, q *httpapi.Request) httpapi.Response {
	if !q.Only("name") {
		return badRequest
	}
	name, bad := nameOf(q)
	switch {
	case bad != nil:
		return *bad
	case u.tableID(name) == 0:
		return httpapi.JSON(httpapi.Object{{Name: "error", Value: string(base.ErrAppNotExist)}, {Name: "app_status", Value: ""}})
	}
	return httpapi.JSON(httpapi.Object{{Name: "error", Value: string(base.ErrOK)}, {Name: "app_status", Value: "BLS_INVALID"}})
}
