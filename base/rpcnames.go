package base

import (
	"slices"
	"strings"
)

// The names of all requests that a client, a tool or a server sends, as the wire spells them.
// A new name goes here and into rpcNames.
const (
	// Clients send these to replica servers.
	RPCPut            = "RPC_RRDB_RRDB_PUT"
	RPCMultiPut       = "RPC_RRDB_RRDB_MULTI_PUT"
	RPCRemove         = "RPC_RRDB_RRDB_REMOVE"
	RPCMultiRemove    = "RPC_RRDB_RRDB_MULTI_REMOVE"
	RPCIncr           = "RPC_RRDB_RRDB_INCR"
	RPCCheckAndSet    = "RPC_RRDB_RRDB_CHECK_AND_SET"
	RPCCheckAndMutate = "RPC_RRDB_RRDB_CHECK_AND_MUTATE"
	RPCDuplicate      = "RPC_RRDB_RRDB_DUPLICATE"
	RPCIngest         = "RPC_RRDB_RRDB_BULK_LOAD"
	RPCGet            = "RPC_RRDB_RRDB_GET"
	RPCMultiGet       = "RPC_RRDB_RRDB_MULTI_GET"
	RPCBatchGet       = "RPC_RRDB_RRDB_BATCH_GET"
	RPCSortkeyCount   = "RPC_RRDB_RRDB_SORTKEY_COUNT"
	RPCTTL            = "RPC_RRDB_RRDB_TTL"
	RPCGetScanner     = "RPC_RRDB_RRDB_GET_SCANNER"
	RPCScan           = "RPC_RRDB_RRDB_SCAN"
	RPCClearScanner   = "RPC_RRDB_RRDB_CLEAR_SCANNER"

	// Replica servers send this to each other.
	RPCPacifica = "RPC_PACIFICA"
	// A meta has the primary of a partition switch, and that one asks members for the child.
	RPCSplitSwitch = "RPC_SPLIT_SWITCH"
	RPCSplitChild  = "RPC_SPLIT_CHILD"
	// A meta has members of a partition make and take rows of files.
	RPCLoadRows = "RPC_LOAD_ROWS"

	// Every server answers these.
	RPCNegotiation = "RPC_NEGOTIATION"
	RPCCLICall     = "RPC_CLI_CLI_CALL"
	RPCHTTPService = "RPC_HTTP_SERVICE"

	// Meta servers answer these.
	RPCQueryPartitionConfigByIndex  = "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX"
	RPCCreateApp                    = "RPC_CM_CREATE_APP"
	RPCDropApp                      = "RPC_CM_DROP_APP"
	RPCRecallApp                    = "RPC_CM_RECALL_APP"
	RPCRenameApp                    = "RPC_CM_RENAME_APP"
	RPCListApps                     = "RPC_CM_LIST_APPS"
	RPCListNodes                    = "RPC_CM_LIST_NODES"
	RPCClusterInfo                  = "RPC_CM_CLUSTER_INFO"
	RPCControlMeta                  = "RPC_CM_CONTROL_META"
	RPCProposeBalancer              = "RPC_CM_PROPOSE_BALANCER"
	RPCUpdateAppEnv                 = "RPC_CM_UPDATE_APP_ENV"
	RPCStartRecovery                = "RPC_CM_START_RECOVERY"
	RPCStartRestore                 = "RPC_CM_START_RESTORE"
	RPCQueryRestoreStatus           = "RPC_CM_QUERY_RESTORE_STATUS"
	RPCReportRestoreStatus          = "RPC_CM_REPORT_RESTORE_STATUS"
	RPCAddBackupPolicy              = "RPC_CM_ADD_BACKUP_POLICY"
	RPCModifyBackupPolicy           = "RPC_CM_MODIFY_BACKUP_POLICY"
	RPCQueryBackupPolicy            = "RPC_CM_QUERY_BACKUP_POLICY"
	RPCStartBackupApp               = "RPC_CM_START_BACKUP_APP"
	RPCQueryBackupStatus            = "RPC_CM_QUERY_BACKUP_STATUS"
	RPCListRestores                 = "RPC_CM_LIST_RESTORES"
	RPCListBackups                  = "RPC_CM_LIST_BACKUPS"
	RPCCancelBackup                 = "RPC_CM_CANCEL_BACKUP"
	RPCDeleteBackup                 = "RPC_CM_DELETE_BACKUP"
	RPCRemoveBackupPolicy           = "RPC_CM_REMOVE_BACKUP_POLICY"
	RPCAddDuplication               = "RPC_CM_ADD_DUPLICATION"
	RPCModifyDuplication            = "RPC_CM_MODIFY_DUPLICATION"
	RPCQueryDuplication             = "RPC_CM_QUERY_DUPLICATION"
	RPCListDuplication              = "RPC_CM_LIST_DUPLICATION"
	RPCDuplicationSync              = "RPC_CM_DUPLICATION_SYNC"
	RPCLoadsEnded                   = "RPC_CM_LOADS_ENDED" // ours: which loads of files have ended
	RPCDDDDiagnose                  = "RPC_CM_DDD_DIAGNOSE"
	RPCRebalance                    = "RPC_CM_REBALANCE"
	RPCNodeRole                     = "RPC_CM_NODE_ROLE"
	RPCNodeStop                     = "RPC_CM_NODE_STOP"
	RPCExplain                      = "RPC_CM_EXPLAIN"
	RPCQuorumStatus                 = "RPC_CM_QUORUM_STATUS"
	RPCQuorumChange                 = "RPC_CM_QUORUM_CHANGE"
	RPCQuorumTransfer               = "RPC_CM_QUORUM_TRANSFER"
	RPCQuorumBackup                 = "RPC_CM_QUORUM_BACKUP"
	RPCUpgradeVersion               = "RPC_CM_UPGRADE_VERSION"
	RPCSelfCheck                    = "RPC_CM_SELF_CHECK"
	RPCStartPartitionSplit          = "RPC_CM_START_PARTITION_SPLIT"
	RPCControlPartitionSplit        = "RPC_CM_CONTROL_PARTITION_SPLIT"
	RPCQueryPartitionSplit          = "RPC_CM_QUERY_PARTITION_SPLIT"
	RPCRegisterChildReplica         = "RPC_CM_REGISTER_CHILD_REPLICA"
	RPCNotifyStopSplit              = "RPC_CM_NOTIFY_STOP_SPLIT"
	RPCQueryChildState              = "RPC_CM_QUERY_CHILD_STATE"
	RPCStartBulkLoad                = "RPC_CM_START_BULK_LOAD"
	RPCControlBulkLoad              = "RPC_CM_CONTROL_BULK_LOAD"
	RPCQueryBulkLoadStatus          = "RPC_CM_QUERY_BULK_LOAD_STATUS"
	RPCClearBulkLoad                = "RPC_CM_CLEAR_BULK_LOAD"
	RPCStartManualCompact           = "RPC_CM_START_MANUAL_COMPACT"
	RPCQueryManualCompactStatus     = "RPC_CM_QUERY_MANUAL_COMPACT_STATUS"
	RPCGetMaxReplicaCount           = "RPC_CM_GET_MAX_REPLICA_COUNT"
	RPCSetMaxReplicaCount           = "RPC_CM_SET_MAX_REPLICA_COUNT"
	RPCGetAtomicIdempotent          = "RPC_CM_GET_ATOMIC_IDEMPOTENT"
	RPCSetAtomicIdempotent          = "RPC_CM_SET_ATOMIC_IDEMPOTENT"
	RPCConfigSync                   = "RPC_CM_CONFIG_SYNC"
	RPCUpdatePartitionConfiguration = "RPC_CM_UPDATE_PARTITION_CONFIGURATION"
	RPCFailureDetectorPing          = "RPC_FD_FAILURE_DETECTOR_PING"

	// Meta servers send these to each other.
	RPCRaftAppend     = "RPC_META_RAFT_APPEND"
	RPCRaftVote       = "RPC_META_RAFT_VOTE"
	RPCRaftPreVote    = "RPC_META_RAFT_PREVOTE"
	RPCRaftTimeoutNow = "RPC_META_RAFT_TIMEOUT_NOW"
	RPCRaftSnapshot   = "RPC_META_RAFT_SNAPSHOT"

	// Replica servers answer these.
	RPCConfigProposal                 = "RPC_CONFIG_PROPOSAL"
	RPCPrepare                        = "RPC_PREPARE"
	RPCGroupCheck                     = "RPC_GROUP_CHECK"
	RPCLearn                          = "RPC_LEARN"
	RPCLearnCompletionNotify          = "RPC_LEARN_COMPLETION_NOTIFY"
	RPCLearnAddLearner                = "RPC_LEARN_ADD_LEARNER"
	RPCRemoveReplica                  = "RPC_REMOVE_REPLICA"
	RPCQueryPNDecree                  = "RPC_QUERY_PN_DECREE"
	RPCQueryReplicaInfo               = "RPC_QUERY_REPLICA_INFO"
	RPCQueryAppInfo                   = "RPC_QUERY_APP_INFO"
	RPCQueryLastCheckpointInfo        = "RPC_QUERY_LAST_CHECKPOINT_INFO"
	RPCQueryDiskInfo                  = "RPC_QUERY_DISK_INFO"
	RPCReplicaDiskMigrate             = "RPC_REPLICA_DISK_MIGRATE"
	RPCDetectHotkey                   = "RPC_DETECT_HOTKEY"
	RPCAddNewDisk                     = "RPC_ADD_NEW_DISK"
	RPCColdBackup                     = "RPC_COLD_BACKUP"
	RPCClearColdBackup                = "RPC_CLEAR_COLD_BACKUP"
	RPCBulkLoad                       = "RPC_BULK_LOAD"
	RPCGroupBulkLoad                  = "RPC_GROUP_BULK_LOAD"
	RPCSplitNotifyCatchUp             = "RPC_SPLIT_NOTIFY_CATCH_UP"
	RPCSplitUpdateChildPartitionCount = "RPC_SPLIT_UPDATE_CHILD_PARTITION_COUNT"
	RPCNFSCopy                        = "RPC_NFS_COPY"
	RPCNFSGetFileSize                 = "RPC_NFS_GET_FILE_SIZE"
	RPCProbe                          = "RPC_PROBE" // ours: can partitions be read and written
)

// clientRPCs is what the names of all requests for rows begin with.
const clientRPCs = "RPC_RRDB_RRDB_"

// ShortRPC returns the name of a request for rows without the prefix that all of them share, and
// any other name as it is.
func ShortRPC(name string) string { return strings.TrimPrefix(name, clientRPCs) }

// RPCNames returns the names of all requests, in a fixed order.
func RPCNames() []string { return slices.Clone(rpcNames) }

// ServerRPCs returns the requests that only servers of a cluster send, to each other, and without
// which the cluster stops.
func ServerRPCs() []string {
	return []string{
		RPCPacifica,
		RPCConfigProposal,
		RPCConfigSync,
		RPCUpdatePartitionConfiguration,
		RPCFailureDetectorPing,
		RPCRaftAppend,
		RPCRaftVote,
		RPCRaftPreVote,
		RPCRaftTimeoutNow,
		RPCRaftSnapshot,
	}
}

var rpcNames = []string{
	RPCPut, RPCMultiPut, RPCRemove, RPCMultiRemove, RPCIncr, RPCCheckAndSet, RPCCheckAndMutate, RPCDuplicate,
	RPCIngest, RPCGet, RPCMultiGet, RPCBatchGet, RPCSortkeyCount, RPCTTL, RPCGetScanner, RPCScan, RPCClearScanner,
	RPCPacifica,
	RPCNegotiation, RPCCLICall, RPCHTTPService,
	RPCQueryPartitionConfigByIndex, RPCCreateApp, RPCDropApp, RPCRecallApp, RPCRenameApp, RPCListApps, RPCListNodes,
	RPCClusterInfo, RPCControlMeta, RPCProposeBalancer, RPCUpdateAppEnv, RPCStartRecovery, RPCStartRestore,
	RPCQueryRestoreStatus, RPCReportRestoreStatus, RPCAddBackupPolicy, RPCModifyBackupPolicy, RPCQueryBackupPolicy,
	RPCStartBackupApp, RPCQueryBackupStatus, RPCListRestores, RPCListBackups, RPCCancelBackup, RPCDeleteBackup, RPCRemoveBackupPolicy, RPCAddDuplication, RPCModifyDuplication, RPCQueryDuplication,
	RPCListDuplication, RPCDuplicationSync, RPCLoadsEnded, RPCDDDDiagnose, RPCRebalance, RPCNodeRole, RPCNodeStop, RPCExplain,
	RPCQuorumStatus, RPCQuorumChange, RPCQuorumTransfer, RPCQuorumBackup, RPCUpgradeVersion, RPCSelfCheck, RPCStartPartitionSplit,
	RPCControlPartitionSplit, RPCQueryPartitionSplit, RPCRegisterChildReplica, RPCNotifyStopSplit, RPCQueryChildState,
	RPCStartBulkLoad, RPCControlBulkLoad, RPCQueryBulkLoadStatus, RPCClearBulkLoad, RPCStartManualCompact,
	RPCQueryManualCompactStatus, RPCGetMaxReplicaCount, RPCSetMaxReplicaCount, RPCGetAtomicIdempotent, RPCSetAtomicIdempotent,
	RPCConfigSync, RPCUpdatePartitionConfiguration, RPCFailureDetectorPing,
	RPCRaftAppend, RPCRaftVote, RPCRaftPreVote, RPCRaftTimeoutNow, RPCRaftSnapshot,
	RPCConfigProposal, RPCPrepare, RPCGroupCheck, RPCLearn, RPCLearnCompletionNotify, RPCLearnAddLearner, RPCRemoveReplica,
	RPCQueryPNDecree, RPCQueryReplicaInfo, RPCQueryAppInfo, RPCQueryLastCheckpointInfo, RPCQueryDiskInfo, RPCReplicaDiskMigrate,
	RPCDetectHotkey, RPCAddNewDisk, RPCColdBackup, RPCClearColdBackup, RPCBulkLoad, RPCGroupBulkLoad, RPCSplitNotifyCatchUp,
	RPCSplitUpdateChildPartitionCount, RPCSplitSwitch, RPCSplitChild, RPCLoadRows, RPCNFSCopy, RPCNFSGetFileSize, RPCProbe,
}
