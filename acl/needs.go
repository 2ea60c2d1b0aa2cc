package acl

import (
	"maps"
	"slices"
	"strings"

	"pegasus/base"
)

// Action is a right that a request needs. The names from Read to Control are Ranger's access types for Pegasus.
type Action uint8

const (
	// Anyone may send it: without it no client finds out anything, not even how to log in.
	Anyone Action = iota + 1
	// Read and Write are of rows.
	Read
	Write
	// Create, Drop and List are of tables.
	Create
	Drop
	List
	// Metadata shows the state of tables or servers.
	Metadata
	// Control changes it.
	Control
	// Internal is what servers of a cluster send each other. No right gives it to a client.
	Internal
)

var actionNames = map[Action]string{Anyone: "anyone", Read: "READ", Write: "WRITE", Create: "CREATE", Drop: "DROP", List: "LIST",
	Metadata: "METADATA", Control: "CONTROL", Internal: "internal"}

func (a Action) String() string { return actionNames[a] }

// OfRPC returns what the request of that name needs. One that isn't listed needs Control.
func OfRPC(name string) Action {
	if a, ok := rpcs[name]; ok {
		return a
	}
	return Control
}

// OfPage returns what a page needs, and whether it is listed; path has no leading slash. Pages below a listed one need
// what that one needs, unless they are listed themselves. One that isn't listed needs Control.
func OfPage(path string) (Action, bool) {
	for p := path; ; {
		if a, ok := pages[p]; ok {
			return a, true
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return Control, false
		}
		p = p[:i]
	}
}

// RPCs returns the names that are listed, sorted.
func RPCs() []string { return slices.Sorted(maps.Keys(rpcs)) }

// Where upstream's Ranger controller lists a request, the action is its
// (src/ranger/ranger_resource_policy_manager.cpp): except that a recall needs Create, as it makes a table.
var rpcs = each(map[Action][]string{
	Anyone: {
		base.RPCNegotiation,
		base.RPCQueryPartitionConfigByIndex, // where a table is; without that no client gets as far as being refused
		base.RPCQuorumStatus,                // who leads
		base.RPCCLICall,                     // each command has a need of its own
		base.RPCHTTPService,                 // the name of what is no RPC
	},
	Read: {
		base.RPCGet, base.RPCMultiGet, base.RPCBatchGet, base.RPCSortkeyCount, base.RPCTTL, base.RPCGetScanner, base.RPCScan, base.RPCClearScanner,
	},
	Write: {
		base.RPCPut, base.RPCMultiPut, base.RPCRemove, base.RPCMultiRemove, base.RPCIncr, base.RPCCheckAndSet, base.RPCCheckAndMutate,
		base.RPCDuplicate, // of another cluster, which is a client here
		base.RPCIngest,
	},
	Create: {base.RPCCreateApp, base.RPCRecallApp},
	Drop:   {base.RPCDropApp},
	List:   {base.RPCListApps, base.RPCDDDDiagnose},
	Metadata: {
		base.RPCListNodes, base.RPCClusterInfo, base.RPCExplain,
		base.RPCQueryBackupStatus, base.RPCQueryBackupPolicy, base.RPCListBackups, base.RPCQueryRestoreStatus, base.RPCListRestores,
		base.RPCQueryDuplication, base.RPCListDuplication, base.RPCQueryPartitionSplit, base.RPCQueryBulkLoadStatus,
		base.RPCQueryManualCompactStatus, base.RPCGetMaxReplicaCount, base.RPCGetAtomicIdempotent,
		base.RPCQueryDiskInfo, base.RPCQueryReplicaInfo, base.RPCQueryAppInfo, base.RPCQueryPNDecree,
	},
	Control: {
		base.RPCControlMeta, base.RPCProposeBalancer, base.RPCRebalance, base.RPCNodeRole, base.RPCStartRecovery,
		base.RPCUpdateAppEnv, base.RPCRenameApp, base.RPCSetMaxReplicaCount, base.RPCSetAtomicIdempotent, base.RPCStartManualCompact,
		base.RPCStartRestore, base.RPCAddBackupPolicy, base.RPCModifyBackupPolicy, base.RPCRemoveBackupPolicy, base.RPCStartBackupApp,
		base.RPCCancelBackup, base.RPCDeleteBackup, base.RPCAddDuplication, base.RPCModifyDuplication,
		base.RPCStartPartitionSplit, base.RPCControlPartitionSplit, base.RPCStartBulkLoad, base.RPCControlBulkLoad, base.RPCClearBulkLoad,
		base.RPCQuorumChange, base.RPCQuorumTransfer, base.RPCQuorumBackup, base.RPCUpgradeVersion,
		base.RPCReplicaDiskMigrate, base.RPCAddNewDisk, base.RPCDetectHotkey,
	},
	Internal: {
		base.RPCPacifica, base.RPCProbe, base.RPCSplitSwitch, base.RPCSplitChild, base.RPCLoadRows, base.RPCConfigSync, base.RPCUpdatePartitionConfiguration,
		base.RPCFailureDetectorPing, base.RPCConfigProposal, base.RPCNodeStop, base.RPCSelfCheck, base.RPCDuplicationSync, base.RPCLoadsEnded,
		base.RPCReportRestoreStatus, base.RPCRegisterChildReplica, base.RPCNotifyStopSplit, base.RPCQueryChildState,
		base.RPCRaftAppend, base.RPCRaftVote, base.RPCRaftPreVote, base.RPCRaftTimeoutNow, base.RPCRaftSnapshot,
		base.RPCColdBackup, base.RPCClearColdBackup, base.RPCBulkLoad, base.RPCGroupBulkLoad, base.RPCPrepare, base.RPCGroupCheck, base.RPCLearn,
		base.RPCLearnCompletionNotify, base.RPCLearnAddLearner, base.RPCRemoveReplica, base.RPCQueryLastCheckpointInfo,
		base.RPCSplitNotifyCatchUp, base.RPCSplitUpdateChildPartitionCount, base.RPCNFSCopy, base.RPCNFSGetFileSize,
	},
})

var pages = each(map[Action][]string{
	Anyone: {"", "version", "recentStartTime", "healthz", "readyz"},
	Metadata: {
		"config", "configs", "metrics", "envs/list", "dashboard",
		"meta/app", "meta/apps", "meta/app_envs", "meta/health", "meta/nodes", "meta/usage", "meta/cluster", "meta/app/duplication",
		"meta/app/query_bulk_load", "meta/backup_policy", "meta/availability", "meta/latency",
		"replica/data_version", "replica/duplication", "replica/manual_compaction",
	},
	Control:  {"updateConfig", "pprof", "debug", "meta/app/start_compaction", "meta/app/usage_scenario", "meta/app/start_bulk_load", "dashboard/do"},
	Internal: {"replica/checkpoint"},
})

func each(by map[Action][]string) map[string]Action {
	m := map[string]Action{}
	for a, names := range by {
		for _, n := range names {
			if _, twice := m[n]; twice {
				panic(n + " is listed twice")
			}
			m[n] = a
		}
	}
	return m
}
