package registry

import (
	"pegasus/base"
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
	base.RPCQueryPartitionConfigByIndex: call[layer2.QueryCfgRequest, layer2.QueryCfgResponse](),
	base.RPCPut:                         call[rrdb.UpdateRequest, rrdb.UpdateResponse](),
	base.RPCMultiPut:                    call[rrdb.MultiPutRequest, rrdb.UpdateResponse](),
	base.RPCRemove:                      call[value.Blob, rrdb.UpdateResponse](),
	base.RPCMultiRemove:                 call[rrdb.MultiRemoveRequest, rrdb.MultiRemoveResponse](),
	base.RPCIncr:                        call[rrdb.IncrRequest, rrdb.IncrResponse](),
	base.RPCCheckAndSet:                 call[rrdb.CheckAndSetRequest, rrdb.CheckAndSetResponse](),
	base.RPCCheckAndMutate:              call[rrdb.CheckAndMutateRequest, rrdb.CheckAndMutateResponse](),
	base.RPCDuplicate:                   call[dupinternal.DuplicateRequest, dupinternal.DuplicateResponse](),
	base.RPCIngest:                      call[bulkload.IngestionRequest, bulkload.IngestionResponse](),
	base.RPCGet:                         call[value.Blob, rrdb.ReadResponse](),
	base.RPCMultiGet:                    call[rrdb.MultiGetRequest, rrdb.MultiGetResponse](),
	base.RPCBatchGet:                    call[rrdb.BatchGetRequest, rrdb.BatchGetResponse](),
	base.RPCSortkeyCount:                call[value.Blob, rrdb.CountResponse](),
	base.RPCTTL:                         call[value.Blob, rrdb.TtlResponse](),
	base.RPCGetScanner:                  call[rrdb.GetScannerRequest, rrdb.ScanResponse](),
	base.RPCScan:                        call[rrdb.ScanRequest, rrdb.ScanResponse](),
	base.RPCClearScanner:                oneWay[value.I64](),
	base.RPCNegotiation:                 call[security.NegotiationRequest, security.NegotiationResponse](),
}

// metaCodes is what a meta server answers.
var metaCodes = map[string]Entry{
	base.RPCCreateApp:                    call[metaadmin.ConfigurationCreateAppRequest, metaadmin.ConfigurationCreateAppResponse](),
	base.RPCDropApp:                      call[metaadmin.ConfigurationDropAppRequest, metaadmin.ConfigurationDropAppResponse](),
	base.RPCRecallApp:                    call[metaadmin.ConfigurationRecallAppRequest, metaadmin.ConfigurationRecallAppResponse](),
	base.RPCRenameApp:                    call[metaadmin.ConfigurationRenameAppRequest, metaadmin.ConfigurationRenameAppResponse](),
	base.RPCListApps:                     call[metaadmin.ConfigurationListAppsRequest, metaadmin.ConfigurationListAppsResponse](),
	base.RPCListNodes:                    call[metaadmin.ConfigurationListNodesRequest, metaadmin.ConfigurationListNodesResponse](),
	base.RPCClusterInfo:                  call[metaadmin.ConfigurationClusterInfoRequest, metaadmin.ConfigurationClusterInfoResponse](),
	base.RPCControlMeta:                  call[metaadmin.ConfigurationMetaControlRequest, metaadmin.ConfigurationMetaControlResponse](),
	base.RPCProposeBalancer:              call[metaadmin.ConfigurationBalancerRequest, metaadmin.ConfigurationBalancerResponse](),
	base.RPCUpdateAppEnv:                 call[metaadmin.ConfigurationUpdateAppEnvRequest, metaadmin.ConfigurationUpdateAppEnvResponse](),
	base.RPCStartRecovery:                call[metaadmin.ConfigurationRecoveryRequest, metaadmin.ConfigurationRecoveryResponse](),
	base.RPCStartRestore:                 call[backup.ConfigurationRestoreRequest, metaadmin.ConfigurationCreateAppResponse](),
	base.RPCQueryRestoreStatus:           call[backup.ConfigurationQueryRestoreRequest, backup.ConfigurationQueryRestoreResponse](),
	base.RPCReportRestoreStatus:          call[backup.ConfigurationReportRestoreStatusRequest, backup.ConfigurationReportRestoreStatusResponse](),
	base.RPCAddBackupPolicy:              call[backup.ConfigurationAddBackupPolicyRequest, backup.ConfigurationAddBackupPolicyResponse](),
	base.RPCModifyBackupPolicy:           call[backup.ConfigurationModifyBackupPolicyRequest, backup.ConfigurationModifyBackupPolicyResponse](),
	base.RPCQueryBackupPolicy:            call[backup.ConfigurationQueryBackupPolicyRequest, backup.ConfigurationQueryBackupPolicyResponse](),
	base.RPCStartBackupApp:               call[backup.StartBackupAppRequest, backup.StartBackupAppResponse](),
	base.RPCQueryBackupStatus:            call[backup.QueryBackupStatusRequest, backup.QueryBackupStatusResponse](),
	base.RPCAddDuplication:               call[duplication.DuplicationAddRequest, duplication.DuplicationAddResponse](),
	base.RPCModifyDuplication:            call[duplication.DuplicationModifyRequest, duplication.DuplicationModifyResponse](),
	base.RPCQueryDuplication:             call[duplication.DuplicationQueryRequest, duplication.DuplicationQueryResponse](),
	base.RPCListDuplication:              call[duplication.DuplicationListRequest, duplication.DuplicationListResponse](),
	base.RPCDuplicationSync:              call[duplication.DuplicationSyncRequest, duplication.DuplicationSyncResponse](),
	base.RPCListRestores:                 call[restore.ListRestoresRequest, restore.ListRestoresResponse](),
	base.RPCListBackups:                  call[backupadmin.ListBackupsRequest, backupadmin.ListBackupsResponse](),
	base.RPCCancelBackup:                 call[backupadmin.CancelBackupRequest, backupadmin.CancelBackupResponse](),
	base.RPCDeleteBackup:                 call[backupadmin.DeleteBackupRequest, backupadmin.DeleteBackupResponse](),
	base.RPCRemoveBackupPolicy:           call[backupadmin.RemoveBackupPolicyRequest, backupadmin.RemoveBackupPolicyResponse](),
	base.RPCRebalance:                    call[placement.RebalanceRequest, placement.RebalanceResponse](),
	base.RPCNodeRole:                     call[placement.NodeRoleRequest, placement.NodeRoleResponse](),
	base.RPCNodeStop:                     call[placement.NodeStopRequest, placement.NodeStopResponse](),
	base.RPCExplain:                      call[placement.ExplainRequest, placement.ExplainResponse](),
	base.RPCDDDDiagnose:                  call[metaadmin.DddDiagnoseRequest, metaadmin.DddDiagnoseResponse](),
	base.RPCStartPartitionSplit:          call[split.StartPartitionSplitRequest, split.StartPartitionSplitResponse](),
	base.RPCControlPartitionSplit:        call[split.ControlSplitRequest, split.ControlSplitResponse](),
	base.RPCQueryPartitionSplit:          call[split.QuerySplitRequest, split.QuerySplitResponse](),
	base.RPCRegisterChildReplica:         call[split.RegisterChildRequest, split.RegisterChildResponse](),
	base.RPCNotifyStopSplit:              call[split.NotifyStopSplitRequest, split.NotifyStopSplitResponse](),
	base.RPCQueryChildState:              call[split.QueryChildStateRequest, split.QueryChildStateResponse](),
	base.RPCStartBulkLoad:                call[bulkload.StartBulkLoadRequest, bulkload.StartBulkLoadResponse](),
	base.RPCControlBulkLoad:              call[bulkload.ControlBulkLoadRequest, bulkload.ControlBulkLoadResponse](),
	base.RPCQueryBulkLoadStatus:          call[bulkload.QueryBulkLoadRequest, bulkload.QueryBulkLoadResponse](),
	base.RPCClearBulkLoad:                call[bulkload.ClearBulkLoadStateRequest, bulkload.ClearBulkLoadStateResponse](),
	base.RPCStartManualCompact:           call[metaadmin.StartAppManualCompactRequest, metaadmin.StartAppManualCompactResponse](),
	base.RPCQueryManualCompactStatus:     call[metaadmin.QueryAppManualCompactRequest, metaadmin.QueryAppManualCompactResponse](),
	base.RPCGetMaxReplicaCount:           call[metaadmin.ConfigurationGetMaxReplicaCountRequest, metaadmin.ConfigurationGetMaxReplicaCountResponse](),
	base.RPCSetMaxReplicaCount:           call[metaadmin.ConfigurationSetMaxReplicaCountRequest, metaadmin.ConfigurationSetMaxReplicaCountResponse](),
	base.RPCGetAtomicIdempotent:          call[metaadmin.ConfigurationGetAtomicIdempotentRequest, metaadmin.ConfigurationGetAtomicIdempotentResponse](),
	base.RPCSetAtomicIdempotent:          call[metaadmin.ConfigurationSetAtomicIdempotentRequest, metaadmin.ConfigurationSetAtomicIdempotentResponse](),
	base.RPCConfigSync:                   call[metaadmin.ConfigurationQueryByNodeRequest, metaadmin.ConfigurationQueryByNodeResponse](),
	base.RPCUpdatePartitionConfiguration: call[metaadmin.ConfigurationUpdateRequest, metaadmin.ConfigurationUpdateResponse](),
	base.RPCFailureDetectorPing:          call[fd.BeaconMsg, fd.BeaconAck](),
}

// replicaCodes is what a replica server answers, beside the data operations.
var replicaCodes = map[string]Entry{
	base.RPCConfigProposal:                 oneWay[metaadmin.ConfigurationUpdateRequest](),
	base.RPCPrepare:                        call[prepare.Body, consensus.PrepareAck](),
	base.RPCGroupCheck:                     call[consensus.GroupCheckRequest, consensus.GroupCheckResponse](),
	base.RPCLearn:                          call[consensus.LearnRequest, consensus.LearnResponse](),
	base.RPCLearnCompletionNotify:          call[consensus.GroupCheckResponse, consensus.LearnNotifyResponse](),
	base.RPCLearnAddLearner:                oneWay[consensus.GroupCheckRequest](),
	base.RPCRemoveReplica:                  oneWay[metadata.ReplicaConfiguration](),
	base.RPCQueryPNDecree:                  call[replicaadmin.QueryReplicaDecreeRequest, replicaadmin.QueryReplicaDecreeResponse](),
	base.RPCQueryReplicaInfo:               call[replicaadmin.QueryReplicaInfoRequest, replicaadmin.QueryReplicaInfoResponse](),
	base.RPCQueryAppInfo:                   call[metaadmin.QueryAppInfoRequest, metaadmin.QueryAppInfoResponse](),
	base.RPCQueryLastCheckpointInfo:        call[consensus.LearnRequest, consensus.LearnResponse](),
	base.RPCQueryDiskInfo:                  call[replicaadmin.QueryDiskInfoRequest, replicaadmin.QueryDiskInfoResponse](),
	base.RPCReplicaDiskMigrate:             call[replicaadmin.ReplicaDiskMigrateRequest, replicaadmin.ReplicaDiskMigrateResponse](),
	base.RPCDetectHotkey:                   call[replicaadmin.DetectHotkeyRequest, replicaadmin.DetectHotkeyResponse](),
	base.RPCAddNewDisk:                     call[replicaadmin.AddNewDiskRequest, replicaadmin.AddNewDiskResponse](),
	base.RPCColdBackup:                     call[backup.BackupRequest, backup.BackupResponse](),
	base.RPCClearColdBackup:                oneWay[backup.BackupClearRequest](),
	base.RPCBulkLoad:                       call[bulkload.BulkLoadRequest, bulkload.BulkLoadResponse](),
	base.RPCGroupBulkLoad:                  call[bulkload.GroupBulkLoadRequest, bulkload.GroupBulkLoadResponse](),
	base.RPCSplitNotifyCatchUp:             call[split.NotifyCatchUpRequest, split.NotifyCacthUpResponse](),
	base.RPCSplitUpdateChildPartitionCount: call[split.UpdateChildGroupPartitionCountRequest, split.UpdateChildGroupPartitionCountResponse](),
	base.RPCNFSCopy:                        call[nfs.CopyRequest, nfs.CopyResponse](),
	base.RPCNFSGetFileSize:                 call[nfs.GetFileSizeRequest, nfs.GetFileSizeResponse](),
	base.RPCCLICall:                        call[command.Command, value.Text](),
}
