package meta

import (
	"fmt"

	"pegasus/base"
	"pegasus/gen/backup"
	"pegasus/gen/bulkload"
	"pegasus/gen/duplication"
	"pegasus/gen/metaadmin"
	"pegasus/gen/split"
	"pegasus/rpc"
)

// registerAbsent adds the RPCs of features that this server doesn't have. Each is answered
// as upstream answers when the feature is switched off or nothing of it was begun, so that
// tools say something true. RPC_QUERY_APP_INFO and others that upstream's meta doesn't
// serve either are left to the mux: ERR_HANDLER_NOT_FOUND.
func (s *Server) registerAbsent(mux *rpc.Mux) {
	// Backups: as with cold_backup_disabled.
	onLeader(s, mux, "RPC_CM_ADD_BACKUP_POLICY", false,
		func(r *backup.ConfigurationAddBackupPolicyResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.ConfigurationAddBackupPolicyRequest, r *backup.ConfigurationAddBackupPolicyResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_MODIFY_BACKUP_POLICY", false,
		func(r *backup.ConfigurationModifyBackupPolicyResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.ConfigurationModifyBackupPolicyRequest, r *backup.ConfigurationModifyBackupPolicyResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_QUERY_BACKUP_POLICY", false,
		func(r *backup.ConfigurationQueryBackupPolicyResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.ConfigurationQueryBackupPolicyRequest, r *backup.ConfigurationQueryBackupPolicyResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_START_BACKUP_APP", false,
		func(r *backup.StartBackupAppResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.StartBackupAppRequest, r *backup.StartBackupAppResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_QUERY_BACKUP_STATUS", false,
		func(r *backup.QueryBackupStatusResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.QueryBackupStatusRequest, r *backup.QueryBackupStatusResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_START_RESTORE", false,
		func(r *metaadmin.ConfigurationCreateAppResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.ConfigurationRestoreRequest, r *metaadmin.ConfigurationCreateAppResponse) {
			r.Err = base.ErrInvalidParameters // no provider of that name
		})
	onLeader(s, mux, "RPC_CM_QUERY_RESTORE_STATUS", false,
		func(r *backup.ConfigurationQueryRestoreResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.ConfigurationQueryRestoreRequest, r *backup.ConfigurationQueryRestoreResponse) {
			r.Err = base.ErrAppNotExist
		})
	onLeader(s, mux, "RPC_CM_REPORT_RESTORE_STATUS", false,
		func(r *backup.ConfigurationReportRestoreStatusResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *backup.ConfigurationReportRestoreStatusRequest, r *backup.ConfigurationReportRestoreStatusResponse) {
			r.Err = base.ErrObjectNotFound
		})

	// Duplication: as with duplication_enabled = false.
	onLeader(s, mux, "RPC_CM_ADD_DUPLICATION", false,
		func(r *duplication.DuplicationAddResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *duplication.DuplicationAddRequest, r *duplication.DuplicationAddResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_MODIFY_DUPLICATION", false,
		func(r *duplication.DuplicationModifyResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *duplication.DuplicationModifyRequest, r *duplication.DuplicationModifyResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_QUERY_DUPLICATION", false,
		func(r *duplication.DuplicationQueryResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *duplication.DuplicationQueryRequest, r *duplication.DuplicationQueryResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_LIST_DUPLICATION", false,
		func(r *duplication.DuplicationListResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *duplication.DuplicationListRequest, r *duplication.DuplicationListResponse) {
			r.Err = base.ErrServiceNotActive
		})
	onLeader(s, mux, "RPC_CM_DUPLICATION_SYNC", false,
		func(r *duplication.DuplicationSyncResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *duplication.DuplicationSyncRequest, r *duplication.DuplicationSyncResponse) {
			r.Err = base.ErrServiceNotActive
		})
	s.registerSplit(mux)
	s.registerBulkLoad(mux)
}

// registerSplit: no table is ever splitting.
func (s *Server) registerSplit(mux *rpc.Mux) {
	onLeader(s, mux, "RPC_CM_START_PARTITION_SPLIT", false,
		func(r *split.StartPartitionSplitResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *split.StartPartitionSplitRequest, r *split.StartPartitionSplitResponse) {
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, "app not existed"
				return
			}
			r.Err, r.HintMsg = base.ErrServiceNotActive, "this server can't split partitions"
		})
	onLeader(s, mux, "RPC_CM_CONTROL_PARTITION_SPLIT", false,
		func(r *split.ControlSplitResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *split.ControlSplitRequest, r *split.ControlSplitResponse) {
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, base.Some("app not existed")
				return
			}
			r.Err, r.HintMsg = base.ErrInvalidState, base.Some(fmt.Sprintf("app(%s) is not splitting", q.AppName))
		})
	onLeader(s, mux, "RPC_CM_QUERY_PARTITION_SPLIT", false,
		func(r *split.QuerySplitResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *split.QuerySplitRequest, r *split.QuerySplitResponse) {
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, base.Some(fmt.Sprintf("app(%s) not existed", q.AppName))
				return
			}
			r.Err, r.HintMsg = base.ErrInvalidState, base.Some(fmt.Sprintf("app(%s) is not splitting", q.AppName))
		})
	onLeader(s, mux, "RPC_CM_REGISTER_CHILD_REPLICA", false,
		func(r *split.RegisterChildResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *split.RegisterChildRequest, r *split.RegisterChildResponse) {
			r.Err = base.ErrInvalidState
		})
	onLeader(s, mux, "RPC_CM_NOTIFY_STOP_SPLIT", false,
		func(r *split.NotifyStopSplitResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *split.NotifyStopSplitRequest, r *split.NotifyStopSplitResponse) {
			r.Err = base.ErrInvalidState
		})
	onLeader(s, mux, "RPC_CM_QUERY_CHILD_STATE", false,
		func(r *split.QueryChildStateResponse, e base.ErrorCode) { r.Err = e },
		func(_ *call, _ *split.QueryChildStateRequest, r *split.QueryChildStateResponse) {
			r.Err = base.ErrInvalidState
		})
}

// registerBulkLoad: no table is ever loading.
func (s *Server) registerBulkLoad(mux *rpc.Mux) {
	onLeader(s, mux, "RPC_CM_START_BULK_LOAD", false,
		func(r *bulkload.StartBulkLoadResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *bulkload.StartBulkLoadRequest, r *bulkload.StartBulkLoadResponse) {
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, "app not existed is "
				return
			}
			r.Err, r.HintMsg = base.ErrInvalidParameters, "invalid file_provider"
		})
	onLeader(s, mux, "RPC_CM_CONTROL_BULK_LOAD", false,
		func(r *bulkload.ControlBulkLoadResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *bulkload.ControlBulkLoadRequest, r *bulkload.ControlBulkLoadResponse) {
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, base.Some(fmt.Sprintf("app(%s) is not existed or not available", q.AppName))
				return
			}
			r.Err, r.HintMsg = base.ErrInactiveState, base.Some(fmt.Sprintf("app(%s) is not executing bulk load", q.AppName))
		})
	onLeader(s, mux, "RPC_CM_QUERY_BULK_LOAD_STATUS", false,
		func(r *bulkload.QueryBulkLoadResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *bulkload.QueryBulkLoadRequest, r *bulkload.QueryBulkLoadResponse) {
			r.AppName = q.AppName
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, base.Some(fmt.Sprintf("app(%s) is not existed or not available", q.AppName))
				return
			}
			r.Err, r.IsBulkLoading = base.ErrOK, base.Some(false)
			r.HintMsg = base.Some(fmt.Sprintf("app(%s) is not during bulk load, return last time result", q.AppName))
		})
	onLeader(s, mux, "RPC_CM_CLEAR_BULK_LOAD", false,
		func(r *bulkload.ClearBulkLoadStateResponse, e base.ErrorCode) { r.Err = e },
		func(c *call, q *bulkload.ClearBulkLoadStateRequest, r *bulkload.ClearBulkLoadStateResponse) {
			if c.tableID(q.AppName) == 0 {
				r.Err, r.HintMsg = base.ErrAppNotExist, fmt.Sprintf("app(%s) is not existed or not available", q.AppName)
				return
			}
			r.Err, r.HintMsg = base.ErrOK, fmt.Sprintf("clear app(%s) bulk load result succeed, remove bulk load dir succeed", q.AppName)
		})
}
