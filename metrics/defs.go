package metrics

// The types of entities.
const (
	Server    = "server"
	Disk      = "disk"
	Replica   = "replica"
	Profiler  = "profiler"
	Table     = "table"
	Partition = "partition"
)

var entities = map[string]string{
	Server:    "One a process. No attributes.",
	Disk:      "One a data directory of a replica server. Attributes: tag, data_dir.",
	Replica:   "One a replica on a replica server. Attributes: table_id, partition_id.",
	Profiler:  "One an RPC of clients on a replica server that serves it. Attribute: task_name.",
	Table:     "One an available table, on the leading meta server. Attribute: table_id.",
	Partition: "One a partition of an available table, on the leading meta server. Attributes: table_id, partition_id.",
}

// Of every server.
var (
	ResidentMem    = def(Server, "resident_mem_usage_mb", Gauge, "MB", "Resident memory of the process.")
	VirtualMem     = def(Server, "virtual_mem_usage_mb", Gauge, "MB", "Virtual memory of the process.")
	HeapBytes      = def(Server, "go_heap_bytes", Gauge, "bytes", "Memory in live and unswept heap objects.")
	Goroutines     = def(Server, "go_goroutines", Gauge, "goroutines", "Goroutines of the process.")
	Sessions       = def(Server, "network_server_sessions", Gauge, "connections", "Open connections, HTTP included.")
	RPCAccepted    = def(Server, "rpc_accepted_connections", Counter, "connections", "Connections accepted.")
	RPCRefused     = def(Server, "rpc_refused_connections", Counter, "connections", "Connections closed at once because of a limit.")
	RPCBadFrames   = def(Server, "rpc_bad_frames", Counter, "connections", "Connections closed for what they sent.")
	RPCRequests    = def(Server, "rpc_requests", Counter, "requests", "Requests read.")
	RPCPanics      = def(Server, "rpc_panics", Counter, "requests", "Requests whose handler failed by a fault of ours.")
	RPCInFlight    = def(Server, "rpc_in_flight_bytes", Gauge, "bytes", "Memory of requests not yet answered and answers not yet sent.")
	UptimeSeconds  = def(Server, "uptime_seconds", Gauge, "seconds", "Time since the process started.")
	BeaconFailures = def(Server, "beacon_failed_count", Counter, "beacons", "Beacons that no meta acknowledged (replica servers).")
)

// Of meta servers.
var (
	MetaLeading        = def(Server, "meta_leading", Gauge, "", "1 on the meta server that leads, otherwise 0.")
	AliveServers       = def(Server, "alive_replica_servers", Gauge, "servers", "Replica servers that live (leading meta).")
	UnaliveServers     = def(Server, "unalive_replica_servers", Gauge, "servers", "Replica servers that are known and dead (leading meta).")
	MetaRaftApplied    = def(Server, "meta_raft_applied_index", Gauge, "entries", "Last entry of the metas' log that this server applied.")
	MetaRaftLast       = def(Server, "meta_raft_last_index", Gauge, "entries", "Last entry of the metas' log on this server.")
	MetaRaftTerm       = def(Server, "meta_raft_term", Gauge, "", "Term of the metas' quorum; it grows with each election.")
	TableCount         = def(Server, "table_count", Gauge, "tables", "Available tables (leading meta).")
	UnplannedWork      = def(Server, "meta_pending_partitions", Gauge, "partitions", "Partitions that may not be in order and are looked at (leading meta).")
	ServerDisconnected = def(Server, "replica_server_disconnections", Counter, "disconnections", "Replica servers declared dead since this meta leads.")
	BalanceWaiting     = def(Server, "balance_moves_waiting", Gauge, "moves", "Moves of replicas and primaries that are planned and not begun (leading meta).")
	BalanceRunning     = def(Server, "balance_moves_running", Gauge, "moves", "Moves of replicas and primaries that are under way (leading meta).")
	BalanceDone        = def(Server, "balance_moves_done", Counter, "moves", "Moves that were made since this meta leads.")
	BalanceFailed      = def(Server, "balance_moves_failed", Counter, "moves", "Moves that were given up since this meta leads.")
)

// Of replica servers.
var (
	TotalReplicas     = def(Server, "total_replicas", Gauge, "replicas", "Replicas that are open.")
	OpeningReplicas   = def(Server, "opening_replicas", Gauge, "replicas", "Replicas being made.")
	InactiveReplicas  = def(Server, "inactive_replicas", Gauge, "replicas", "Replicas that belong to no group at present.")
	ErrorReplicas     = def(Server, "error_replicas", Gauge, "replicas", "Replicas out of service because of an error.")
	PrimaryReplicas   = def(Server, "primary_replicas", Gauge, "replicas", "Primaries.")
	SecondaryReplicas = def(Server, "secondary_replicas", Gauge, "replicas", "Secondaries.")
	LearningReplicas  = def(Server, "learning_replicas", Gauge, "replicas", "Learners.")
	ShortSecondaries  = def(Server, "primaries_with_short_secondaries", Gauge, "replicas", "Primaries that refuse writes because the disk of a secondary has too little free space.")
	LeaseValid        = def(Server, "lease_valid", Gauge, "", "1 while the meta acknowledges this server, so that it serves, otherwise 0.")
	BlockCacheMem     = def(Server, "rdb_block_cache_mem_usage_bytes", Gauge, "bytes", "Block cache in use.")
	BlockCacheHits    = def(Server, "rdb_block_cache_hits", Counter, "blocks", "Blocks found in the cache.")
	BlockCacheMisses  = def(Server, "rdb_block_cache_misses", Counter, "blocks", "Blocks read because they were not in the cache.")
	MemtablesTotal    = def(Server, "rdb_wbm_total_mem_usage_bytes", Gauge, "bytes", "Memory that memtables of all replicas have allocated.")
	MemtablesMutable  = def(Server, "rdb_wbm_mutable_mem_usage_bytes", Gauge, "bytes", "Rows in memtables that are not being flushed yet.")
	Compactions       = def(Server, "rdb_running_compactions", Gauge, "compactions", "Compactions running.")
	FlushWaits        = def(Server, "flush_tempo_wait_ms", Counter, "milliseconds", "Time that flushes were held back, so that they are spread over the time in which memtables are filled. Those that somebody waits for aren't.")
	CompactionWaits   = def(Server, "compaction_tempo_wait_ms", Counter, "milliseconds", "Time that compactions were held back, so that they go about twice as fast as they did on average. Those that somebody waits for aren't.")
	ScanSessions      = def(Server, "scan_sessions", Gauge, "sessions", "Open scan sessions.")
	SweptRows         = def(Server, "expired_rows_deleted", Counter, "rows", "Expired rows deleted for good.")
	SweptBytes        = def(Server, "expired_bytes_deleted", Counter, "bytes", "What they took, uncompressed.")
	SweepReadBytes    = def(Server, "expiry_sweep_read_bytes", Counter, "bytes", "Rows read to find expired ones, uncompressed.")
	Sweeps            = def(Server, "expiry_sweeps", Counter, "sweeps", "Looks at the rows of a replica, of which enough were expected to have expired.")
	SweepTime         = def(Server, "expiry_sweep_time_ms", Counter, "milliseconds", "Time that they took, with giving the space back, and with the pauses that keep to storage.sweep_bytes_per_second.")
	Passes            = def(Server, "rule_passes", Counter, "passes", "Passes of tables' rules (default_ttl, user_specified_compaction) over the rows of a primary that were made to the end.")
	PassesRunning     = def(Server, "rule_passes_running", Gauge, "passes", "Such passes that are being made.")
	PassFailures      = def(Server, "rule_pass_failures", Counter, "passes", "Such passes that were broken off; they are tried again.")
	PassRows          = def(Server, "rule_pass_rows", Counter, "rows", "Rows that such passes changed or removed.")
	PassReadBytes     = def(Server, "rule_pass_read_bytes", Counter, "bytes", "Rows that they read, uncompressed.")
	PassTime          = def(Server, "rule_pass_time_ms", Counter, "milliseconds", "Time that they took, with the pauses that keep to storage.sweep_bytes_per_second and rules_bytes_per_second.")
	DelayedNow        = def(Server, "throttling_waiting_requests", Gauge, "requests", "Requests that throttles of tables keep waiting now.")
	LearnCopyBytes    = def(Server, "nfs_client_copy_bytes", Counter, "bytes", "Bytes of checkpoints received by learners.")
	LearnInstalled    = def(Server, "learn_successful_count", Counter, "checkpoints", "Checkpoints received and installed by learners.")
	LearnCopies       = def(Server, "learn_running_count", Gauge, "checkpoints", "Checkpoints that learners are receiving, or wait to receive.")
	LearnLeft         = def(Server, "learn_remaining_bytes", Gauge, "bytes", "Bytes of those checkpoints that are still to be received.")
	LearnRate         = def(Server, "learn_copy_rate", Gauge, "bytes per second", "How fast this server may send, and receive, checkpoints at the moment; 0 is no limit.")
	LearnFailed       = def(Server, "learn_failed_count", Counter, "checkpoints", "Checkpoints that a learner could not receive or install.")
)

// Of data directories.
var (
	DiskTotal     = def(Disk, "disk_capacity_total_mb", Gauge, "MB", "Size of the file system.")
	DiskAvail     = def(Disk, "disk_capacity_avail_mb", Gauge, "MB", "Free space of the file system.")
	DiskState     = def(Disk, "disk_status", Gauge, "", "0 normal, 1 too little space (writes are refused, reads go on), 2 an error (its replicas are out of service).")
	DiskReplicas  = def(Disk, "disk_replicas", Gauge, "replicas", "Replicas in the directory.")
	WALSize       = def(Disk, "wal_size_bytes", Gauge, "bytes", "Size of the replication log.")
	WALSegments   = def(Disk, "wal_segments", Gauge, "segments", "Segments of the replication log.")
	WALIndex      = def(Disk, "wal_indexed_entries", Gauge, "entries", "Entries of the replication log that can be read.")
	WALEntries    = def(Disk, "wal_entries", Counter, "entries", "Entries appended to the replication log.")
	WALBytes      = def(Disk, "wal_written_bytes", Counter, "bytes", "Bytes written to the replication log.")
	WALBatches    = def(Disk, "wal_batches", Counter, "writes", "Writes that the entries took; entries divided by it is how well they are grouped.")
	WALSyncs      = def(Disk, "wal_syncs", Counter, "syncs", "Times that the replication log was made durable.")
	WALSyncTime   = def(Disk, "wal_sync_time_us", Counter, "microseconds", "Time that took.")
	WALRewritten  = def(Disk, "wal_rewritten_entries", Counter, "entries", "Entries written again so that their segment could go.")
	WALPressures  = def(Disk, "wal_pressures", Counter, "events", "Times that the log grew too large and replicas were flushed for it.")
	WALReadBytes  = def(Disk, "wal_read_bytes", Counter, "bytes", "Bytes of entries read back, for learners and laggards.")
	WALRotations  = def(Disk, "wal_rotations", Counter, "segments", "Segments begun.")
	WALReadCount  = def(Disk, "wal_read_entries", Counter, "entries", "Entries read back, for learners and laggards.")
	WALRemovedSeg = def(Disk, "wal_removed_segments", Counter, "segments", "Segments given up.")
)

// Of each replica.
var (
	ReplicaBallot    = def(Replica, "ballot", Gauge, "", "Ballot of the configuration.")
	ReplicaRole      = def(Replica, "role", Gauge, "", "0 inactive, 1 primary, 2 secondary, 3 learner, 4 out of service.")
	CommittedDecree  = def(Replica, "committed_decree", Gauge, "mutations", "Last committed decree.")
	PreparedDecree   = def(Replica, "prepared_decree", Gauge, "mutations", "Last prepared decree.")
	AppliedDecree    = def(Replica, "applied_decree", Gauge, "mutations", "Last decree in the store.")
	AbnormalReads    = def(Replica, "abnormal_read_requests", Counter, "requests", "Reads that took long, or read much.")
	ExpiredReads     = def(Replica, "read_expired_values", Counter, "values", "Rows that reads found and whose time was over.")
	FilteredReads    = def(Replica, "read_filtered_values", Counter, "values", "Rows that a filter of multi_get or of a scan hid.")
	DelayedWrites    = def(Replica, "throttling_delayed_write_requests", Counter, "requests", "Writes delayed by a throttle of the table.")
	RejectedWrites   = def(Replica, "throttling_rejected_write_requests", Counter, "requests", "Writes refused by a throttle of the table.")
	DelayedReads     = def(Replica, "throttling_delayed_read_requests", Counter, "requests", "Reads delayed by a throttle of the table.")
	RejectedReads    = def(Replica, "throttling_rejected_read_requests", Counter, "requests", "Reads refused by a throttle of the table.")
	DelayedBackups   = def(Replica, "throttling_delayed_backup_requests", Counter, "requests", "Backup requests delayed by a throttle of the table.")
	RejectedBackups  = def(Replica, "throttling_rejected_backup_requests", Counter, "requests", "Backup requests left without an answer by a throttle of the table.")
	ReadUnits        = def(Replica, "read_capacity_units", Counter, "units", "Capacity units of reads: of each request one for every replica.read_capacity_unit_size bytes of keys and values, at least one.")
	WriteUnits       = def(Replica, "write_capacity_units", Counter, "units", "Capacity units of writes, counted on the primary.")
	BackupBytes      = def(Replica, "backup_request_bytes", Counter, "bytes", "Keys and values answered to backup requests.")
	TooLargeWrites   = def(Replica, "write_size_exceed_threshold_requests", Counter, "requests", "Writes refused because they are larger than replica.max_allowed_write_size.")
	HotReadRate      = def(Replica, "hot_read_key_rows_per_second", Gauge, "rows", "Rows a second that were asked for under the hash key that reads ask for most, over the last 10 seconds; an estimate from a sample. See pegasus table hotkeys.")
	HotReadShare     = def(Replica, "hot_read_key_percent", Gauge, "%", "Its part of all rows that reads of the partition asked for.")
	HotWriteRate     = def(Replica, "hot_write_key_rows_per_second", Gauge, "rows", "The same of writes.")
	HotWriteShare    = def(Replica, "hot_write_key_percent", Gauge, "%", "The same of writes.")
	SSTFiles         = def(Replica, "rdb_total_sst_files", Gauge, "files", "Table files.")
	SSTSize          = def(Replica, "rdb_total_sst_size_mb", Gauge, "MB", "Size of the table files.")
	EstimatedKeys    = def(Replica, "rdb_estimated_keys", Gauge, "keys", "Estimated number of rows, from the properties of the tables.")
	IndexFilterMem   = def(Replica, "rdb_index_and_filter_blocks_mem_usage_bytes", Gauge, "bytes", "Always 0: index and filter blocks are in the block cache.")
	MemtableMem      = def(Replica, "rdb_memtable_mem_usage_bytes", Gauge, "bytes", "Memory of memtables.")
	WriteAmp         = def(Replica, "rdb_write_amplification", Gauge, "", "Bytes written by flushes and compactions for each byte flushed, rounded.")
	ReadAmp          = def(Replica, "rdb_read_amplification", Gauge, "", "Sorted runs that a read may have to look at.")
	BloomNegatives   = def(Replica, "rdb_bloom_filter_point_lookup_negatives", Counter, "lookups", "Lookups that a filter saved.")
	BloomPositives   = def(Replica, "rdb_bloom_filter_point_lookup_positives", Counter, "lookups", "Lookups that a filter did not save.")
	Flushes          = def(Replica, "rdb_flush_completed_count", Counter, "flushes", "Flushes.")
	FlushBytes       = def(Replica, "rdb_flush_output_bytes", Counter, "bytes", "Bytes written by flushes.")
	CompactionCount  = def(Replica, "rdb_compaction_completed_count", Counter, "compactions", "Compactions.")
	CompactionInput  = def(Replica, "rdb_compaction_input_bytes", Counter, "bytes", "Bytes read by compactions.")
	CompactionOutput = def(Replica, "rdb_compaction_output_bytes", Counter, "bytes", "Bytes written by compactions.")
	CompactionDebt   = def(Replica, "rdb_compaction_debt_bytes", Gauge, "bytes", "Estimate of what compactions have to do until the store is in shape.")
)

// Op is the number of a client operation.
type Op uint8

// The operations, reads first.
const (
	OpGet Op = iota
	OpTTL
	OpMultiGet
	OpBatchGet
	OpSortKeyCount
	OpScan
	OpPut
	OpMultiPut
	OpRemove
	OpMultiRemove
	OpIncr
	OpCheckAndSet
	OpCheckAndMutate
	NumOps
)

// names are the operations as upstream's metrics call them, and their RPCs.
var names = [NumOps][2]string{
	{"get", "RPC_RRDB_RRDB_GET"}, {"ttl", "RPC_RRDB_RRDB_TTL"}, {"multi_get", "RPC_RRDB_RRDB_MULTI_GET"}, {"batch_get", "RPC_RRDB_RRDB_BATCH_GET"},
	{"sortkey_count", "RPC_RRDB_RRDB_SORTKEY_COUNT"}, {"scan", "RPC_RRDB_RRDB_SCAN"}, {"put", "RPC_RRDB_RRDB_PUT"},
	{"multi_put", "RPC_RRDB_RRDB_MULTI_PUT"}, {"remove", "RPC_RRDB_RRDB_REMOVE"}, {"multi_remove", "RPC_RRDB_RRDB_MULTI_REMOVE"},
	{"incr", "RPC_RRDB_RRDB_INCR"}, {"check_and_set", "RPC_RRDB_RRDB_CHECK_AND_SET"}, {"check_and_mutate", "RPC_RRDB_RRDB_CHECK_AND_MUTATE"},
}

// RPC returns the name of the operation's RPC.
func (o Op) RPC() string { return names[o][1] }

// Requests and Latency are a replica's metrics of each operation; TaskLatency is the same of
// a whole server.
var (
	Requests    [NumOps]*Metric
	Latency     [NumOps]*Metric
	OpBytes     [NumOps]*Metric // nil of those that upstream doesn't count
	TaskLatency *Metric
)

func init() {
	for op, n := range names {
		note := ""
		switch Op(op) {
		case OpScan:
			note = ", get_scanner included"
		}
		Requests[op] = def(Replica, n[0]+"_requests", Counter, "requests", "Requests served: "+n[0]+note+".")
	}
	for op, n := range names {
		what := "Time from the gate to the answer"
		if Op(op) >= OpPut {
			what = "Time from the proposal to the commit"
		}
		Latency[op] = def(Replica, n[0]+"_latency_ns", Percentile, "nanoseconds", what+", of a sample of the requests: "+n[0]+".")
	}
	for _, op := range []Op{OpGet, OpMultiGet, OpBatchGet, OpScan, OpPut, OpMultiPut, OpCheckAndSet, OpCheckAndMutate} {
		OpBytes[op] = def(Replica, names[op][0]+"_bytes", Counter, "bytes", "Keys and values of the requests: "+names[op][0]+".")
	}
	TaskLatency = def(Profiler, "profiler_server_rpc_latency_ns", Percentile, "nanoseconds", "Latency of an RPC over all replicas of the server, from the same samples.")
	tableDefs()
}

// Of tables and partitions, on the leading meta.
var (
	DeadPartitions, UnreadablePartitions, UnwritablePartitions, WritableIllPartitions, HealthyPartitions *Metric
	ConfigChanges                                                                                        *Metric
)

func tableDefs() {
	DeadPartitions = def(Table, "dead_partitions", Gauge, "partitions", "Partitions without a living member.")
	UnreadablePartitions = def(Table, "unreadable_partitions", Gauge, "partitions", "Partitions without a living primary, some other member living.")
	UnwritablePartitions = def(Table, "unwritable_partitions", Gauge, "partitions", "Partitions with a primary and too few members to write.")
	WritableIllPartitions = def(Table, "writable_ill_partitions", Gauge, "partitions", "Partitions that can be written and lack replicas.")
	HealthyPartitions = def(Table, "healthy_partitions", Gauge, "partitions", "Partitions with all replicas.")
	ConfigChanges = def(Partition, "partition_configuration_changes", Counter, "changes", "Changes of the configuration since the table was made: its ballot.")
}
