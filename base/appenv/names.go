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
	SlowQuery:                 {AtOnce, "A request that takes the replica longer than this many milliseconds is logged, and counted as abnormal."},
	WriteThrottling:           {AtOnce, "Limit on writes a second of the whole table. Above it writes are delayed by so many milliseconds, or refused as busy after them. Each partition has its even share."},
	WriteThrottlingBySize:     {AtOnce, "As replica.write_throttling, but counts the bytes of the requests."},
	ReadThrottling:            {AtOnce, "Limit on reads a second of the whole table, as replica.write_throttling is on writes."},
	ReadThrottlingBySize:      {AtOnce, "Bytes a second that reads of the whole table may return. Above it reads are refused as busy; delaying isn't supported, a setting that only delays switches this off."},
	BackupThrottling:          {AtOnce, "Limit on backup requests (reads that a secondary may answer) a second of the whole table. Those to refuse get no answer."},
	IterationTime:             {AtOnce, "Milliseconds that a read of a range may take; then it answers what it has, marked incomplete. 0: no limit."},
	BlockCacheEnabled:         {Stored, "Meant to keep reads out of the block cache; upstream parses it without effect, and so does this server."},
	ValidateHash:              {AtOnce, "Refuse requests, and hide rows, whose key belongs to another partition; set by a partition split."},
	DenyClient:                {AtOnce, "Refuse reads, writes or both: timeout gives no answer, reconfig has clients look up the table anew."},
	UserCompaction:            {AtOnce, "Rules, as JSON, for rows to remove or whose expiry to change. They are carried out when they are set, with each manual compaction, and, but for expiries counted from now or from the present one, every storage.rules_interval."},
	BusinessInfo:              {Stored, "A note about the table, for people."},
	DefaultTTL:                {AtOnce, "Seconds after which rows expire that are written without a time of their own. 0: never. Rows that are there and never expire are given it too, counted from when the primary comes by them; rows with an expiry keep it."},
	UsageScenario:             {AtOnce, "What the storage engine is tuned for. prefer_write: flushes and compactions are fewer and larger. bulk_load: compactions wait until it is over, or reads would suffer much."},
	AllowIngestBehind:         {Stored, "Of upstream's engine: reserve the lowest level for bulk load."},
	WriteBufferSize:           {AtOnce, "Bytes of rows that a replica gathers in memory before it writes a table file, in place of storage.memtable_bytes of the server; at most half of storage.memtables_total_bytes, which goes before it."},
	NumLevels:                 {Stored, "Of upstream's engine: its number of levels. Here there are always seven."},
	CheckpointMinCount:        {Stored, "Checkpoints that a replica keeps. Here none is kept: they are made when needed."},
	CheckpointTime:            {Stored, "Seconds that a replica keeps its checkpoints. Here none is kept."},
	CompactDisabled:           {AtOnce, "true: no manual compaction begins."},
	CompactMaxRunning:         {AtOnce, "Most replicas of the table that a server compacts at the same time; 0: none."},
	CompactOnceTime:           {AtOnce, "Unix time in seconds; a replica whose last manual compaction ended before it begins one."},
	CompactOnceLevel:          {Stored, "Level that a manual compaction moves rows to; -1 is the lowest. Here it is always the lowest."},
	CompactOnceBottommost:     {Stored, "force: rewrite also what is in the lowest level already."},
	CompactPeriodicTime:       {AtOnce, "Times of day, HH:MM, several separated by commas, at which replicas begin a manual compaction."},
	CompactPeriodicLevel:      {Stored, "As manual_compact.once.target_level."},
	CompactPeriodicBottommost: {Stored, "As manual_compact.once.bottommost_level_compaction."},
	AllowedUsers:              {Stored, "Users that may read and write the table, separated by commas; empty: all."},
	RangerPolicies:            {Stored, "Access policies of Apache Ranger, as JSON."},
	DupMasterCluster:          {Stored, "On a follower table: the cluster that it is a copy from."},
	DupMasterMetas:            {Stored, "On a follower table: the meta servers of that cluster."},
	DupMasterApp:              {Stored, "On a follower table: the table's name there."},
	DupFollowerStatus:         {Stored, "On a follower table: how far its creation has come."},
}
