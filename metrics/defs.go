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
	Queue     = "queue"
)

var entities = map[string]string{
	Server:    "One per process. No attributes.",
	Disk:      "One per data directory of a replica server. Attributes: tag, data_dir.",
	Replica:   "One per replica on a replica server. Attributes: table_id, partition_id.",
	Profiler:  "One per client RPC on a replica server. Attribute: task_name.",
	Queue:     "One per queue of a replica server. Attribute: queue_name.",
	Policy:    "One per backup policy, on the leading meta server. Attribute: policy_name.",
	Table:     "One per available table, on the leading meta server. Attribute: table_id.",
	Partition: "One per partition of an available table, on the leading meta server. Attributes: table_id, partition_id.",
}

// Of every server.
var (
	ResidentMem = def(Server, "resident_mem_usage_mb", Gauge, "MB", "Resident memory of the process.").
			Worry("It grows for days, or comes near the machine's memory or replica.memory_bytes.")
	VirtualMem = def(Server, "virtual_mem_usage_mb", Gauge, "MB", "Virtual memory of the process.")
	HeapBytes  = def(Server, "heap_bytes", Gauge, "bytes", "Memory in live and unswept heap objects.").
			Worry("It grows for days: then a heap profile (/debug/pprof/heap) says of what.")
	Goroutines = def(Server, "goroutines", Gauge, "goroutines", "Goroutines of the process.").
			Worry("It grows for days without more connections.")
	Sessions = def(Server, "network_server_sessions", Gauge, "connections", "Open connections, including HTTP.").
			Worry("Near rpc.max_connections: new clients are refused.")
	RPCAccepted = def(Server, "rpc_accepted_connections", Counter, "connections", "Connections accepted.").
			Worry("A high rate: clients connect for each request, or fail and try again.")
	RPCRefused = def(Server, "rpc_refused_connections", Counter, "connections", "Connections refused because of a limit.").
			Worry("It grows: clients are refused. Raise rpc.max_connections, or find who opens so many.")
	RPCBadFrames = def(Server, "rpc_bad_frames", Counter, "connections", "Connections closed because they sent something invalid.").
			Worry("It grows: somebody speaks another protocol to the port, or a network damages what it carries.")
	RPCDenied = def(Server, "rpc_denied_requests", Counter, "requests", "Requests refused because who sent them has not proven that he may.").
			Worry("It grows: the log says which requests, and from where. A server with another cluster secret, or a stranger.")
	RPCRequests = def(Server, "rpc_requests", Counter, "requests", "Requests read.")
	RPCPanics   = def(Server, "rpc_panics", Counter, "requests", "Requests whose handler panicked.").
			Worry("Any: report it as a bug with the log.")
	RPCInFlight = def(Server, "rpc_in_flight_bytes", Gauge, "bytes", "Memory of unanswered requests and unsent answers.").
			Worry("Near rpc.max_in_flight_bytes for minutes: clients wait. Large requests, or slow disks.")
	UptimeSeconds = def(Server, "uptime_seconds", Gauge, "seconds", "Time since the process started.").
			Worry("It falls often: the process restarts.")
	Strangers = def(Server, "stranger_refused_count", Counter, "requests", "Messages and requests refused because they came from a server of another cluster (replica servers).").
			Worry("Any: two clusters know each other's addresses; compare cluster.name and meta_servers.")
	BeaconFailures = def(Server, "beacon_failed_count", Counter, "beacons", "Beacons that no meta server acknowledged (replica servers).").
			Worry("It grows on one server: its way to the metas is bad. On all: no meta leads.")
)

// Of meta servers.
var (
	MetaLeading = def(Server, "meta_leading", Gauge, "", "1 on the leading meta server, 0 on the others.").
			Worry("The sum over all metas isn't 1 for a minute: nothing is repaired, and no table is made.")
	AliveServers = def(Server, "alive_replica_servers", Gauge, "servers", "Live replica servers (leading meta).").
			Worry("Fewer than there should be.")
	UnaliveServers = def(Server, "unalive_replica_servers", Gauge, "servers", "Dead replica servers (leading meta).").
			Worry("Any for longer than a restart takes: replicas are made anew elsewhere.")
	MetaRaftApplied = def(Server, "meta_raft_applied_index", Gauge, "entries", "Last entry of the raft log that this server applied.").
			Worry("On one meta it stays behind the others' for a minute.")
	MetaRaftLast = def(Server, "meta_raft_last_index", Gauge, "entries", "Last entry of the raft log on this server.").
			Worry("On one meta it stays behind the others' for a minute.")
	MetaReserve = def(Server, "meta_disk_reserve_bytes", Gauge, "bytes", "Remaining disk reserve of the meta server. A value below meta.reserve_bytes means that the disk is full, or was full recently.").
			Worry("Below meta.reserve_bytes: make room on the meta's disk at once.")
	MetaUnknownTables = def(Server, "unknown_table_count", Gauge, "tables", "Tables that replica servers store and the meta servers don't know. The meta servers may have lost their state. The data of these tables is kept.").As("unknown_tables").
				Worry("Any: don't drop anything; see docs/operate/quorum.md.")
	MetaRaftTerm = def(Server, "meta_raft_term", Gauge, "", "Term of the raft log. It grows with each election.").
			Worry("It grows more than once in an hour: elections, by slow disks or a bad network between the metas.")
	ClocksOff = def(Server, "clocks_off", Gauge, "servers", "Live replica servers whose clock differs from that of most machines by more than failure_detector.clock_tolerance (leading meta).").
			Worry("Any: mend the clock (NTP) of the server that `pegasus health` names.")
	ClockDoubted = def(Server, "meta_clock_doubted", Gauge, "", "1 while the leading meta's clock differs from that of most machines: dropped tables are kept. If no clock has a majority, expired rows are kept, too.").
			Worry("1: mend the meta's clock.")
	TableCount    = def(Server, "table_count", Gauge, "tables", "Available tables (leading meta).").As("tables")
	UnplannedWork = def(Server, "meta_pending_partitions", Gauge, "partitions", "Partitions waiting for the check whether they need a repair (leading meta).").
			Worry("It doesn't come to 0 for minutes.")
	ServerDisconnected = def(Server, "replica_server_disconnections", Counter, "disconnections", "Replica servers declared dead since this meta became the leader.").
				Worry("It grows without restarts that you made.")
	BalanceWaiting = def(Server, "balance_moves_waiting", Gauge, "moves", "Planned moves of replicas and primaries (leading meta).").
			Worry("Never by itself; see balance_moves_failed.")
	BalanceRunning = def(Server, "balance_moves_running", Gauge, "moves", "Running moves of replicas and primaries (leading meta).")
	BalanceDone    = def(Server, "balance_moves_done", Counter, "moves", "Moves completed since this meta became the leader.")
	BalanceFailed  = def(Server, "balance_moves_failed", Counter, "moves", "Moves abandoned since this meta became the leader.").
			Worry("It grows for an hour: the log of the leading meta says why.")
)

// Of replica servers.
var (
	ClockOffset = def(Server, "clock_offset_ms", Gauge, "ms", "Difference between this machine's clock and the time that the leading meta told at the last beacon. Positive: this clock is ahead.").
			Worry("More than a second either way: expiry times and duplication rely on clocks.")
	TotalReplicas = def(Server, "total_replicas", Gauge, "replicas", "Open replicas.").
			Worry("It differs much between servers of one size.")
	OpeningReplicas = def(Server, "opening_replicas", Gauge, "replicas", "Replicas being opened or created.").
			Worry("Not 0 for minutes.")
	InactiveReplicas = def(Server, "inactive_replicas", Gauge, "replicas", "Replicas that belong to no group.").
				Worry("Not 0 for longer than an hour: leftovers, see `pegasus health`.")
	ErrorReplicas = def(Server, "error_replicas", Gauge, "replicas", "Replicas out of service because of an error.").
			Worry("Any: the log says which and why.")
	PrimaryReplicas = def(Server, "primary_replicas", Gauge, "replicas", "Primaries.").
			Worry("It differs much between servers of one size: see `pegasus rebalance --dry-run`.")
	SecondaryReplicas = def(Server, "secondary_replicas", Gauge, "replicas", "Secondaries.").
				Worry("It differs much between servers of one size.")
	LearningReplicas = def(Server, "learning_replicas", Gauge, "replicas", "Learners.").
				Worry("Not 0 for hours: learners don't finish, see learn_failed_count.")
	ShortSecondaries = def(Server, "primaries_with_short_secondaries", Gauge, "replicas", "Primaries that refuse writes because the disk of a secondary is short of space.").
				Worry("Any: writes are refused. Make room on the disks that disk_status names.")
	LeaseValid = def(Server, "lease_valid", Gauge, "", "1 while this server holds its lease and serves, 0 otherwise.").
			Worry("0 for longer than a start takes: the server serves nobody.")
	BlockCacheMem  = def(Server, "rdb_block_cache_mem_usage_bytes", Gauge, "bytes", "Memory used by the block cache.")
	BlockCacheHits = def(Server, "rdb_block_cache_hits", Counter, "blocks", "Blocks found in the block cache.").
			Worry("Compared with misses it falls: what is read doesn't fit into the cache.")
	BlockCacheMisses = def(Server, "rdb_block_cache_misses", Counter, "blocks", "Blocks read from disk.").
				Worry("Its rate comes near what the disks can read.")
	MemtablesTotal = def(Server, "rdb_wbm_total_mem_usage_bytes", Gauge, "bytes", "Memory allocated by the memtables of all replicas.").
			Worry("At storage.memtables_total_bytes for minutes: flushes don't keep up, writes wait.")
	MemtablesMutable = def(Server, "rdb_wbm_mutable_mem_usage_bytes", Gauge, "bytes", "Size of the rows in memtables that are not being flushed.")
	Compactions      = def(Server, "rdb_running_compactions", Gauge, "compactions", "Running compactions.").
				Worry("At storage.compactions for hours, with rdb_compaction_debt_bytes growing.")
	FlushWaits      = def(Server, "flush_pacing_wait_ms", Counter, "milliseconds", "Time that I/O pacing delayed flushes, which spreads them over the time that memtables take to fill. Urgent flushes are not delayed.")
	CompactionWaits = def(Server, "compaction_pacing_wait_ms", Counter, "milliseconds", "Time that I/O pacing delayed compactions. Urgent compactions are not delayed.")
	ScanSessions    = def(Server, "scan_sessions", Gauge, "sessions", "Open scan sessions.").
			Worry("It grows for hours: clients don't close their scanners.")
	SweptRows      = def(Server, "expired_rows_deleted", Counter, "rows", "Expired rows deleted.")
	SweptBytes     = def(Server, "expired_bytes_deleted", Counter, "bytes", "Uncompressed size of the expired rows deleted.")
	SweepReadBytes = def(Server, "expiry_sweep_read_bytes", Counter, "bytes", "Uncompressed size of the rows read to find expired ones.")
	Sweeps         = def(Server, "expiry_sweeps", Counter, "sweeps", "Expiry sweeps run.")
	SweepTime      = def(Server, "expiry_sweep_time_ms", Counter, "milliseconds", "Time spent in expiry sweeps, including reclaiming space and the pauses for storage.sweep_bytes_per_second.")
	Passes         = def(Server, "rule_passes", Counter, "passes", "Completed passes of table rules (default_ttl, user_specified_compaction) over the rows of a primary.")
	PassesRunning  = def(Server, "rule_passes_running", Gauge, "passes", "Running passes of table rules.")
	PassFailures   = def(Server, "rule_pass_failures", Counter, "passes", "Aborted passes of table rules. They are retried.").
			Worry("It grows for an hour: the log says why.")
	PassRows      = def(Server, "rule_pass_rows", Counter, "rows", "Rows changed or deleted by passes of table rules.")
	PassReadBytes = def(Server, "rule_pass_read_bytes", Counter, "bytes", "Uncompressed size of the rows read by passes of table rules.")
	PassTime      = def(Server, "rule_pass_time_ms", Counter, "milliseconds", "Time spent in passes of table rules, including the pauses for storage.sweep_bytes_per_second and storage.rules_bytes_per_second.")
	DelayedNow    = def(Server, "throttling_waiting_requests", Gauge, "requests", "Requests currently delayed by table throttling.").
			Worry("Not 0 for minutes: a table asks for more than its throttle lets in.")
	LearnCopyBytes = def(Server, "nfs_client_copy_bytes", Counter, "bytes", "Checkpoint bytes received by learners.")
	LearnInstalled = def(Server, "learn_successful_count", Counter, "checkpoints", "Checkpoints received and installed by learners.")
	LearnCopies    = def(Server, "learn_running_count", Gauge, "checkpoints", "Checkpoints that learners are receiving or waiting for.").
			Worry("Not 0 for hours.")
	LearnLeft = def(Server, "learn_remaining_bytes", Gauge, "bytes", "Checkpoint bytes that learners have yet to receive.").
			Worry("It doesn't fall for minutes while learn_running_count isn't 0.")
	LearnLongest = def(Server, "learning_replicas_max_duration_ms", Gauge, "ms", "For how long the learner that has been at it longest has received its checkpoint.").
			Worry("It grows for hours: see learn_remaining_bytes and learn_copy_rate.")
	LearnLargest = def(Server, "learning_replicas_max_copy_file_bytes", Gauge, "bytes", "Size of the largest checkpoint that a learner is receiving.")
	LearnRate    = def(Server, "learn_copy_rate", Gauge, "bytes per second", "Current rate limit for sending and for receiving checkpoints. 0 means no limit.").As("learn_copy_rate_bytes_per_second")
	LearnFailed  = def(Server, "learn_failed_count", Counter, "checkpoints", "Checkpoints that learners failed to receive or install.").
			Worry("It grows: partitions stay with fewer replicas than they should have.")
	DiskMovesRunning = def(Server, "disk_moves_running", Gauge, "replicas", "Replicas that are being moved between data directories of the server.")
	DiskMoves        = def(Server, "disk_moves", Counter, "replicas", "Replicas moved between data directories of the server.")
	DiskMoveFailures = def(Server, "disk_move_failures", Counter, "replicas", "Replicas that were to be moved between data directories and stayed where they were.").
				Worry("Any: the log says why.")
	DiskMoveBytes = def(Server, "disk_move_bytes", Counter, "bytes", "Bytes copied between data directories to move replicas.")
)

// Of replica servers, under the names on which those who come from upstream alarm.
var (
	ReadFailed  = def(Server, "read_failed_requests", Counter, "requests", "Reads of clients that were answered with an error other than ERR_BUSY.").Worry("Its rate stays above a few per cent of the reads. While partitions move, clients with an old configuration get some.")
	ReadBusy    = def(Server, "read_busy_requests", Counter, "requests", "Reads of clients that were answered with ERR_BUSY: throttled, or too large for the memory that is left.").Worry("It grows: a table is at its limit, or memory is short.")
	WriteFailed = def(Server, "write_failed_requests", Counter, "requests", "Writes of clients that were answered with an error other than ERR_BUSY.").Worry("Its rate stays above a few per cent of the writes.")
	WriteBusy   = def(Server, "write_busy_requests", Counter, "requests", "Writes of clients that were answered with ERR_BUSY: throttled.").Worry("It grows: a table is at its limit.")
	ErrorDirs   = def(Server, "replica_error_dirs", Gauge, "directories", "Directories of replicas that are damaged, or can't be opened.").Worry("Any: the log says which and why.")
	GarbageDirs = def(Server, "replica_garbage_dirs", Gauge, "directories", "Directories of replicas in the trash of the data directories.")
	QueueLength = def(Queue, "queue_length", Gauge, "requests", "Writes that wait for their primary to propose them (queue_name writes).").Worry("Above 1,000 for minutes: the logs of the server or of secondaries are slow.")
)

// LeftOut is of the answers to Prometheus only.
var LeftOut = def(Server, "left_out_series", Gauge, "series", "Series of tables and replicas that this answer to Prometheus lacks because of metrics.max_series.").Worry("Not 0: raise metrics.max_series, or ask for fewer metrics of replicas.")

// Of data directories.
var (
	DiskTotal = def(Disk, "disk_capacity_total_mb", Gauge, "MB", "Size of the file system.").As("disk_capacity_bytes")
	DiskAvail = def(Disk, "disk_capacity_avail_mb", Gauge, "MB", "Free space of the file system.").
			Worry("Below a fifth of disk_capacity_total_mb. Below replica.disk_min_available_space_ratio writes are refused.")
	DiskState = def(Disk, "disk_status", Gauge, "", "0: normal. 1: short of space (writes are refused, reads work). 2: failed (its replicas are out of service).").
			Worry("Not 0: 1 make room, 2 replace the disk.")
	DiskReplicas = def(Disk, "disk_replicas", Gauge, "replicas", "Replicas in the directory.").
			Worry("It differs much between the disks of a server.")
	WALSize = def(Disk, "wal_size_bytes", Gauge, "bytes", "Size of the replication log.").
		Worry("Above wal.max_bytes for minutes: flushes don't keep up, or another cluster lacks what is in it.")
	WALSegments = def(Disk, "wal_segments", Gauge, "segments", "Segments of the replication log.")
	WALIndex    = def(Disk, "wal_indexed_entries", Gauge, "entries", "Readable entries of the replication log.")
	WALEntries  = def(Disk, "wal_entries", Counter, "entries", "Entries appended to the replication log.")
	WALBytes    = def(Disk, "wal_written_bytes", Counter, "bytes", "Bytes written to the replication log.").
			Worry("Its rate comes near what the disk can write.")
	WALBatches  = def(Disk, "wal_batches", Counter, "writes", "Write calls to the replication log. wal_entries divided by this is the mean batch size.")
	WALSyncs    = def(Disk, "wal_syncs", Counter, "syncs", "Syncs of the replication log.")
	WALSyncTime = def(Disk, "wal_sync_time_us", Counter, "microseconds", "Time spent in syncs of the replication log.").
			Worry("Divided by wal_syncs, more than 20 ms: the disk is slow, and so is each write.")
	WALRewritten = def(Disk, "wal_rewritten_entries", Counter, "entries", "Entries rewritten so that their old segment could be deleted.").
			Worry("Its rate is a large part of that of wal_entries.")
	WALPressures = def(Disk, "wal_pressures", Counter, "events", "Times that the log exceeded its maximum size and replicas were flushed.").
			Worry("It grows: wal.max_bytes is small for the load, or flushes don't keep up.")
	WALReadBytes  = def(Disk, "wal_read_bytes", Counter, "bytes", "Size of the entries read back for learners and lagging secondaries.")
	WALRotations  = def(Disk, "wal_rotations", Counter, "segments", "Segments created.")
	WALReadCount  = def(Disk, "wal_read_entries", Counter, "entries", "Entries read back for learners and lagging secondaries.")
	WALRemovedSeg = def(Disk, "wal_removed_segments", Counter, "segments", "Segments deleted.").
			Worry("It stops while wal_rotations grows.")
)

// Of each replica.
var (
	ReplicaBallot = def(Replica, "ballot", Gauge, "", "Ballot of the configuration.").
			Worry("It grows each minute: the partition changes its configuration all the time.")
	ReplicaRole = def(Replica, "role", Gauge, "", "0: inactive. 1: primary. 2: secondary. 3: learner. 4: out of service.").
			Worry("4: the replica is out of service.")
	CommittedDecree = def(Replica, "committed_decree", Gauge, "mutations", "Last committed decree.")
	PreparedDecree  = def(Replica, "prepared_decree", Gauge, "mutations", "Last prepared decree.").
			Worry("Far ahead of committed_decree: a secondary is slow.")
	AppliedDecree = def(Replica, "applied_decree", Gauge, "mutations", "Last decree applied to the store.").
			Worry("Far behind committed_decree: the store is slow.")
	HeldDecrees = def(Replica, "log_held_decrees", Gauge, "mutations", "Mutations that the replication log keeps for learners, checkpoint copies, features or an administrator although the store has them on disk.").Sum().
			Worry("It grows for hours: the log can't be shortened.")
	AbnormalReads = def(Replica, "abnormal_read_requests", Counter, "requests", "Reads that were slow or large.").
			Worry("It grows: slow or large reads; the slow log has them.")
	ExpiredReads = def(Replica, "read_expired_values", Counter, "values", "Expired rows that reads skipped.").
			Worry("Its rate is far above that of the reads: they pass over many expired rows.")
	FilteredReads = def(Replica, "read_filtered_values", Counter, "values", "Rows that a filter of a multi_get or scan removed.")
	DelayedWrites = def(Replica, "throttling_delayed_write_requests", Counter, "requests", "Writes delayed by table throttling.").
			Worry("It grows: the table is at its limit.")
	RejectedWrites = def(Replica, "throttling_rejected_write_requests", Counter, "requests", "Writes rejected by table throttling.").
			Worry("It grows: clients get errors. Raise the table's limit, or ask who writes.")
	DelayedReads = def(Replica, "throttling_delayed_read_requests", Counter, "requests", "Reads delayed by table throttling.").
			Worry("It grows: the table is at its limit.")
	RejectedReads = def(Replica, "throttling_rejected_read_requests", Counter, "requests", "Reads rejected by table throttling.").
			Worry("It grows: clients get errors. Raise the table's limit, or ask who reads.")
	DelayedBackups = def(Replica, "throttling_delayed_backup_requests", Counter, "requests", "Backup requests delayed by table throttling.").
			Worry("It grows: the table is at its limit.")
	RejectedBackups = def(Replica, "throttling_rejected_backup_requests", Counter, "requests", "Backup requests dropped by table throttling.").
			Worry("It grows: clients wait for their primary instead.")
	ReadUnits = def(Replica, "read_capacity_units", Counter, "units", "Capacity units of reads. A request costs one unit per replica.read_capacity_unit_size bytes of keys and values, and at least one.").
			Worry("One partition has far more than the others of its table: a hot one.")
	WriteUnits = def(Replica, "write_capacity_units", Counter, "units", "Capacity units of writes, counted on the primary. A request costs one unit per replica.write_capacity_unit_size bytes of keys and values, and at least one.").
			Worry("One partition has far more than the others of its table: a hot one.")
	BackupReads = def(Replica, "backup_requests", Counter, "requests", "Backup requests (reads that secondaries answer too).").
			Worry("A large part of all reads: primaries are slow to answer.")
	BackupBytes    = def(Replica, "backup_request_bytes", Counter, "bytes", "Size of the keys and values returned to backup requests.")
	TooLargeWrites = def(Replica, "write_size_exceed_threshold_requests", Counter, "requests", "Writes rejected because the request exceeds replica.max_allowed_write_size, or its mutation exceeds the maximum size.").
			Worry("Any: a client writes values that are refused.")
	HotReadRate = def(Replica, "hot_read_key_rows_per_second", Gauge, "rows", "Rows per second read under the most read hash key in the last 10 seconds, estimated from a sample. See pegasus table hotkeys.").Max().
			Worry("With a high share: one key carries the partition's load.")
	HotReadShare = def(Replica, "hot_read_key_percent", Gauge, "%", "Share of the most read hash key in all rows read.").Max().
			Worry("Above 20 with a high rate.")
	HotWriteRate = def(Replica, "hot_write_key_rows_per_second", Gauge, "rows", "Rows per second written under the most written hash key in the last 10 seconds, estimated from a sample.").Max().
			Worry("With a high share: one key carries the partition's load.")
	HotWriteShare = def(Replica, "hot_write_key_percent", Gauge, "%", "Share of the most written hash key in all rows written.").Max().
			Worry("Above 20 with a high rate.")
	PrivateLogSize = def(Replica, "private_log_size_mb", Gauge, "MB", "An equal share of the replication log of the data directory: replicas have no log of their own.").Sum().
			Worry("As wal_size_bytes.")
	SSTFiles = def(Replica, "rdb_total_sst_files", Gauge, "files", "Table files.").Sum()
	SSTSize  = def(Replica, "rdb_total_sst_size_mb", Gauge, "MB", "Size of the table files.").Sum().
			Worry("It comes near what the disks have.")
	EstimatedKeys  = def(Replica, "rdb_estimated_keys", Gauge, "keys", "Estimated number of rows.").Sum()
	IndexFilterMem = def(Replica, "rdb_index_and_filter_blocks_mem_usage_bytes", Gauge, "bytes", "Always 0: index and filter blocks are in the block cache.")
	MemtableMem    = def(Replica, "rdb_memtable_mem_usage_bytes", Gauge, "bytes", "Memory of memtables.").Sum()
	WriteAmp       = def(Replica, "rdb_write_amplification", Gauge, "", "Bytes written by flushes and compactions per byte flushed, rounded.").Max().
			Worry("Above 30 for hours.")
	ReadAmp = def(Replica, "rdb_read_amplification", Gauge, "", "Sorted runs that a read may have to search.").Max().
		Worry("Above 20 for minutes: compactions don't keep up.")
	BloomNegatives   = def(Replica, "rdb_bloom_filter_point_lookup_negatives", Counter, "lookups", "Lookups that a Bloom filter avoided.")
	BloomPositives   = def(Replica, "rdb_bloom_filter_point_lookup_positives", Counter, "lookups", "Lookups that a Bloom filter did not avoid.")
	Flushes          = def(Replica, "rdb_flush_completed_count", Counter, "flushes", "Flushes.")
	FlushBytes       = def(Replica, "rdb_flush_output_bytes", Counter, "bytes", "Bytes written by flushes.")
	CompactionCount  = def(Replica, "rdb_compaction_completed_count", Counter, "compactions", "Compactions.")
	CompactionInput  = def(Replica, "rdb_compaction_input_bytes", Counter, "bytes", "Bytes read by compactions.")
	CompactionOutput = def(Replica, "rdb_compaction_output_bytes", Counter, "bytes", "Bytes written by compactions.").
				Worry("Its rate comes near what the disks can write.")
	WriteStalls = def(Replica, "rdb_changed_stopped_writes", Counter, "stalls", "How often the engine stopped writes until flushes or compactions had caught up.").
			Worry("It grows: the disk is too slow for what is written.")
	CompactsQueued  = def(Replica, "rdb_manual_compact_queued_tasks", Gauge, "compactions", "Manual compactions that wait for others.").Sum()
	CompactsRunning = def(Replica, "rdb_manual_compact_running_tasks", Gauge, "compactions", "Manual compactions that run.").Sum()
	CompactionDebt  = def(Replica, "rdb_compaction_debt_bytes", Gauge, "bytes", "Estimated bytes that compactions have yet to process.").Sum().
			Worry("It grows for hours: compactions don't keep up with writes.")
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

// Reads tells whether the operation reads alone.
func (o Op) Reads() bool { return o < OpPut }

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
		Requests[op] = def(Replica, n[0]+"_requests", Counter, "requests", "Requests served: "+n[0]+note+".").of("requests", n[0])
	}
	for op, n := range names {
		what := "Time from admission to the answer"
		if Op(op) >= OpPut {
			what = "Time from the proposal to the commit"
		}
		Latency[op] = def(Replica, n[0]+"_latency_ns", Percentile, "nanoseconds", what+": "+n[0]+". The percentiles are of the latest.").of("request_duration_seconds", n[0]).
			Worry("The p99 is more than your clients bear.")
	}
	for _, op := range []Op{OpGet, OpMultiGet, OpBatchGet, OpScan, OpPut, OpMultiPut, OpCheckAndSet, OpCheckAndMutate} {
		OpBytes[op] = def(Replica, names[op][0]+"_bytes", Counter, "bytes", "Size of the keys and values of the requests: "+names[op][0]+".").of("request_bytes", names[op][0])
	}
	TaskLatency = def(Profiler, "profiler_server_rpc_latency_ns", Percentile, "nanoseconds", "Latency of an RPC on all replicas of the server, sampled.").
		Worry("Never by itself: see the latencies of tables.")
	tableDefs()
}

// Of tables and partitions, on the leading meta.
var (
	DeadPartitions, UnreadablePartitions, UnwritablePartitions, WritableIllPartitions, HealthyPartitions *Metric
	ConfigChanges                                                                                        *Metric
)

func tableDefs() {
	DeadPartitions = def(Table, "dead_partitions", Gauge, "partitions", "Partitions without a live member, or whose last member is damaged.").
		Worry("Any: rows can't be reached. See `pegasus health`.")
	UnreadablePartitions = def(Table, "unreadable_partitions", Gauge, "partitions", "Partitions without a live primary that have another live member.").
		Worry("Any for longer than a failover takes (10 s).")
	UnwritablePartitions = def(Table, "unwritable_partitions", Gauge, "partitions", "Partitions with a primary and too few members to accept writes.").
		Worry("Any for longer than a minute.")
	WritableIllPartitions = def(Table, "writable_ill_partitions", Gauge, "partitions", "Partitions that accept writes and lack replicas.").
		Worry("Not 0 for longer than it takes to copy the replicas; it grows.")
	HealthyPartitions = def(Table, "healthy_partitions", Gauge, "partitions", "Partitions with all replicas.")
	ConfigChanges = def(Partition, "partition_configuration_changes", Counter, "changes", "Changes of the configuration since the table was created (the ballot).").
		Worry("It grows each minute.")
}
