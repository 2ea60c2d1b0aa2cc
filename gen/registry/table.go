package registry

import (
	"pegasus/gen/backup"
	"pegasus/gen/backupadmin"
	"pegasus/gen/bulkload"
	"pegasus/gen/command"
	"pegasus/gen/consensus"
	"pegasus/gen/dupinternal"
	"pegasus/gen/duplication"
	"pegasus/gen/fd"
	"pegasus/gen/layer2"
	"pegasus/gen/metaadmin"
	"pegasus/gen/metadata"
	"pegasus/gen/nfs"
	"pegasus/gen/placement"
	"pegasus/gen/prepare"
	"pegasus/gen/replicaadmin"
	"pegasus/gen/restore"
	"pegasus/gen/rrdb"
	"pegasus/gen/security"
	"pegasus/gen/split"
	"pegasus/gen/value"
)

// dataCodes is what clients send: the rows of one table.
var dataCodes = map[string]Entry{
	"RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX": call[layer2.QueryCfgRequest, layer2.QueryCfgResponse](),
	"RPC_RRDB_RRDB_PUT":                      call[rrdb.UpdateRequest, rrdb.UpdateResponse](),
	"RPC_RRDB_RRDB_MULTI_PUT":                call[rrdb.MultiPutRequest, rrdb.UpdateResponse](),
	"RPC_RRDB_RRDB_REMOVE":                   call[value.Blob, rrdb.UpdateResponse](),
	"RPC_RRDB_RRDB_MULTI_REMOVE":             call[rrdb.MultiRemoveRequest, rrdb.MultiRemoveResponse](),
	"RPC_RRDB_RRDB_INCR":                     call[rrdb.IncrRequest, rrdb.IncrResponse](),
	"RPC_RRDB_RRDB_CHECK_AND_SET":            call[rrdb.CheckAndSetRequest, rrdb.CheckAndSetResponse](),
	"RPC_RRDB_RRDB_CHECK_AND_MUTATE":         call[rrdb.CheckAndMutateRequest, rrdb.CheckAndMutateResponse](),
	"RPC_RRDB_RRDB_DUPLICATE":                call[dupinternal.DuplicateRequest, dupinternal.DuplicateResponse](),
	"RPC_RRDB_RRDB_BULK_LOAD":                call[bulkload.IngestionRequest, bulkload.IngestionResponse](),
	"RPC_RRDB_RRDB_GET":                      call[value.Blob, rrdb.ReadResponse](),
	"RPC_RRDB_RRDB_MULTI_GET":                call[rrdb.MultiGetRequest, rrdb.MultiGetResponse](),
	"RPC_RRDB_RRDB_BATCH_GET":                call[rrdb.BatchGetRequest, rrdb.BatchGetResponse](),
	"RPC_RRDB_RRDB_SORTKEY_COUNT":            call[value.Blob, rrdb.CountResponse](),
	"RPC_RRDB_RRDB_TTL":                      call[value.Blob, rrdb.TtlResponse](),
	"RPC_RRDB_RRDB_GET_SCANNER":              call[rrdb.GetScannerRequest, rrdb.ScanResponse](),
	"RPC_RRDB_RRDB_SCAN":                     call[rrdb.ScanRequest, rrdb.ScanResponse](),
	"RPC_RRDB_RRDB_CLEAR_SCANNER":            oneWay[value.I64](),
	"RPC_NEGOTIATION":                        call[security.NegotiationRequest, security.NegotiationResponse](),
}

// metaCodes is what a meta server answers.
var metaCodes = map[string]Entry{
	"RPC_CM_CREATE_APP":                     call[metaadmin.ConfigurationCreateAppRequest, metaadmin.ConfigurationCreateAppResponse](),
	"RPC_CM_DROP_APP":                       call[metaadmin.ConfigurationDropAppRequest, metaadmin.ConfigurationDropAppResponse](),
	"RPC_CM_RECALL_APP":                     call[metaadmin.ConfigurationRecallAppRequest, metaadmin.ConfigurationRecallAppResponse](),
	"RPC_CM_RENAME_APP":                     call[metaadmin.ConfigurationRenameAppRequest, metaadmin.ConfigurationRenameAppResponse](),
	"RPC_CM_LIST_APPS":                      call[metaadmin.ConfigurationListAppsRequest, metaadmin.ConfigurationListAppsResponse](),
	"RPC_CM_LIST_NODES":                     call[metaadmin.ConfigurationListNodesRequest, metaadmin.ConfigurationListNodesResponse](),
	"RPC_CM_CLUSTER_INFO":                   call[metaadmin.ConfigurationClusterInfoRequest, metaadmin.ConfigurationClusterInfoResponse](),
	"RPC_CM_CONTROL_META":                   call[metaadmin.ConfigurationMetaControlRequest, metaadmin.ConfigurationMetaControlResponse](),
	"RPC_CM_PROPOSE_BALANCER":               call[metaadmin.ConfigurationBalancerRequest, metaadmin.ConfigurationBalancerResponse](),
	"RPC_CM_UPDATE_APP_ENV":                 call[metaadmin.ConfigurationUpdateAppEnvRequest, metaadmin.ConfigurationUpdateAppEnvResponse](),
	"RPC_CM_START_RECOVERY":                 call[metaadmin.ConfigurationRecoveryRequest, metaadmin.ConfigurationRecoveryResponse](),
	"RPC_CM_START_RESTORE":                  call[backup.ConfigurationRestoreRequest, metaadmin.ConfigurationCreateAppResponse](),
	"RPC_CM_QUERY_RESTORE_STATUS":           call[backup.ConfigurationQueryRestoreRequest, backup.ConfigurationQueryRestoreResponse](),
	"RPC_CM_REPORT_RESTORE_STATUS":          call[backup.ConfigurationReportRestoreStatusRequest, backup.ConfigurationReportRestoreStatusResponse](),
	"RPC_CM_ADD_BACKUP_POLICY":              call[backup.ConfigurationAddBackupPolicyRequest, backup.ConfigurationAddBackupPolicyResponse](),
	"RPC_CM_MODIFY_BACKUP_POLICY":           call[backup.ConfigurationModifyBackupPolicyRequest, backup.ConfigurationModifyBackupPolicyResponse](),
	"RPC_CM_QUERY_BACKUP_POLICY":            call[backup.ConfigurationQueryBackupPolicyRequest, backup.ConfigurationQueryBackupPolicyResponse](),
	"RPC_CM_START_BACKUP_APP":               call[backup.StartBackupAppRequest, backup.StartBackupAppResponse](),
	"RPC_CM_QUERY_BACKUP_STATUS":            call[backup.QueryBackupStatusRequest, backup.QueryBackupStatusResponse](),
	"RPC_CM_ADD_DUPLICATION":                call[duplication.DuplicationAddRequest, duplication.DuplicationAddResponse](),
	"RPC_CM_MODIFY_DUPLICATION":             call[duplication.DuplicationModifyRequest, duplication.DuplicationModifyResponse](),
	"RPC_CM_QUERY_DUPLICATION":              call[duplication.DuplicationQueryRequest, duplication.DuplicationQueryResponse](),
	"RPC_CM_LIST_DUPLICATION":               call[duplication.DuplicationListRequest, duplication.DuplicationListResponse](),
	"RPC_CM_DUPLICATION_SYNC":               call[duplication.DuplicationSyncRequest, duplication.DuplicationSyncResponse](),
	"RPC_CM_LIST_RESTORES":                  call[restore.ListRestoresRequest, restore.ListRestoresResponse](),
	"RPC_CM_LIST_BACKUPS":                   call[backupadmin.ListBackupsRequest, backupadmin.ListBackupsResponse](),
	"RPC_CM_CANCEL_BACKUP":                  call[backupadmin.CancelBackupRequest, backupadmin.CancelBackupResponse](),
	"RPC_CM_DELETE_BACKUP":                  call[backupadmin.DeleteBackupRequest, backupadmin.DeleteBackupResponse](),
	"RPC_CM_REMOVE_BACKUP_POLICY":           call[backupadmin.RemoveBackupPolicyRequest, backupadmin.RemoveBackupPolicyResponse](),
	"RPC_CM_REBALANCE":                      call[placement.RebalanceRequest, placement.RebalanceResponse](),
	"RPC_CM_NODE_ROLE":                      call[placement.NodeRoleRequest, placement.NodeRoleResponse](),
	"RPC_CM_NODE_STOP":                      call[placement.NodeStopRequest, placement.NodeStopResponse](),
	"RPC_CM_EXPLAIN":                        call[placement.ExplainRequest, placement.ExplainResponse](),
	"RPC_CM_DDD_DIAGNOSE":                   call[metaadmin.DddDiagnoseRequest, metaadmin.DddDiagnoseResponse](),
	"RPC_CM_START_PARTITION_SPLIT":          call[split.StartPartitionSplitRequest, split.StartPartitionSplitResponse](),
	"RPC_CM_CONTROL_PARTITION_SPLIT":        call[split.ControlSplitRequest, split.ControlSplitResponse](),
	"RPC_CM_QUERY_PARTITION_SPLIT":          call[split.QuerySplitRequest, split.QuerySplitResponse](),
	"RPC_CM_REGISTER_CHILD_REPLICA":         call[split.RegisterChildRequest, split.RegisterChildResponse](),
	"RPC_CM_NOTIFY_STOP_SPLIT":              call[split.NotifyStopSplitRequest, split.NotifyStopSplitResponse](),
	"RPC_CM_QUERY_CHILD_STATE":              call[split.QueryChildStateRequest, split.QueryChildStateResponse](),
	"RPC_CM_START_BULK_LOAD":                call[bulkload.StartBulkLoadRequest, bulkload.StartBulkLoadResponse](),
	"RPC_CM_CONTROL_BULK_LOAD":              call[bulkload.ControlBulkLoadRequest, bulkload.ControlBulkLoadResponse](),
	"RPC_CM_QUERY_BULK_LOAD_STATUS":         call[bulkload.QueryBulkLoadRequest, bulkload.QueryBulkLoadResponse](),
	"RPC_CM_CLEAR_BULK_LOAD":                call[bulkload.ClearBulkLoadStateRequest, bulkload.ClearBulkLoadStateResponse](),
	"RPC_CM_START_MANUAL_COMPACT":           call[metaadmin.StartAppManualCompactRequest, metaadmin.StartAppManualCompactResponse](),
	"RPC_CM_QUERY_MANUAL_COMPACT_STATUS":    call[metaadmin.QueryAppManualCompactRequest, metaadmin.QueryAppManualCompactResponse](),
	"RPC_CM_GET_MAX_REPLICA_COUNT":          call[metaadmin.ConfigurationGetMaxReplicaCountRequest, metaadmin.ConfigurationGetMaxReplicaCountResponse](),
	"RPC_CM_SET_MAX_REPLICA_COUNT":          call[metaadmin.ConfigurationSetMaxReplicaCountRequest, metaadmin.ConfigurationSetMaxReplicaCountResponse](),
	"RPC_CM_GET_ATOMIC_IDEMPOTENT":          call[metaadmin.ConfigurationGetAtomicIdempotentRequest, metaadmin.ConfigurationGetAtomicIdempotentResponse](),
	"RPC_CM_SET_ATOMIC_IDEMPOTENT":          call[metaadmin.ConfigurationSetAtomicIdempotentRequest, metaadmin.ConfigurationSetAtomicIdempotentResponse](),
	"RPC_CM_CONFIG_SYNC":                    call[metaadmin.ConfigurationQueryByNodeRequest, metaadmin.ConfigurationQueryByNodeResponse](),
	"RPC_CM_UPDATE_PARTITION_CONFIGURATION": call[metaadmin.ConfigurationUpdateRequest, metaadmin.ConfigurationUpdateResponse](),
	"RPC_FD_FAILURE_DETECTOR_PING":          call[fd.BeaconMsg, fd.BeaconAck](),
}

// replicaCodes is what a replica server answers, beside the data operations.
var replicaCodes = map[string]Entry{
	"RPC_CONFIG_PROPOSAL":                    oneWay[metaadmin.ConfigurationUpdateRequest](),
	"RPC_PREPARE":                            call[prepare.Body, consensus.PrepareAck](),
	"RPC_GROUP_CHECK":                        call[consensus.GroupCheckRequest, consensus.GroupCheckResponse](),
	"RPC_LEARN":                              call[consensus.LearnRequest, consensus.LearnResponse](),
	"RPC_LEARN_COMPLETION_NOTIFY":            call[consensus.GroupCheckResponse, consensus.LearnNotifyResponse](),
	"RPC_LEARN_ADD_LEARNER":                  oneWay[consensus.GroupCheckRequest](),
	"RPC_REMOVE_REPLICA":                     oneWay[metadata.ReplicaConfiguration](),
	"RPC_QUERY_PN_DECREE":                    call[replicaadmin.QueryReplicaDecreeRequest, replicaadmin.QueryReplicaDecreeResponse](),
	"RPC_QUERY_REPLICA_INFO":                 call[replicaadmin.QueryReplicaInfoRequest, replicaadmin.QueryReplicaInfoResponse](),
	"RPC_QUERY_APP_INFO":                     call[metaadmin.QueryAppInfoRequest, metaadmin.QueryAppInfoResponse](),
	"RPC_QUERY_LAST_CHECKPOINT_INFO":         call[consensus.LearnRequest, consensus.LearnResponse](),
	"RPC_QUERY_DISK_INFO":                    call[replicaadmin.QueryDiskInfoRequest, replicaadmin.QueryDiskInfoResponse](),
	"RPC_REPLICA_DISK_MIGRATE":               call[replicaadmin.ReplicaDiskMigrateRequest, replicaadmin.ReplicaDiskMigrateResponse](),
	"RPC_DETECT_HOTKEY":                      call[replicaadmin.DetectHotkeyRequest, replicaadmin.DetectHotkeyResponse](),
	"RPC_ADD_NEW_DISK":                       call[replicaadmin.AddNewDiskRequest, replicaadmin.AddNewDiskResponse](),
	"RPC_COLD_BACKUP":                        call[backup.BackupRequest, backup.BackupResponse](),
	"RPC_CLEAR_COLD_BACKUP":                  oneWay[backup.BackupClearRequest](),
	"RPC_BULK_LOAD":                          call[bulkload.BulkLoadRequest, bulkload.BulkLoadResponse](),
	"RPC_GROUP_BULK_LOAD":                    call[bulkload.GroupBulkLoadRequest, bulkload.GroupBulkLoadResponse](),
	"RPC_SPLIT_NOTIFY_CATCH_UP":              call[split.NotifyCatchUpRequest, split.NotifyCacthUpResponse](),
	"RPC_SPLIT_UPDATE_CHILD_PARTITION_COUNT": call[split.UpdateChildGroupPartitionCountRequest, split.UpdateChildGroupPartitionCountResponse](),
	"RPC_NFS_COPY":                           call[nfs.CopyRequest, nfs.CopyResponse](),
	"RPC_NFS_GET_FILE_SIZE":                  call[nfs.GetFileSizeRequest, nfs.GetFileSizeResponse](),
	"RPC_CLI_CLI_CALL":                       call[command.Command, value.Text](),
}
