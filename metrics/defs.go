package metrics

import "pegasus/base"

// The types of entities.
const (
	Server    = "server"
	Disk      = "disk"
	Replica   = "replica"
	Profiler  = "profiler"
	Table     = "table"
	Partition = "partition"
	Policy    = "backup_policy"
)

var entities = map[string]string{
	Server:    "One per process. No attributes.",
	Disk:      "One per data directory of a replica server. Attributes: tag, data_dir.",
	Replica:   "One per replica on a replica server. Attributes: table_id, partition_id.",
	Profiler:  "One per client RPC on a replica server. Attribute: task_name.",
	Policy:    "One per backup policy, on the leading meta server. Attribute: policy_name.",
	Table:     "One per available table, on the leading meta server. Attribute: table_id.",
	Partition: "One per partition of an available table, on the leading meta server. Attributes: table_id, partition_id.",
}

// Of every server.
var (
	ResidentMem    = def(Server, "resident_mem_usage_mb", Gauge, "MB", "Resident memory of the process.")
	VirtualMem     = def(Server, "virtual_mem_usage_mb", Gauge, "MB", "Virtual memory of the process.")
	HeapBytes      = def(Server, "heap_bytes", Gauge, "bytes", "Memory in live and unswept heap objects.")
	Goroutines     = def(Server, "goroutines", Gauge, "goroutines", "Goroutines of the process.")
	Sessions       = def(Server, "network_server_sessions", Gauge, "connections", "Open connections, including HTTP.")
	RPCAccepted    = def(Server, "rpc_accepted_connections", Counter, "connections", "Connections accepted.")
	RPCRefused     = def(Server, "rpc_refused_connections", Counter, "connections", "Connections refused because of a limit.")
	RPCBadFrames   = def(Server, "rpc_bad_frames", Counter, "connections", "Connections closed because they sent something invalid.")
	RPCRequests    = def(Server, "rpc_requests", Counter, "requests", "Requests read.")
	RPCPanics      = def(Server, "rpc_panics", Counter, "requests", "Requests whose handler panicked.")
	RPCInFlight    = def(Server, "rpc_in_flight_bytes", Gauge, "bytes", "Memory of unanswered requests and unsent answers.")
	UptimeSeconds  = def(Server, "uptime_seconds", Gauge, "seconds", "Time since the process started.")
	Strangers      = def(Server, "stranger_refused_count", Counter, "requests", "Messages and requests refused because they came from a server of another cluster (replica servers).")
	BeaconFailures = def(Server, "beacon_failed_count", Counter, "beacons", "Beacons that no meta server acknowledged (replica servers).")
)

// Of meta servers.
var (
	MetaLeading        = def(Server, "meta_leading", Gauge, "", "1 on the leading meta server, 0 on the others.")
	AliveServers       = def(Server, "alive_replica_servers", Gauge, "servers", "Live replica servers (leading meta).")
	UnaliveServers     = def(Server, "unalive_replica_servers", Gauge, "servers", "Dead replica servers (leading meta).")
	MetaRaftApplied    = def(Server, "meta_raft_applied_index", Gauge, "entries", "Last entry of the raft log that this server applied.")
	MetaRaftLast       = def(Server, "meta_raft_last_index", Gauge, "entries", "Last entry of the raft log on this server.")
	MetaReserve        = def(Server, "meta_disk_reserve_bytes", Gauge, "bytes", "Remaining disk reserve of the meta server. A value below meta.reserve_bytes means that the disk is full, or was full recently.")
	MetaUnknownTables  = def(Server, "unknown_table_count", Gauge, "tables", "Tables that replica servers store and the meta servers don't know. The meta servers may have lost their state. The data of these tables is kept.")
	MetaRaftTerm       = def(Server, "meta_raft_term", Gauge, "", "Term of the raft log. It grows with each election.")
	ClocksOff          = def(Server, "clocks_off", Gauge, "servers", "Live replica servers whose clock differs from that of most machines by more than failure_detector.clock_tolerance (leading meta).")
	ClockDoubted       = def(Server, "meta_clock_doubted", Gauge, "", "1 while the leading meta's clock differs from that of most machines: dropped tables are kept. If no clock has a majority, expired rows are kept, too.")
	TableCount         = def(Server, "table_count", Gauge, "tables", "Available tables (leading meta).")
	UnplannedWork      = def(Server, "meta_pending_partitions", Gauge, "partitions", "Partitions waiting for the check whether they need a repair (leading meta).")
	ServerDisconnected = def(Server, "replica_server_disconnections", Counter, "disconnections", "Replica servers declared dead since this meta became the leader.")
	BalanceWaiting     = def(Server, "balance_moves_waiting", Gauge, "moves", "Planned moves of replicas and primaries (leading meta).")
	BalanceRunning     = def(Server, "balance_moves_running", Gauge, "moves", "Running moves of replicas and primaries (leading meta).")
	BalanceDone        = def(Server, "balance_moves_done", Counter, "moves", "Moves completed since this meta became the leader.")
	BalanceFailed      = def(Server, "balance_moves_failed", Counter, "moves", "Moves abandoned since this meta became the leader.")
)

// Of replica servers.
var (
	ClockOffset       = def(Server, "clock_offset_ms", Gauge, "ms", "Difference between this machine's clock and the time that the leading meta told at the last beacon. Positive: this clock is ahead.")
	TotalReplicas     = def(Server, "total_replicas", Gauge, "replicas", "Open replicas.")
	OpeningReplicas   = def(Server, "opening_replicas", Gauge, "replicas", "Replicas being opened or created.")
	InactiveReplicas  = def(Server, "inactive_replicas", Gauge, "replicas", "Replicas that belong to no group.")
	ErrorReplicas     = def(Server, "error_replicas", Gauge, "replicas", "Replicas out of service because of an error.")
	PrimaryReplicas   = def(Server, "primary_replicas", Gauge, "replicas", "Primaries.")
	SecondaryReplicas = def(Server, "secondary_replicas", Gauge, "replicas", "Secondaries.")
	LearningReplicas  = def(Server, "learning_replicas", Gauge, "replicas", "Learners.")
	ShortSecondaries  = def(Server, "primaries_with_short_secondaries", Gauge, "replicas", "Primaries that refuse writes because the disk of a secondary is short of space.")
	LeaseValid        = def(Server, "lease_valid", Gauge, "", "1 while this server holds its lease and serves, 0 otherwise.")
	BlockCacheMem     = def(Server, "rdb_block_cache_mem_usage_bytes", Gauge, "bytes", "Memory used by the block cache.")
	BlockCacheHits    = def(Server, "rdb_block_cache_hits", Counter, "blocks", "Blocks found in the block cache.")
	BlockCacheMisses  = def(Server, "rdb_block_cache_misses", Counter, "blocks", "Blocks read from disk.")
	MemtablesTotal    = def(Server, "rdb_wbm_total_mem_usage_bytes", Gauge, "bytes", "Memory allocated by the memtables of all replicas.")
	MemtablesMutable  = def(Server, "rdb_wbm_mutable_mem_usage_bytes", Gauge, "bytes", "Size of the rows in memtables that are not being flushed.")
	Compactions       = def(Server, "rdb_running_compactions", Gauge, "compactions", "Running compactions.")
	FlushWaits        = def(Server, "flush_pacing_wait_ms", Counter, "milliseconds", "Time that I/O pacing delayed flushes, which spreads them over the time that memtables take to fill. Urgent flushes are not delayed.")
	CompactionWaits   = def(Server, "compaction_pacing_wait_ms", Counter, "milliseconds", "Time that I/O pacing delayed compactions. Urgent compactions are not delayed.")
	ScanSessions      = def(Server, "scan_sessions", Gauge, "sessions", "Open scan sessions.")
	SweptRows         = def(Server, "expired_rows_deleted", Counter, "rows", "Expired rows deleted.")
	SweptBytes        = def(Server, "expired_bytes_deleted", Counter, "bytes", "Uncompressed size of the expired rows deleted.")
	SweepReadBytes    = def(Server, "expiry_sweep_read_bytes", Counter, "bytes", "Uncompressed size of the rows read to find expired ones.")
	Sweeps            = def(Server, "expiry_sweeps", Counter, "sweeps", "Expiry sweeps run.")
	SweepTime         = def(Server, "expiry_sweep_time_ms", Counter, "milliseconds", "Time spent in expiry sweeps, including reclaiming space and the pauses for storage.sweep_bytes_per_second.")
	Passes            = def(Server, "rule_passes", Counter, "passes", "Completed passes of table rules (default_ttl, user_specified_compaction) over the rows of a primary.")
	PassesRunning     = def(Server, "rule_passes_running", Gauge, "passes", "Running passes of table rules.")
	PassFailures      = def(Server, "rule_pass_failures", Counter, "passes", "Aborted passes of table rules. They are retried.")
	PassRows          = def(Server, "rule_pass_rows", Counter, "rows", "Rows changed or deleted by passes of table rules.")
	PassReadBytes     = def(Server, "rule_pass_read_bytes", Counter, "bytes", "Uncompressed size of the rows read by passes of table rules.")
	PassTime          = def(Server, "rule_pass_time_ms", Counter, "milliseconds", "Time spent in passes of table rules, including the pauses for storage.sweep_bytes_per_second and storage.rules_bytes_per_second.")
	DelayedNow        = def(Server, "throttling_waiting_requests", Gauge, "requests", "Requests currently delayed by table throttling.")
	LearnCopyBytes    = def(Server, "nfs_client_copy_bytes", Counter, "bytes", "Checkpoint bytes received by learners.")
	LearnInstalled    = def(Server, "learn_successful_count", Counter, "checkpoints", "Checkpoints received and installed by learners.")
	LearnCopies       = def(Server, "learn_running_count", Gauge, "checkpoints", "Checkpoints that learners are receiving or waiting for.")
	LearnLeft         = def(Server, "learn_remaining_bytes", Gauge, "bytes", "Checkpoint bytes that learners have yet to receive.")
	LearnRate         = def(Server, "learn_copy_rate", Gauge, "bytes per second", "Current rate limit for sending and for receiving checkpoints. 0 means no limit.")
	LearnFailed       = def(Server, "learn_failed_count", Counter, "checkpoints", "Checkpoints that learners failed to receive or install.")
	DiskMovesRunning  = def(Server, "disk_moves_running", Gauge, "replicas", "Replicas that are being moved between data directories of the server.")
	DiskMoves         = def(Server, "disk_moves", Counter, "replicas", "Replicas moved between data directories of the server.")
	DiskMoveFailures  = def(Server, "disk_move_failures", Counter, "replicas", "Replicas that were to be moved between data directories and stayed where they were.")
	DiskMoveBytes     = def(Server, "disk_move_bytes", Counter, "bytes", "Bytes copied between data directories to move replicas.")
)

// Of data directories.
var (
	DiskTotal     = def(Disk, "disk_capacity_total_mb", Gauge, "MB", "Size of the file system.")
	DiskAvail     = def(Disk, "disk_capacity_avail_mb", Gauge, "MB", "Free space of the file system.")
	DiskState     = def(Disk, "disk_status", Gauge, "", "0: normal. 1: short of space (writes are refused, reads work). 2: failed (its replicas are out of service).")
	DiskReplicas  = def(Disk, "disk_replicas", Gauge, "replicas", "Replicas in the directory.")
	WALSize       = def(Disk, "wal_size_bytes", Gauge, "bytes", "Size of the replication log.")
	WALSegments   = def(Disk, "wal_segments", Gauge, "segments", "Segments of the replication log.")
	WALIndex      = def(Disk, "wal_indexed_entries", Gauge, "entries", "Readable entries of the replication log.")
	WALEntries    = def(Disk, "wal_entries", Counter, "entries", "Entries appended to the replication log.")
	WALBytes      = def(Disk, "wal_written_bytes", Counter, "bytes", "Bytes written to the replication log.")
	WALBatches    = def(Disk, "wal_batches", Counter, "writes", "Write calls to the replication log. wal_entries divided by this is the mean batch size.")
	WALSyncs      = def(Disk, "wal_syncs", Counter, "syncs", "Syncs of the replication log.")
	WALSyncTime   = def(Disk, "wal_sync_time_us", Counter, "microseconds", "Time spent in syncs of the replication log.")
	WALRewritten  = def(Disk, "wal_rewritten_entries", Counter, "entries", "Entries rewritten so that their old segment could be deleted.")
	WALPressures  = def(Disk, "wal_pressures", Counter, "events", "Times that the log exceeded its maximum size and replicas were flushed.")
	WALReadBytes  = def(Disk, "wal_read_bytes", Counter, "bytes", "Size of the entries read back for learners and lagging secondaries.")
	WALRotations  = def(Disk, "wal_rotations", Counter, "segments", "Segments created.")
	WALReadCount  = def(Disk, "wal_read_entries", Counter, "entries", "Entries read back for learners and lagging secondaries.")
	WALRemovedSeg = def(Disk, "wal_removed_segments", Counter, "segments", "Segments deleted.")
)

// Of each replica.
var (
	ReplicaBallot    = def(Replica, "ballot", Gauge, "", "Ballot of the configuration.")
	ReplicaRole      = def(Replica, "role", Gauge, "", "0: inactive. 1: primary. 2: secondary. 3: learner. 4: out of service.")
	CommittedDecree  = def(Replica, "committed_decree", Gauge, "mutations", "Last committed decree.")
	PreparedDecree   = def(Replica, "prepared_decree", Gauge, "mutations", "Last prepared decree.")
	AppliedDecree    = def(Replica, "applied_decree", Gauge, "mutations", "Last decree applied to the store.")
	HeldDecrees      = def(Replica, "log_held_decrees", Gauge, "mutations", "Mutations that the replication log keeps for learners, checkpoint copies, features or an administrator although the store has them on disk.")
	AbnormalReads    = def(Replica, "abnormal_read_requests", Counter, "requests", "Reads that were slow or large.")
	ExpiredReads     = def(Replica, "read_expired_values", Counter, "values", "Expired rows that reads skipped.")
	FilteredReads    = def(Replica, "read_filtered_values", Counter, "values", "Rows that a filter of a multi_get or scan removed.")
	DelayedWrites    = def(Replica, "throttling_delayed_write_requests", Counter, "requests", "Writes delayed by table throttling.")
	RejectedWrites   = def(Replica, "throttling_rejected_write_requests", Counter, "requests", "Writes rejected by table throttling.")
	DelayedReads     = def(Replica, "throttling_delayed_read_requests", Counter, "requests", "Reads delayed by table throttling.")
	RejectedReads    = def(Replica, "throttling_rejected_read_requests", Counter, "requests", "Reads rejected by table throttling.")
	DelayedBackups   = def(Replica, "throttling_delayed_backup_requests", Counter, "requests", "Backup requests delayed by table throttling.")
	RejectedBackups  = def(Replica, "throttling_rejected_backup_requests", Counter, "requests", "Backup requests dropped by table throttling.")
	ReadUnits        = def(Replica, "read_capacity_units", Counter, "units", "Capacity units of reads. A request costs one unit per replica.read_capacity_unit_size bytes of keys and values, and at least one.")
	WriteUnits       = def(Replica, "write_capacity_units", Counter, "units", "Capacity units of writes, counted on the primary. A request costs one unit per replica.write_capacity_unit_size bytes of keys and values, and at least one.")
	BackupReads      = def(Replica, "backup_requests", Counter, "requests", "Backup requests (reads that secondaries answer too).")
	BackupBytes      = def(Replica, "backup_request_bytes", Counter, "bytes", "Size of the keys and values returned to backup requests.")
	TooLargeWrites   = def(Replica, "write_size_exceed_threshold_requests", Counter, "requests", "Writes rejected because the request exceeds replica.max_allowed_write_size, or its mutation exceeds the maximum size.")
	HotReadRate      = def(Replica, "hot_read_key_rows_per_second", Gauge, "rows", "Rows per second read under the most read hash key in the last 10 seconds, estimated from a sample. See pegasus table hotkeys.")
	HotReadShare     = def(Replica, "hot_read_key_percent", Gauge, "%", "Share of the most read hash key in all rows read.")
	HotWriteRate     = def(Replica, "hot_write_key_rows_per_second", Gauge, "rows", "Rows per second written under the most written hash key in the last 10 seconds, estimated from a sample.")
	HotWriteShare    = def(Replica, "hot_write_key_percent", Gauge, "%", "Share of the most written hash key in all rows written.")
	SSTFiles         = def(Replica, "rdb_total_sst_files", Gauge, "files", "Table files.")
	SSTSize          = def(Replica, "rdb_total_sst_size_mb", Gauge, "MB", "Size of the table files.")
	EstimatedKeys    = def(Replica, "rdb_estimated_keys", Gauge, "keys", "Estimated number of rows.")
	IndexFilterMem   = def(Replica, "rdb_index_and_filter_blocks_mem_usage_bytes", Gauge, "bytes", "Always 0: index and filter blocks are in the block cache.")
	MemtableMem      = def(Replica, "rdb_memtable_mem_usage_bytes", Gauge, "bytes", "Memory of memtables.")
	WriteAmp         = def(Replica, "rdb_write_amplification", Gauge, "", "Bytes written by flushes and compactions per byte flushed, rounded.")
	ReadAmp          = def(Replica, "rdb_read_amplification", Gauge, "", "Sorted runs that a read may have to search.")
	BloomNegatives   = def(Replica, "rdb_bloom_filter_point_lookup_negatives", Counter, "lookups", "Lookups that a Bloom filter avoided.")
	BloomPositives   = def(Replica, "rdb_bloom_filter_point_lookup_positives", Counter, "lookups", "Lookups that a Bloom filter did not avoid.")
	Flushes          = def(Replica, "rdb_flush_completed_count", Counter, "flushes", "Flushes.")
	FlushBytes       = def(Replica, "rdb_flush_output_bytes", Counter, "bytes", "Bytes written by flushes.")
	CompactionCount  = def(Replica, "rdb_compaction_completed_count", Counter, "compactions", "Compactions.")
	CompactionInput  = def(Replica, "rdb_compaction_input_bytes", Counter, "bytes", "Bytes read by compactions.")
	CompactionOutput = def(Replica, "rdb_compaction_output_bytes", Counter, "bytes", "Bytes written by compactions.")
	CompactionDebt   = def(Replica, "rdb_compaction_debt_bytes", Gauge, "bytes", "Estimated bytes that compactions have yet to process.")
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
	OpDuplicate
	NumOps
)

// names are the operations as upstream's metrics call them, and their RPCs.
var names = [NumOps][2]string{
	{"get", base.RPCGet}, {"ttl", base.RPCTTL}, {"multi_get", base.RPCMultiGet}, {"batch_get", base.RPCBatchGet},
	{"sortkey_count", base.RPCSortkeyCount}, {"scan", base.RPCScan}, {"put", base.RPCPut},
	{"multi_put", base.RPCMultiPut}, {"remove", base.RPCRemove}, {"multi_remove", base.RPCMultiRemove},
	{"incr", base.RPCIncr}, {"check_and_set", base.RPCCheckAndSet}, {"check_and_mutate", base.RPCCheckAndMutate},
	{"duplicate", base.RPCDuplicate},
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
			note = ", including get_scanner"
		case OpDuplicate:
			note = ", each with writes of another cluster"
		}
		Requests[op] = def(Replica, n[0]+"_requests", Counter, "requests", "Requests served: "+n[0]+note+".")
	}
	for op, n := range names {
		what := "Time from admission to the answer"
		if Op(op) >= OpPut {
			what = "Time from the proposal to the commit"
		}
		Latency[op] = def(Replica, n[0]+"_latency_ns", Percentile, "nanoseconds", what+", sampled: "+n[0]+".")
	}
	for _, op := range []Op{OpGet, OpMultiGet, OpBatchGet, OpScan, OpPut, OpMultiPut, OpCheckAndSet, OpCheckAndMutate} {
		OpBytes[op] = def(Replica, names[op][0]+"_bytes", Counter, "bytes", "Size of the keys and values of the requests: "+names[op][0]+".")
	}
	TaskLatency = def(Profiler, "profiler_server_rpc_latency_ns", Percentile, "nanoseconds", "Latency of an RPC on all replicas of the server, sampled.")
	tableDefs()
}

// Of tables and partitions, on the leading meta.
var (
	DeadPartitions, UnreadablePartitions, UnwritablePartitions, WritableIllPartitions, HealthyPartitions *Metric
	ConfigChanges                                                                                        *Metric
)

func tableDefs() {
	DeadPartitions = def(Table, "dead_partitions", Gauge, "partitions", "Partitions without a live member, or whose last member is damaged.")
	UnreadablePartitions = def(Table, "unreadable_partitions", Gauge, "partitions", "Partitions without a live primary that have another live member.")
	UnwritablePartitions = def(Table, "unwritable_partitions", Gauge, "partitions", "Partitions with a primary and too few members to accept writes.")
	WritableIllPartitions = def(Table, "writable_ill_partitions", Gauge, "partitions", "Partitions that accept writes and lack replicas.")
	HealthyPartitions = def(Table, "healthy_partitions", Gauge, "partitions", "Partitions with all replicas.")
	ConfigChanges = def(Partition, "partition_configuration_changes", Counter, "changes", "Changes of the configuration since the table was created (the ballot).")
}
