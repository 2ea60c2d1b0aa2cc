package appenv

// Names of the settings.
const (
	SlowQuery                 = "replica.slow_query_threshold"
	WriteThrottling           = "replica.write_throttling"
	WriteThrottlingBySize     = "replica.write_throttling_by_size"
	ReadThrottling            = "replica.read_throttling"
	ReadThrottlingBySize      = "replica.read_throttling_by_size"
	BackupThrottling          = "replica.backup_request_throttling"
	IterationTime             = "replica.rocksdb_iteration_threshold_time_ms"
	BlockCacheEnabled         = "replica.rocksdb_block_cache_enabled"
	ValidateHash              = "replica.split.validate_partition_hash"
	DenyClient                = "replica.deny_client_request"
	UserCompaction            = "user_specified_compaction"
	BusinessInfo              = "business.info"
	DefaultTTL                = "default_ttl"
	UsageScenario             = "rocksdb.usage_scenario"
	AllowIngestBehind         = "rocksdb.allow_ingest_behind"
	WriteBufferSize           = "rocksdb.write_buffer_size"
	NumLevels                 = "rocksdb.num_levels"
	CheckpointMinCount        = "rocksdb.checkpoint.reserve_min_count"
	CheckpointTime            = "rocksdb.checkpoint.reserve_time_seconds"
	CompactDisabled           = "manual_compact.disabled"
	CompactMaxRunning         = "manual_compact.max_concurrent_running_count"
	CompactOnceTime           = "manual_compact.once.trigger_time"
	CompactOnceLevel          = "manual_compact.once.target_level"
	CompactOnceBottommost     = "manual_compact.once.bottommost_level_compaction"
	CompactPeriodicTime       = "manual_compact.periodic.trigger_time"
	CompactPeriodicLevel      = "manual_compact.periodic.target_level"
	CompactPeriodicBottommost = "manual_compact.periodic.bottommost_level_compaction"
	AllowedUsers              = "replica_access_controller.allowed_users"
	RangerPolicies            = "replica_access_controller.ranger_policies"
	DupMasterCluster          = "duplication.master_cluster"
	DupMasterMetas            = "duplication.master_metas"
	DupMasterApp              = "duplication.master_app_name"
	DupFollowerStatus         = "duplication.follower_app_status"
)

// texts are the settings' effects here and what is told of them.
var texts = map[string]struct {
	effect Effect
	help   string
}{
	SlowQuery:                 {AtOnce, "Log a request, and count it as abnormal, if it takes its replica longer than this many milliseconds."},
	WriteThrottling:           {AtOnce, "Limit of writes per second of the whole table. Writes above it are delayed by the given milliseconds, or rejected as busy after them. Each partition has an equal share."},
	WriteThrottlingBySize:     {AtOnce, "The same as replica.write_throttling, in bytes of the requests."},
	ReadThrottling:            {AtOnce, "Limit of reads per second of the whole table. See replica.write_throttling."},
	ReadThrottlingBySize:      {AtOnce, "Limit of the bytes per second that reads of the whole table return. Reads above it are rejected as busy. Delays are not supported: a value that only delays disables the limit."},
	BackupThrottling:          {AtOnce, "Limit of backup requests (reads that a secondary may answer) per second of the whole table. Rejected requests get no answer."},
	IterationTime:             {AtOnce, "Maximum duration of a range read in milliseconds. After it the read returns what it has, marked as incomplete. 0 disables the limit."},
	BlockCacheEnabled:         {Stored, "No effect, as in upstream."},
	ValidateHash:              {AtOnce, "Reject requests and hide rows whose key belongs to another partition. A partition split sets it."},
	DenyClient:                {AtOnce, "Refuse reads, writes or both. timeout: clients get no answer. reconfig: clients look up the table again."},
	UserCompaction:            {AtOnce, "Rules (JSON) that delete rows or change their expiry. They are applied when they are set, at manual compactions, and every storage.rules_interval (except for expiries relative to now or to the present expiry)."},
	BusinessInfo:              {Stored, "A note about the table."},
	DefaultTTL:                {AtOnce, "Time to live in seconds of rows written without one. 0 means none. Existing rows that never expire get it, too, counted from when the primary processes them. Rows with an expiry keep it."},
	UsageScenario:             {AtOnce, "Tunes the storage engine. prefer_write: fewer and larger flushes and compactions. bulk_load: no compactions until it ends, unless reads would suffer."},
	AllowIngestBehind:         {Stored, "Allows bulk loads with ingest_behind, by which rows that are there are kept."},
	WriteBufferSize:           {AtOnce, "Size in bytes at which the memtable of a replica is flushed. Overrides storage.memtable_bytes. At most half of storage.memtables_total_bytes."},
	NumLevels:                 {Stored, "Upstream's engine only: number of levels. This server always has seven."},
	CheckpointMinCount:        {Stored, "Number of checkpoints that a replica keeps. This server keeps none: it creates them when needed."},
	CheckpointTime:            {Stored, "Seconds that a replica keeps its checkpoints. This server keeps none."},
	CompactDisabled:           {AtOnce, "If true, no manual compaction starts."},
	CompactMaxRunning:         {AtOnce, "Maximum number of replicas of the table that a server compacts at the same time. 0 allows none."},
	CompactOnceTime:           {AtOnce, "Unix time in seconds. A replica whose last manual compaction ended before it starts one."},
	CompactOnceLevel:          {Stored, "Target level of a manual compaction; -1 is the lowest. This server always uses the lowest."},
	CompactOnceBottommost:     {Stored, "force: also rewrite the rows in the lowest level."},
	CompactPeriodicTime:       {AtOnce, "Comma-separated times of day (HH:MM) at which replicas start a manual compaction. A time that has passed today first applies tomorrow."},
	CompactPeriodicLevel:      {Stored, "See manual_compact.once.target_level."},
	CompactPeriodicBottommost: {Stored, "See manual_compact.once.bottommost_level_compaction."},
	AllowedUsers:              {Stored, "Comma-separated users that may read and write the table. Empty allows all users."},
	RangerPolicies:            {Stored, "Access policies of Apache Ranger, as JSON."},
	DupMasterCluster:          {Stored, "On a follower table: the master cluster."},
	DupMasterMetas:            {Stored, "On a follower table: the meta servers of the master cluster."},
	DupMasterApp:              {Stored, "On a follower table: the name of the table in the master cluster."},
	DupFollowerStatus:         {Stored, "On a follower table: the progress of its creation."},
}
