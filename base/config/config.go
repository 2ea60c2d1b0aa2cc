package config

import (
	"cmp"
	"time"
)

// Config is one file. A server reads the sections it needs.
//
// Tags: toml is the key, doc its meaning; def its default in TOML syntax; unit what a
// number counts, if it isn't in the key; min and max its limits, both included (for a
// list, min:"1" is "not empty"); oneof the words it may be; form:"addr" is host:port, "optional" that or nothing, "listen" one that may be of all addresses of the machine,
// "level" PACKAGE=LEVEL. Without min
// a number is at least 0 and a duration longer than 0; without max they are at most maxNumber and
// maxDuration.
//
// A map of structs is a section of which there may be many: [section.NAME].
type Config struct {
	Cluster Cluster `toml:"cluster" doc:"The name of the cluster and the addresses of its meta servers."`
	Log     Logging `toml:"logging" doc:"The server's log."`
	RPC     RPC     `toml:"rpc" doc:"Limits of connections, and options of the answers."`
	Meta    Meta    `toml:"meta" doc:"The meta server: tables and placement."`
	FD      FD      `toml:"failure_detector" doc:"When a replica server counts as dead. The lease must be shorter than the grace. Both are measured with monotonic clocks."`
	Replica Replica `toml:"replica" doc:"The replica server."`
	WAL     WAL     `toml:"wal" doc:"The replication log. Each data directory has one."`
	Metrics Metrics `toml:"metrics" doc:"What /metrics shows to Prometheus."`
	Storage Storage `toml:"storage" doc:"The storage engine: one Pebble instance per replica. All replicas of a server share its memory."`

	Probe    Probe    `toml:"probe" doc:"Whether partitions work: probes by the leading meta server."`
	Security Security `toml:"security" doc:"Who is trusted. See docs/security.md."`

	Clusters map[string]Remote `toml:"clusters" doc:"Another cluster, by its name: one that tables are duplicated to, or from. There may be many. The cluster's own section may be among them, so that all clusters can share one list."`

	Blob map[string]Blob `toml:"blob" doc:"A place where files are kept outside of the servers: backups, files for bulk loads. There may be many, each with a name of its own, which is the name of the provider in requests. Upstream's names are local_service and hdfs_service."`
}

// Cluster names the cluster.
type Cluster struct {
	Name        string   `toml:"name" def:"\"onebox\"" doc:"Name of the cluster. cluster_info shows it, and servers compare it."`
	MetaServers []string `toml:"meta_servers" form:"addr" min:"1" def:"[\"127.0.0.1:34601\"]" doc:"Addresses (host:port) of all meta servers. Three tolerate the loss of one, five the loss of two."`
	BackupRoot  string   `toml:"cold_backup_root" def:"\"\"" doc:"Directory in every blob store below which the backups of this cluster are. \"\" uses cluster.name. Clusters that share a store need different ones."`
	ID          int      `toml:"id" max:"127" def:"0" doc:"Number of the cluster for duplication, 1 to 127, different from that of every cluster that its tables are duplicated to or from, directly or through others. Each row keeps the number of the cluster that wrote it. Must be the same on all servers, and must not change while rows travel. 0: no table is duplicated from here."`
}

// RootOfBackups is the directory in every blob store below which the backups of this cluster are.
func (c *Cluster) RootOfBackups() string { return cmp.Or(c.BackupRoot, c.Name) }

// Logging configures the log of a server.
type Logging struct {
	Level        string   `toml:"level" oneof:"debug info warn error" def:"\"info\"" doc:"Lowest level that is logged: debug, info, warn or error."`
	Packages     []string `toml:"packages" form:"level" def:"[]" doc:"Levels of packages of the program, each \"PACKAGE=LEVEL\", for example \"replica/wal=debug\". It holds for the packages below, too. The field \"at\" of a line says which package it is from."`
	JSON         bool     `toml:"json" def:"false" doc:"Write each log line as a JSON object."`
	File         string   `toml:"file" def:"\"\"" doc:"File that the log is written to. \"\" writes it to standard error. Servers need different files. Lines that the file doesn't take, on a full disk for example, go to standard error. On SIGHUP the server opens the file anew."`
	FileMaxBytes int64    `toml:"file_max_bytes" min:"1048576" def:"104857600" doc:"Size at which the file is renamed, with the time in its name, and a new one is begun; rounded up to whole MiB."`
	FileMaxCount int      `toml:"file_max_count" max:"100000" def:"10" doc:"How many renamed files are kept. 0 keeps all."`
	FileMaxDays  int      `toml:"file_max_days" max:"100000" def:"0" doc:"How many days a renamed file is kept. 0 keeps it until file_max_count is reached."`
	FileCompress bool     `toml:"file_compress" def:"false" doc:"Compress renamed files with gzip."`
}

// RPC configures the network layer.
type RPC struct {
	MaxFrameBytes       int64    `toml:"max_frame_bytes" min:"65536" max:"2147483647" def:"67108864" doc:"Maximum size of a request or an answer. A larger one closes the connection."`
	MaxConnections      int      `toml:"max_connections" min:"1" max:"1000000" def:"20000" doc:"Maximum number of client connections. The server also limits it to a fifth of its file descriptors (a meta server: nine tenths). At the limit the server closes idle connections, then refuses new ones. Connections between servers don't count."`
	MaxConnectionsPerIP int      `toml:"max_connections_per_ip" max:"1000000" def:"0" doc:"Maximum number of connections per client address. 0 disables the limit."`
	MaxInFlightBytes    int64    `toml:"max_in_flight_bytes" min:"1048576" max:"1099511627776" def:"268435456" doc:"Memory for requests that are not answered yet and for large answers that are not sent yet. At the limit the server stops reading requests, large answers wait, and scans return smaller pages. Five sixteenths are reserved for servers of the cluster. One client address gets at most half of the rest. A replica server also limits it to 10 % of replica.memory_bytes."`
	IdleTimeout         Duration `toml:"idle_timeout" min:"1s" max:"8760h" def:"\"30m\"" doc:"A connection without traffic is closed after this time."`
	HostPortOverThrift  bool     `toml:"host_port_over_thrift" def:"false" doc:"Fill the host_port fields (hp_*) in all answers over THFT framing. Published Go and Python clients, admin-cli and pegic can't decode them. Upstream's newest Go admin test needs them."`
	HostPortDetect      bool     `toml:"host_port_detect" def:"true" doc:"Fill the host_port fields (hp_*) over THFT framing on connections that ask as upstream's newest collector does, which can't do without them, and on no others. Has no effect if host_port_over_thrift is true."`
	HostPortOverRDSN    bool     `toml:"host_port_over_rdsn" def:"true" doc:"Fill the host_port fields (hp_*) in answers over rDSN framing. C++ clients and shells of version 2.6 need them. Those of version 2.5 and older can't decode them, and nothing that they send tells one from the other."`
}

// Meta configures a meta server.
type Meta struct {
	Listen            string   `toml:"listen" form:"listen" def:"\"127.0.0.1:34601\"" doc:"Address to listen on. Clients and other servers use it too, unless advertise says another one. It must be one of cluster.meta_servers then. 0.0.0.0 listens on all addresses of the machine, [::] on the IPv6 ones too; both need advertise."`
	Advertise         string   `toml:"advertise" form:"optional" def:"\"\"" doc:"Address (host:port) by which clients and other servers reach this server, if it isn't listen: in a container, behind NAT. It must be one of cluster.meta_servers. A name is looked up again while the server runs, and has to have an IPv4 address. \"\" uses listen."`
	DataDir           string   `toml:"data_dir" def:"\"data/meta\"" doc:"Directory of the raft log and its snapshots."`
	ReserveBytes      int64    `toml:"reserve_bytes" min:"0" max:"1099511627776" def:"33554432" doc:"Disk space in data_dir that the meta server reserves for itself in the file \"reserve\". When the disk is full, the server refuses new tables and settings, and uses the reserve to replace members of partitions. 0 reserves nothing."`
	Join              bool     `toml:"join" def:"false" doc:"Start with an empty data directory and wait for \"pegasus meta add\", instead of founding a new quorum. Has no effect once the server is a member."`
	DefaultTables     []string `toml:"default_tables" def:"[]" doc:"Tables that a new cluster creates, each NAME:PARTITIONS:REPLICAS. The meta server creates them when no table ever existed, enough replica servers are alive, and none of these stores data."`
	CureInterval      Duration `toml:"cure_interval" min:"10ms" max:"1m" def:"\"500ms\"" doc:"Interval of the check for missing replicas. The check also runs at every event that may cause one."`
	CreateWait        Duration `toml:"create_wait" max:"10m" def:"\"10s\"" doc:"How long the answer to \"create table\" waits until every partition accepts writes."`
	ReplaceWait       Duration `toml:"replace_wait" max:"168h" def:"\"30s\"" doc:"How long a partition that lost a member, but still accepts writes, waits for the member before the meta server starts a copy on another server. Should be longer than a restart takes."`
	ReserveTime       Duration `toml:"reserve_time" max:"876000h" def:"\"168h\"" doc:"How long a dropped table can be recalled, unless the drop request says otherwise."`
	LivePercentage    int      `toml:"live_percentage" min:"0" max:"100" def:"50" unit:"percent" doc:"While fewer than this percentage of the replica servers are alive, replicas are copied only where a partition needs one to accept writes. This keeps the remaining servers from filling up. Drained servers are not counted. 0 disables this check."`
	DroppedRecord     Duration `toml:"dropped_record_time" min:"0" max:"876000h" def:"\"168h\"" doc:"How long a dropped table is listed after its data may be deleted. Then the meta servers forget it. Its id is never reused. 0 keeps the record forever."`
	MinReplicaCount   int      `toml:"min_replica_count" min:"1" max:"100" def:"1" doc:"Minimum replica count of a table."`
	MaxReplicaCount   int      `toml:"max_replica_count" min:"1" max:"100" def:"5" doc:"Maximum replica count of a table."`
	MaxPartitionCount int      `toml:"max_partition_count" min:"1" max:"1048576" def:"65536" doc:"Maximum partition count of a table."`
	WhiteList         []string `toml:"white_list" form:"addr" def:"[]" doc:"Replica servers (host:port) that may join the cluster. All others are refused and serve nothing. An empty list allows every server."`
	BalanceInterval   Duration `toml:"balance_interval" min:"100ms" max:"1h" def:"\"10s\"" doc:"Interval of the balancer while nothing is being moved. At function level \"lively\" it moves replicas to even out the load. At \"steady\" and \"lively\" it empties servers that are being drained."`
	BalanceCopies     int      `toml:"balance_copies_per_node" min:"1" max:"1000" def:"2" doc:"Maximum number of replicas that are moved from one replica server, and to one, at the same time."`
	BalanceBytes      int      `toml:"balance_bytes_tolerance" min:"0" max:"10000" def:"20" unit:"percent" doc:"The balancer moves replicas away from a server whose bytes exceed the mean by more than this. 0 disables balancing by bytes."`
	BalanceLoad       int      `toml:"balance_load_tolerance" min:"0" max:"10000" def:"20" unit:"percent" doc:"Where replicas, primaries and bytes are even, the balancer moves primaries and replicas away from a server whose load exceeds the mean by more than this. Load is counted in capacity units. 0 disables balancing by load."`
	BalanceLoadMoves  int      `toml:"balance_load_moves" min:"0" max:"100000" def:"20" doc:"Maximum number of primaries and replicas that are moved for load alone within an hour. 0 disables balancing by load."`
	BalanceLoadHalf   Duration `toml:"balance_load_half_life" min:"1s" max:"24h" def:"\"5m\"" doc:"Half-life of the mean of the load that the balancer goes by: load of so long ago counts half. A new leader measures for as long before it balances by load."`
	BalanceDisks      int      `toml:"balance_disk_moves" min:"0" max:"10000" def:"4" doc:"Maximum number of replicas that are moved between the data directories of their servers at the same time, at function level \"lively\", to fill the directories evenly. A server moves one at a time. 0 leaves that to \"pegasus disk balance\"."`
	BackupDisabled    bool     `toml:"cold_backup_disabled" def:"false" doc:"Refuse backups and backup policies, and begin none. Restores are not affected."`
	PartitionSplit    bool     `toml:"partition_split" def:"true" doc:"Allow that tables are split (pegasus table split). Must be the same on all meta servers. A split that was begun goes on if this is false."`
	LoadsAtOnce       int      `toml:"bulk_load_partitions_at_once" min:"1" max:"10000" def:"4" doc:"Maximum number of partitions of the cluster that take the rows of files (pegasus bulkload) at the same time. The writes of a partition wait meanwhile."`
	LoadTries         int      `toml:"bulk_load_tries" min:"1" max:"1000" def:"10" doc:"A bulk load fails when members of one partition failed this many times to read its files or to take its rows. Bad files fail it at once."`
	LoadRate          int64    `toml:"bulk_load_bytes_per_second" def:"0" doc:"Rate at which each replica server reads the files of one bulk load, unless the load says another one. The limit of replica.bulk_load_bytes_per_second holds too. 0 is no other limit than that."`
	RaftHeartbeat     Duration `toml:"raft_heartbeat" min:"50ms" max:"1m" def:"\"500ms\"" doc:"Heartbeat timeout and election timeout of the quorum. It grows up to four times while elections repeat."`
}

// Known is the address that others know the server by.
func (m *Meta) Known() string { return cmp.Or(m.Advertise, m.Listen) }

// Known is the address that others know the server by.
func (r *Replica) Known() string { return cmp.Or(r.Advertise, r.Listen) }

// FD configures failure detection, on both sides.
type FD struct {
	BeaconInterval Duration `toml:"beacon_interval" min:"10ms" max:"1m" def:"\"1s\"" doc:"Interval of the beacons that a replica server sends to the meta server."`
	TrustRefusal   bool     `toml:"trust_refusal" def:"true" doc:"Declare a replica server dead at once when it misses a beacon and its host refuses connections to its port. Disable this if a firewall or proxy may refuse connections to a live server: otherwise two servers could answer for one partition."`
	Lease          Duration `toml:"lease" max:"10m" def:"\"8s\"" doc:"A replica server stops serving after this time without an acknowledged beacon, counted from when it sent the last one."`
	ClockTolerance Duration `toml:"clock_tolerance" min:"1s" max:"1h" def:"\"10s\"" doc:"Maximum difference between the wall clocks of servers. A larger one raises an alarm, and a server whose clock is wrong deletes no expired rows. Should be well below storage.sweep_delay."`
	Grace          Duration `toml:"grace" max:"10m" def:"\"9s\"" doc:"The meta server declares a replica server dead after this time without a beacon, counted from when it received the last one."`
}

// Replica configures a replica server.
type Replica struct {
	Listen           string   `toml:"listen" form:"listen" def:"\"127.0.0.1:34801\"" doc:"Address to listen on. Clients and other servers use it too, unless advertise says another one. 0.0.0.0 listens on all addresses of the machine, [::] on the IPv6 ones too; both need advertise."`
	Advertise        string   `toml:"advertise" form:"optional" def:"\"\"" doc:"Address (host:port) by which clients and other servers reach this server, if it isn't listen: in a container, behind NAT. It is what the cluster knows the server by, so it stays the same over restarts. A name may lead to another IPv4 address later: it is looked up again while the server runs, and the server is the same one there. \"\" uses listen."`
	DataDirs         []string `toml:"data_dirs" min:"1" def:"[\"data/replica\"]" doc:"Data directories, one per disk, each \"tag:path\" or \"path\". A tag has no slash. Without one the first directory is d1, the second d2."`
	Rack             string   `toml:"rack" def:"\"\"" doc:"Rack of the server. Replicas of a partition are placed in different racks if possible. A server without a rack counts as a rack of its own."`
	Memory           int64    `toml:"memory_bytes" def:"0" doc:"Memory limit of the server. Caches, memtables and requests share it, and garbage collection runs more often near the limit. 0 uses a quarter of the machine's memory, or of the control group's."`
	MinReplicas      int      `toml:"mutation_2pc_min_replica_count" max:"100" def:"0" doc:"Minimum number of live members for a partition to accept writes. 0 uses 1 for tables with 1 or 2 replicas, and a majority of the replica count otherwise."`
	MaxWriteBytes    int64    `toml:"max_allowed_write_size" def:"1048576" unit:"bytes" doc:"Maximum size of a write request. 0 disables the limit."`
	PrepareTimeout   Duration `toml:"prepare_timeout" min:"10ms" max:"1m" def:"\"3s\"" doc:"A secondary that doesn't acknowledge a prepare within this time is removed from its group."`
	MaxMutations     int      `toml:"max_mutations_in_flight" min:"1" max:"65536" def:"64" doc:"Maximum number of mutations per partition that are prepared and not committed yet."`
	MaxBatchBytes    int64    `toml:"max_batch_bytes" min:"1" def:"1048576" doc:"Maximum size of a mutation that joins several waiting writes."`
	CommitInterval   Duration `toml:"commit_interval" min:"10ms" max:"1m" def:"\"500ms\"" doc:"How soon a primary tells its secondaries the commit point when no write carries it."`
	ConfigSync       Duration `toml:"config_sync_interval" min:"100ms" max:"10m" def:"\"5s\"" doc:"Interval at which a replica server compares its replicas with the meta server's configuration."`
	LearnConcurrency int      `toml:"learn_concurrency" min:"1" max:"1000" def:"3" doc:"Maximum number of checkpoints that a server receives at the same time."`
	LearnRate        int64    `toml:"learn_bytes_per_second" def:"104857600" doc:"Maximum rate at which a server sends checkpoints and log entries to learners, all together, and receives checkpoints. The server lowers the rate while copies slow requests down. 0 disables the limit, even if requests become slow."`
	LearnMinRate     int64    `toml:"learn_least_bytes_per_second" min:"1" def:"8388608" doc:"Minimum rate for these copies, even if requests become slow. Clients' new writes, which learners receive too, don't count."`
	DiskRetry        Duration `toml:"disk_retry" min:"10ms" max:"1h" def:"\"5s\"" doc:"Time between an error of a log and the next attempt to open its data directory. It doubles with each attempt, up to 5 minutes. After 5 failures within an hour the server leaves the disk alone for the rest of the hour. \"pegasus disk retry\" or a restart tries it at once. A directory that only lacked space, file descriptors or memory is tried again at once, and then at least every 15 seconds."`
	TrashAge         Duration `toml:"trash_age" min:"0" max:"8760h" def:"\"24h\"" doc:"How long the server keeps a replica that the meta server no longer needs, in .trash of its data directory. 0 deletes it at once. A replica of a dropped table whose reserve time is over is deleted at once in any case."`
	TrashRatio       int      `toml:"trash_ratio" min:"0" max:"100" def:"10" unit:"percent" doc:"Maximum share of a disk that .trash may use. The oldest replicas are deleted first. While the disk has too little space (see disk_min_available_space_ratio), the oldest one is deleted every 10 seconds."`
	Backups
	ReadLog
	DiskMinSpace int   `toml:"disk_min_available_space_ratio" min:"0" max:"100" def:"10" unit:"percent" doc:"Minimum free space of a data directory's file system. Below it, replicas there refuse writes and no new replica is created there. 0 disables this check."`
	DiskReject   bool  `toml:"reject_write_when_disk_insufficient" def:"true" doc:"Refuse writes when disk space is short. If false, only new replicas are refused."`
	ReadUnit     int64 `toml:"read_capacity_unit_size" min:"1" def:"4096" unit:"bytes" doc:"Bytes of a read that cost one capacity unit. Each read costs at least one unit. Must be a power of two."`
	WriteUnit    int64 `toml:"write_capacity_unit_size" min:"1" def:"4096" unit:"bytes" doc:"Bytes of a write that cost one capacity unit. Each write costs at least one unit. Must be a power of two."`
	HotKeys
	DuplicationBytes int64 `toml:"duplication_bytes" min:"1048576" def:"134217728" doc:"Memory for writes on their way to other clusters, which the partitions that lead here share evenly; each has at least one write. A partition takes up to 2 MiB."`
	MaxScanSessions  int   `toml:"max_scan_sessions" min:"1" max:"10000000" def:"10000" doc:"Maximum number of open scan sessions. At the limit the oldest one is closed."`
}

// Backups configures how a server makes cold backups; its keys are in the section replica.
type Backups struct {
	RestoreConcurrency int   `toml:"restore_concurrency" min:"1" max:"1000" def:"2" doc:"Maximum number of partitions that a server restores from backups at the same time."`
	RestoreRate        int64 `toml:"restore_bytes_per_second" def:"104857600" doc:"Maximum rate at which a server restores rows from backups, all partitions together. The rates of the blob store hold too. 0 disables the limit."`
	BackupConcurrency  int   `toml:"backup_concurrency" min:"1" max:"1000" def:"2" doc:"Maximum number of partitions that a server backs up at the same time. Each takes about 80 MiB of memory."`
	LoadConcurrency    int   `toml:"bulk_load_concurrency" min:"1" max:"1000" def:"2" doc:"Maximum number of partitions whose files for a bulk load a server reads at the same time. Each takes about 32 MiB of memory."`
	LoadRate           int64 `toml:"bulk_load_bytes_per_second" def:"104857600" doc:"Maximum rate at which a server reads files for bulk loads, all partitions together. The rates of the blob store hold too. 0 disables the limit."`
	LoadBehind         int64 `toml:"bulk_load_behind_bytes" min:"1048576" def:"8388608" doc:"Maximum bytes of rows that a partition takes from a bulk load with ingest_behind, each row counted with 200 bytes besides: writes wait while it is looked up which of them are there."`
	BackupRate         int64 `toml:"backup_bytes_per_second" def:"67108864" doc:"Maximum rate at which a server reads rows for backups, all together. The server lowers the rate while backups slow requests down. 0 disables the limit, even if requests become slow."`
}

// ReadLog configures which requests are logged, and how; its keys are in the section replica.
type ReadLog struct {
	SlowWrite            Duration `toml:"slow_write_threshold" min:"0" max:"1h" def:"\"500ms\"" doc:"Log writes that take their primary at least this long, from when they are proposed. 0 logs none."`
	TraceEvery           int      `toml:"trace_every" max:"1000000" def:"1000" doc:"Every how many writes of a partition one is traced: the server notes when it reached which stage, on this server and on the secondaries. 0 traces none but those that a client wants to have traced."`
	SlowQuery            Duration `toml:"slow_query_threshold" min:"0" max:"1h" def:"\"100ms\"" doc:"Log a read that takes its replica at least this long. 0 disables this check. The table setting replica.slow_query_threshold overrides it."`
	AbnormalGet          int64    `toml:"abnormal_get_size" min:"0" def:"1000000" unit:"bytes" doc:"Log a get that returns a value of at least this size. 0 disables this check."`
	AbnormalMultiGet     int64    `toml:"abnormal_multi_get_size" min:"0" def:"10000000" unit:"bytes" doc:"Log a multi_get that returns at least this much. 0 disables this check."`
	AbnormalMultiGetRows int64    `toml:"abnormal_multi_get_rows" min:"0" def:"1000" doc:"Log a multi_get that reads at least this many rows. 0 disables this check."`
	AbnormalBatchGet     int64    `toml:"abnormal_batch_get_size" min:"0" def:"10000000" unit:"bytes" doc:"Log a batch_get that returns at least this much. 0 disables this check."`
	AbnormalBatchGetRows int64    `toml:"abnormal_batch_get_rows" min:"0" def:"2000" doc:"Log a batch_get that returns at least this many rows. 0 disables this check."`
	RedactKeys           bool     `toml:"redact_keys" def:"true" doc:"Leave the keys of rows out of the log. Disable it while you look for the rows that slow or large reads are about."`
}

// HotKeys configures the detection of hot keys; its keys are in the section replica.
type HotKeys struct {
	HotBucket      int      `toml:"hot_bucket_variance_threshold" min:"1" max:"1000000" def:"7" doc:"Hot key detection, first phase: a bucket of keys is hot if it is this many standard deviations above the others."`
	HotKey         int      `toml:"hot_key_variance_threshold" min:"1" max:"1000000" def:"5" doc:"Hot key detection, second phase: a key of the hot bucket is hot if it is this many standard deviations above the others."`
	HotKeyInterval Duration `toml:"hotkey_analyse_time_interval" min:"1s" max:"1h" def:"\"10s\"" doc:"Hot key detection: how long each phase counts requests before it decides."`
	HotKeyTime     Duration `toml:"max_time_to_detect_hotkey" min:"1s" max:"24h" def:"\"150s\"" doc:"Hot key detection: a detection that found nothing stops after this time."`
}

// WAL configures the replication log.
type WAL struct {
	Sync         string `toml:"sync" oneof:"always os" def:"\"always\"" doc:"When a write is acknowledged. \"always\": once every member of the group has it on disk. \"os\": once every member has handed it to its operating system; such a write survives the death of a process, but not of all machines."`
	SegmentBytes int64  `toml:"segment_bytes" min:"65536" def:"67108864" doc:"Size of a segment file."`
	MaxBytes     int64  `toml:"max_bytes" def:"1073741824" doc:"Maximum size of the log. Above it, the server flushes replicas whose old entries keep segments from being deleted."`
	HeldBytes    int64  `toml:"held_bytes" def:"10737418240" doc:"Size that the log may reach because another cluster lacks what is in it (duplication). Above it, or when less than twice replica.disk_min_available_space_ratio of the disk is free, a duplication gives up what it holds of the log and copies the partition's rows anew. At least twice wal.max_bytes."`
	KeepBytes    int64  `toml:"keep_bytes" def:"134217728" doc:"Size of the entries that are kept although no replica needs them, so that a replica that was away briefly catches up from the log."`
}

// Storage configures Pebble.
type Storage struct {
	BlockCacheBytes    int64    `toml:"block_cache_bytes" def:"0" doc:"Block cache of all replicas together. 0 uses 30 % of replica.memory_bytes."`
	MemtableBytes      int64    `toml:"memtable_bytes" min:"65536" def:"16777216" doc:"Size at which the memtable of a replica is flushed."`
	MemtablesBytes     int64    `toml:"memtables_total_bytes" def:"0" doc:"Memtables of all replicas together. Above this size the largest ones are flushed early; far above it, writes wait. 0 uses 25 % of replica.memory_bytes."`
	OpenFiles          int      `toml:"open_files" min:"16" max:"10000000" def:"4096" doc:"Maximum number of open table files of all replicas together. The server also limits it to 15 % of its file descriptors."`
	Compactions        int      `toml:"compactions" min:"1" max:"1000" def:"2" doc:"Maximum number of compactions that run at the same time, of all replicas together."`
	MaxIterations      int      `toml:"max_iteration_count" min:"1" max:"1000000000" def:"1000" doc:"Maximum number of rows that one page of a scan reads."`
	MultiGetIterations int      `toml:"multi_get_max_iteration_count" min:"1" max:"1000000000" def:"3000" doc:"Maximum number of rows that one multi_get reads."`
	MultiGetBytes      int64    `toml:"multi_get_max_iteration_size" min:"1" max:"2147483647" def:"31457280" unit:"bytes" doc:"Maximum size of the rows that one multi_get returns."`
	SeparateValues     int64    `toml:"separate_values_from" min:"0" def:"8192" unit:"bytes" doc:"Minimum size of a value that is stored in a file of its own kind, apart from its key. Compactions don't rewrite such values. 0 disables this."`
	SweepInterval      Duration `toml:"sweep_interval" min:"0" max:"168h" def:"\"30s\"" doc:"Interval at which replicas search for expired rows and delete them. 0 disables the search."`
	SweepDelay         Duration `toml:"sweep_delay" min:"1s" max:"8760h" def:"\"30s\"" doc:"How long after its expiry a row may be deleted. Must exceed the difference between the clocks of servers."`
	TombstoneTime      Duration `toml:"tombstone_time" min:"1m" max:"8760h" def:"\"24h\"" doc:"How long a removed row of a table that is duplicated is remembered, and an expired one after it was written, so that an older write of another cluster, which arrives later, doesn't bring it back. Should be longer than the connection to another cluster may be cut."`
	SweepBytes         int64    `toml:"sweep_bytes_per_second" min:"0" def:"67108864" doc:"Maximum rate at which a server reads rows to find expired ones. 0 disables the limit."`
	RulesInterval      Duration `toml:"rules_interval" min:"0" max:"8760h" def:"\"1h\"" doc:"Interval at which the rules of user_specified_compaction are applied to new rows. 0 applies them only when they are set and at manual compactions."`
	RulesBytes         int64    `toml:"rules_bytes_per_second" min:"0" def:"16777216" doc:"Maximum rate at which a server rewrites rows whose expiry is changed by a default TTL or user_specified_compaction. 0 disables the limit."`
	IterationTime      Duration `toml:"iteration_threshold_time" max:"1h" def:"\"30s\"" doc:"Maximum duration of one range read."`
}

// Metrics configures /metrics.
type Metrics struct {
	ReplicaSeries []string `toml:"replica_series" def:"[\"role\", \"read_capacity_units\", \"write_capacity_units\", \"rdb_total_sst_size_mb\"]" doc:"Metrics (docs/metrics.md) that Prometheus is shown of each replica by itself, besides the sums of each table. [] none, [\"*\"] all. Upstream's JSON has all."`
	MaxSeries     int      `toml:"max_series" max:"10000000" def:"40000" doc:"Maximum number of series of tables and replicas in one answer to Prometheus. Metrics that don't fit are left out whole."`
}

// Probe configures the probes of partitions.
type Probe struct {
	Interval  Duration `toml:"interval" min:"0" max:"1h" def:"\"10s\"" doc:"Interval at which the leading meta server asks the primary of every partition whether it can be read. In one probe of six it commits an empty mutation, too. 0 asks nobody: then availability isn't known, and the dashboard has no history of latencies."`
	Timeout   Duration `toml:"timeout" min:"100ms" max:"1h" def:"\"5s\"" doc:"For how long a partition is tried in a probe before it counts as not available. A failover that takes less isn't counted."`
	StatTable string   `toml:"stat_table" def:"\"\"" doc:"Table of this cluster into which the leading meta server writes availability, capacity units and sizes of tables, in the rows of Apache Pegasus' collector (where it is called stat). The table must exist. Rows expire after 90 days. Needs interval for availability. \"\" writes nothing."`
}

// Security configures package auth.
type Security struct {
	Peers      string `toml:"peers" oneof:"off optional required" def:"\"off\"" doc:"Whether servers of the cluster prove to each other that they are some, by a secret. off: no; whoever reaches a port is trusted to be one. required: yes; nobody else gets replicas' files, takes part in replication or in the quorum. optional is for the way from one to the other: servers prove it, and take others without."`
	SecretFile string `toml:"secret_file" def:"\"\"" doc:"File with the cluster secret, at least 16 bytes on a line, the same on all servers. A second line is a second valid secret, while one replaces the other. It is read again when it changes. Its mode must keep other users out, for example 600. \"\" takes the secret from PEGASUS_CLUSTER_SECRET in the environment."`
}

// Duration is a time.Duration written as "500ms", "3s", "24h".
type Duration time.Duration

// UnmarshalText parses the written form.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText returns the written form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// D returns d as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }
