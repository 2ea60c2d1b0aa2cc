package rpc

// knownCode is an RPC name that is met often: a request that carries it gets this string
// and not a copy, and a Mux finds its handler by index.
type knownCode struct {
	name  string
	ack   string // name of the answer
	index int
}

const (
	maxKnownCodes = 128 // at least len(codeNames)
	ackSuffix     = "_ACK"
	maxCodeName   = 47 // bytes of a name that fit rDSN's header beside the NUL
)

// internCode returns the name as a string, without allocating if it is known.
func internCode(name []byte) (string, *knownCode) {
	if c := knownCodes[string(name)]; c != nil {
		return c.name, c
	}
	return string(name), nil
}

var knownCodes = func() map[string]*knownCode {
	m := make(map[string]*knownCode, len(codeNames))
	for i, n := range codeNames {
		m[n] = &knownCode{name: n, ack: n + ackSuffix, index: i}
	}
	return m
}()

// codeNames are the names of all requests that some client, tool or server sends.
var codeNames = [...]string{
	// clients to replica servers
	"RPC_RRDB_RRDB_PUT",
	"RPC_RRDB_RRDB_MULTI_PUT",
	"RPC_RRDB_RRDB_REMOVE",
	"RPC_RRDB_RRDB_MULTI_REMOVE",
	"RPC_RRDB_RRDB_INCR",
	"RPC_RRDB_RRDB_CHECK_AND_SET",
	"RPC_RRDB_RRDB_CHECK_AND_MUTATE",
	"RPC_RRDB_RRDB_DUPLICATE",
	"RPC_RRDB_RRDB_BULK_LOAD",
	"RPC_RRDB_RRDB_GET",
	"RPC_RRDB_RRDB_MULTI_GET",
	"RPC_RRDB_RRDB_BATCH_GET",
	"RPC_RRDB_RRDB_SORTKEY_COUNT",
	"RPC_RRDB_RRDB_TTL",
	"RPC_RRDB_RRDB_GET_SCANNER",
	"RPC_RRDB_RRDB_SCAN",
	"RPC_RRDB_RRDB_CLEAR_SCANNER",
	// replica servers to each other
	"RPC_PACIFICA",
	// any server
	"RPC_NEGOTIATION",
	"RPC_CLI_CLI_CALL",
	"RPC_HTTP_SERVICE",
	// meta servers
	"RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX",
	"RPC_CM_CREATE_APP",
	"RPC_CM_DROP_APP",
	"RPC_CM_RECALL_APP",
	"RPC_CM_RENAME_APP",
	"RPC_CM_LIST_APPS",
	"RPC_CM_LIST_NODES",
	"RPC_CM_CLUSTER_INFO",
	"RPC_CM_CONTROL_META",
	"RPC_CM_PROPOSE_BALANCER",
	"RPC_CM_UPDATE_APP_ENV",
	"RPC_CM_START_RECOVERY",
	"RPC_CM_START_RESTORE",
	"RPC_CM_QUERY_RESTORE_STATUS",
	"RPC_CM_REPORT_RESTORE_STATUS",
	"RPC_CM_ADD_BACKUP_POLICY",
	"RPC_CM_MODIFY_BACKUP_POLICY",
	"RPC_CM_QUERY_BACKUP_POLICY",
	"RPC_CM_START_BACKUP_APP",
	"RPC_CM_QUERY_BACKUP_STATUS",
	"RPC_CM_ADD_DUPLICATION",
	"RPC_CM_MODIFY_DUPLICATION",
	"RPC_CM_QUERY_DUPLICATION",
	"RPC_CM_LIST_DUPLICATION",
	"RPC_CM_DUPLICATION_SYNC",
	"RPC_CM_DDD_DIAGNOSE",
	"RPC_CM_REBALANCE",
	"RPC_CM_NODE_ROLE",
	"RPC_CM_EXPLAIN",
	"RPC_CM_START_PARTITION_SPLIT",
	"RPC_CM_CONTROL_PARTITION_SPLIT",
	"RPC_CM_QUERY_PARTITION_SPLIT",
	"RPC_CM_REGISTER_CHILD_REPLICA",
	"RPC_CM_NOTIFY_STOP_SPLIT",
	"RPC_CM_QUERY_CHILD_STATE",
	"RPC_CM_START_BULK_LOAD",
	"RPC_CM_CONTROL_BULK_LOAD",
	"RPC_CM_QUERY_BULK_LOAD_STATUS",
	"RPC_CM_CLEAR_BULK_LOAD",
	"RPC_CM_START_MANUAL_COMPACT",
	"RPC_CM_QUERY_MANUAL_COMPACT_STATUS",
	"RPC_CM_GET_MAX_REPLICA_COUNT",
	"RPC_CM_SET_MAX_REPLICA_COUNT",
	"RPC_CM_GET_ATOMIC_IDEMPOTENT",
	"RPC_CM_SET_ATOMIC_IDEMPOTENT",
	"RPC_CM_CONFIG_SYNC",
	"RPC_CM_UPDATE_PARTITION_CONFIGURATION",
	"RPC_FD_FAILURE_DETECTOR_PING",
	// replica servers
	"RPC_CONFIG_PROPOSAL",
	"RPC_PREPARE",
	"RPC_GROUP_CHECK",
	"RPC_LEARN",
	"RPC_LEARN_COMPLETION_NOTIFY",
	"RPC_LEARN_ADD_LEARNER",
	"RPC_REMOVE_REPLICA",
	"RPC_QUERY_PN_DECREE",
	"RPC_QUERY_REPLICA_INFO",
	"RPC_QUERY_APP_INFO",
	"RPC_QUERY_LAST_CHECKPOINT_INFO",
	"RPC_QUERY_DISK_INFO",
	"RPC_REPLICA_DISK_MIGRATE",
	"RPC_DETECT_HOTKEY",
	"RPC_ADD_NEW_DISK",
	"RPC_COLD_BACKUP",
	"RPC_CLEAR_COLD_BACKUP",
	"RPC_BULK_LOAD",
	"RPC_GROUP_BULK_LOAD",
	"RPC_SPLIT_NOTIFY_CATCH_UP",
	"RPC_SPLIT_UPDATE_CHILD_PARTITION_COUNT",
	"RPC_NFS_COPY",
	"RPC_NFS_GET_FILE_SIZE",
}
