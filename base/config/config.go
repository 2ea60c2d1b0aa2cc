package config

import "time"

// Config is one file. A server reads the sections it needs.
//
// Tags: toml is the key, doc its meaning; def its default in TOML syntax; unit what a
// number counts, if it isn't in the key; min and max its limits, both included (for a
// list, min:"1" is "not empty"); oneof the words it may be; form:"addr" is host:port.
type Config struct {
	Cluster Cluster `toml:"cluster" doc:"What this cluster is called and where its meta servers are."`
	Log     Logging `toml:"logging" doc:"The server's own messages, written to standard error."`
	RPC     RPC     `toml:"rpc" doc:"Connections: limits, and what the answers contain."`
	Meta    Meta    `toml:"meta" doc:"The meta server: tables, placement."`
	FD      FD      `toml:"failure_detector" doc:"When a replica server counts as dead. Safety needs lease < grace; both are measured on monotonic clocks."`
	Replica Replica `toml:"replica" doc:"The replica server."`
	WAL     WAL     `toml:"wal" doc:"The replication log of a data directory."`
	Storage Storage `toml:"storage" doc:"The storage engine (one Pebble instance a replica; the memory is shared by all replicas of a server)."`
}

// Cluster names the cluster.
type Cluster struct {
	Name        string   `toml:"name" def:"\"onebox\"" doc:"Name of the cluster, shown by cluster_info and checked by servers."`
	MetaServers []string `toml:"meta_servers" form:"addr" min:"1" def:"[\"127.0.0.1:34601\"]" doc:"Addresses of all meta servers, host:port. One is a quorum of one; three or five tolerate one or two failures."`
}

// Logging configures logrus.
type Logging struct {
	Level string `toml:"level" oneof:"debug info warn error" def:"\"info\"" doc:"Least level that is written: debug, info, warn or error."`
	JSON  bool   `toml:"json" def:"false" doc:"Write one JSON object a line instead of text."`
}

// RPC configures the network layer.
type RPC struct {
	MaxFrameBytes       int64    `toml:"max_frame_bytes" min:"65536" max:"2147483647" def:"67108864" doc:"Longest request or answer; a longer one closes its connection."`
	MaxConnections      int      `toml:"max_connections" min:"1" def:"20000" doc:"Connections a server keeps open; above it new ones are closed at once."`
	MaxConnectionsPerIP int      `toml:"max_connections_per_ip" def:"0" doc:"The same for one client address; 0 is no limit."`
	MaxInFlightBytes    int64    `toml:"max_in_flight_bytes" min:"1048576" def:"268435456" doc:"Memory of requests that are read and not yet answered, and of large answers while they are made and until they are sent; above it reading waits, and scans answer smaller pages. A replica server takes at most 10 % of replica.memory_bytes."`
	IdleTimeout         Duration `toml:"idle_timeout" def:"\"30m\"" doc:"A connection without traffic for that long is closed."`
	HostPortOverThrift  bool     `toml:"host_port_over_thrift" def:"false" doc:"Fill the host_port (hp_*) fields in answers over the THFT framing. Published Go and Python clients, admin-cli and pegic can't decode them; only upstream's newest Go admin test and collector want them."`
	HostPortOverRDSN    bool     `toml:"host_port_over_rdsn" def:"true" doc:"Fill the host_port (hp_*) fields in answers over the rDSN framing. C++ clients and shells of 2.6 need them; those of 2.5 and before can't decode them."`
}

// Meta configures a meta server.
type Meta struct {
	Listen            string   `toml:"listen" form:"addr" def:"\"127.0.0.1:34601\"" doc:"Address to listen on and to be known by; must be one of cluster.meta_servers."`
	DataDir           string   `toml:"data_dir" def:"\"data/meta\"" doc:"Directory of the meta's raft log and snapshots."`
	Join              bool     `toml:"join" def:"false" doc:"Begin with an empty data directory without founding a quorum, and wait until pegasus meta add takes this server into one that exists. Without effect once it was."`
	DefaultTables     []string `toml:"default_tables" def:"[]" doc:"Tables that a new cluster begins with, each NAME:PARTITIONS:REPLICAS. They are made when there never was a table, enough replica servers live, and none of them stores anything."`
	CureInterval      Duration `toml:"cure_interval" min:"10ms" def:"\"500ms\"" doc:"How often missing replicas are looked for, besides at every event that may cause one."`
	CreateWait        Duration `toml:"create_wait" def:"\"10s\"" doc:"How long an answer to create table waits for every partition to become writable."`
	ReplaceWait       Duration `toml:"replace_wait" def:"\"30s\"" doc:"How long a partition that lost a member, and can still be written, waits for it to come back before a copy is begun on another server. Longer than a restart takes."`
	ReserveTime       Duration `toml:"reserve_time" def:"\"168h\"" doc:"How long a dropped table can be recalled, when the drop doesn't say."`
	LivePercentage    int      `toml:"live_percentage" min:"0" max:"100" def:"50" unit:"percent" doc:"While fewer of the replica servers live than this, those that were taken out not counted, nothing is copied but what a partition lacks to be writable: the others are likely to come back, and the rest must not be filled up. 0 is: never mind."`
	DroppedRecord     Duration `toml:"dropped_record_time" def:"\"168h\"" doc:"How long a dropped table is listed after its data may go. Then the metas forget it; its id isn't used again. 0 is: for ever."`
	MinReplicaCount   int      `toml:"min_replica_count" min:"1" def:"1" doc:"Least replica count of a table."`
	MaxReplicaCount   int      `toml:"max_replica_count" min:"1" max:"100" def:"5" doc:"Largest replica count of a table."`
	MaxPartitionCount int      `toml:"max_partition_count" min:"1" def:"65536" doc:"Largest partition count of a table."`
	WhiteList         []string `toml:"white_list" form:"addr" def:"[]" doc:"Replica servers that may join, host:port as they are known by; another one's beacons aren't acknowledged, and it serves nothing. Empty: every one may."`
	BalanceInterval   Duration `toml:"balance_interval" min:"100ms" def:"\"10s\"" doc:"How often the placement of replicas is looked at while nothing is being moved. At function level lively what is uneven is moved; at every level from steady on servers that are being taken out are emptied."`
	BalanceCopies     int      `toml:"balance_copies_per_node" min:"1" def:"2" doc:"Replicas that are moved from, and to, one replica server at the same time."`
	BalanceBytes      int      `toml:"balance_bytes_tolerance" min:"0" def:"20" unit:"percent" doc:"How far above the mean the bytes of a replica server may be before replicas are moved for that alone; 0 is: never."`
	RaftHeartbeat     Duration `toml:"raft_heartbeat" min:"50ms" def:"\"500ms\"" doc:"Heartbeat timeout of the metas' quorum; its election timeout is the same. Up to four times as long while leaders follow each other."`
}

// FD configures failure detection, on both sides.
type FD struct {
	BeaconInterval Duration `toml:"beacon_interval" min:"10ms" def:"\"1s\"" doc:"How often a replica server tells the meta that it lives."`
	TrustRefusal   bool     `toml:"trust_refusal" def:"true" doc:"A replica server that misses a beacon, and whose host refuses connections to its port, is dead at once, without waiting for the grace. Switch it off where a firewall or proxy refuses connections to a server that lives: then two servers could answer for one partition."`
	Lease          Duration `toml:"lease" def:"\"8s\"" doc:"A replica server that had no acknowledged beacon for this long stops serving, counted from when the beacon was sent."`
	Grace          Duration `toml:"grace" def:"\"9s\"" doc:"The meta declares a replica server dead after this long without a beacon, counted from when the last one was received."`
}

// Replica configures a replica server.
type Replica struct {
	Listen               string   `toml:"listen" form:"addr" def:"\"127.0.0.1:34801\"" doc:"Address to listen on and to be known by."`
	DataDirs             []string `toml:"data_dirs" min:"1" def:"[\"data/replica\"]" doc:"Data directories, each \"tag:path\" or a path alone; one a disk."`
	Rack                 string   `toml:"rack" def:"\"\"" doc:"Where the server stands: replicas of a partition are put into different racks if there are any. Servers without one each count as a rack of their own."`
	Memory               int64    `toml:"memory_bytes" def:"0" doc:"Memory of the server, all in all. Caches, memtables and requests in flight share it, and the collector works harder when it runs short. 0 is a quarter of the machine's, or of the control group's."`
	MinReplicas          int      `toml:"mutation_2pc_min_replica_count" def:"0" doc:"A partition with fewer live members refuses writes; 0 is: 1 for tables of 1 or 2 replicas, otherwise a majority of the table's replica count."`
	MaxWriteBytes        int64    `toml:"max_allowed_write_size" def:"1048576" unit:"bytes" doc:"Largest body of a write request; 0 is no limit."`
	PrepareTimeout       Duration `toml:"prepare_timeout" def:"\"3s\"" doc:"A secondary that leaves a prepare unanswered for this long is removed from its group."`
	MaxMutations         int      `toml:"max_mutations_in_flight" min:"1" def:"64" doc:"Mutations of one partition between prepare and commit."`
	MaxBatchBytes        int64    `toml:"max_batch_bytes" min:"1" def:"1048576" doc:"Writes that wait are joined into one mutation up to this size."`
	CommitInterval       Duration `toml:"commit_interval" min:"10ms" def:"\"500ms\"" doc:"How soon secondaries are told the commit point when no write carries it."`
	ConfigSync           Duration `toml:"config_sync_interval" min:"100ms" def:"\"5s\"" doc:"How often the whole configuration is compared with the meta's."`
	LearnConcurrency     int      `toml:"learn_concurrency" min:"1" def:"3" doc:"Checkpoint copies that a server receives at the same time."`
	LearnRate            int64    `toml:"learn_bytes_per_second" def:"104857600" doc:"Bytes a second of checkpoints and of its log that a server sends to all learners together, and of checkpoints that it receives, at most: while nobody uses it, or as long as requests don't take longer. 0 is no limit, whatever requests take."`
	LearnLeast           int64    `toml:"learn_least_bytes_per_second" min:"1" def:"8388608" doc:"Bytes a second that it sends and receives even if requests take longer meanwhile. What clients write is sent to learners besides."`
	DiskRetry            Duration `toml:"disk_retry" min:"10ms" def:"\"5s\"" doc:"How long after an error of its log a data directory is tried again; then after twice as long each time, up to 5 minutes. A disk that failed 5 times within an hour is left alone until pegasus disk retry, or the server is started again."`
	SlowQuery            Duration `toml:"slow_query_threshold" def:"\"100ms\"" doc:"A read that takes its replica this long is logged; 0 is never. The table setting replica.slow_query_threshold goes before it."`
	AbnormalGet          int64    `toml:"abnormal_get_size" min:"0" def:"1000000" unit:"bytes" doc:"A get of a value this large is logged; 0 is never."`
	AbnormalMultiGet     int64    `toml:"abnormal_multi_get_size" min:"0" def:"10000000" unit:"bytes" doc:"A multi_get that returns this much is logged; 0 is never."`
	AbnormalMultiGetRows int64    `toml:"abnormal_multi_get_rows" min:"0" def:"1000" doc:"A multi_get that looks at this many rows is logged; 0 is never."`
	AbnormalBatchGet     int64    `toml:"abnormal_batch_get_size" min:"0" def:"10000000" unit:"bytes" doc:"A batch_get that returns this much is logged; 0 is never."`
	AbnormalBatchGetRows int64    `toml:"abnormal_batch_get_rows" min:"0" def:"2000" doc:"A batch_get that returns this many rows is logged; 0 is never."`
	RedactKeys           bool     `toml:"redact_keys" def:"false" doc:"Leave keys out of the log."`
	DiskMinSpace         int      `toml:"disk_min_available_space_ratio" min:"0" max:"100" def:"10" doc:"Percentage of a data directory's file system that must be free; below it writes to the replicas there are refused, and no replica is made there, until there is room. 0 is no limit."`
	DiskReject           bool     `toml:"reject_write_when_disk_insufficient" def:"true" doc:"Refuse writes then; otherwise only new replicas."`
	ReadUnit             int64    `toml:"read_capacity_unit_size" min:"1" def:"4096" unit:"bytes" doc:"A read costs one capacity unit for each of these, at least one. A power of two."`
	WriteUnit            int64    `toml:"write_capacity_unit_size" min:"1" def:"4096" unit:"bytes" doc:"The same for writes. A power of two."`
	HotBucket            int      `toml:"hot_bucket_variance_threshold" min:"1" def:"7" doc:"Detection of a hot key, first phase: how many standard deviations a bucket of keys must be above the others."`
	HotKey               int      `toml:"hot_key_variance_threshold" min:"1" def:"5" doc:"The same of one key among those of the bucket, second phase."`
	HotKeyInterval       Duration `toml:"hotkey_analyse_time_interval" min:"1s" def:"\"10s\"" doc:"How long a phase of the detection counts before it is looked at."`
	HotKeyTime           Duration `toml:"max_time_to_detect_hotkey" min:"1s" def:"\"150s\"" doc:"A detection that has found nothing for this long is given up."`
	MaxScanSessions      int      `toml:"max_scan_sessions" min:"1" def:"10000" doc:"Open scan sessions of a server; above it the oldest is closed."`
}

// WAL configures the replication log.
type WAL struct {
	Sync         string `toml:"sync" oneof:"always os" def:"\"always\"" doc:"When a write is acknowledged: \"always\" once it is on the disk of every member of its group, \"os\" once every member has handed it to its operating system (it survives the death of a process, not of all machines)."`
	SegmentBytes int64  `toml:"segment_bytes" min:"65536" def:"67108864" doc:"Size at which a new segment file is begun."`
	MaxBytes     int64  `toml:"max_bytes" def:"1073741824" doc:"Above this size replicas whose old entries hold segments are flushed, so that they can go."`
	KeepBytes    int64  `toml:"keep_bytes" def:"134217728" doc:"Entries that are kept beyond need, so that a replica that was away for a moment catches up from the log."`
}

// Storage configures Pebble.
type Storage struct {
	BlockCacheBytes    int64    `toml:"block_cache_bytes" def:"0" doc:"Cache of data blocks, for all replicas of a server; 0 is 30 % of replica.memory_bytes."`
	MemtableBytes      int64    `toml:"memtable_bytes" min:"65536" def:"16777216" doc:"Size at which one replica's memtable is flushed."`
	MemtablesBytes     int64    `toml:"memtables_total_bytes" def:"0" doc:"Memory of all replicas' memtables together; above it the largest are flushed early, far above it writes wait. 0 is 25 % of replica.memory_bytes."`
	OpenFiles          int      `toml:"open_files" min:"16" def:"4096" doc:"Table files kept open, for all replicas of a server."`
	Compactions        int      `toml:"compactions" min:"1" def:"2" doc:"Compactions that run at the same time, for all replicas of a server."`
	MaxIterations      int      `toml:"max_iteration_count" min:"1" def:"1000" doc:"Rows that one page of a scan looks at."`
	MultiGetIterations int      `toml:"multi_get_max_iteration_count" min:"1" def:"3000" doc:"Rows that one multi_get looks at."`
	MultiGetBytes      int64    `toml:"multi_get_max_iteration_size" min:"1" def:"31457280" unit:"bytes" doc:"Bytes of rows that one multi_get returns."`
	SeparateValues     int64    `toml:"separate_values_from" min:"0" def:"8192" unit:"bytes" doc:"Values of at least this size are stored apart from their keys, so that compactions don't write them again and again; 0 is never."`
	SweepInterval      Duration `toml:"sweep_interval" def:"\"30s\"" doc:"How often replicas look for expired rows to delete for good; 0 is never."`
	SweepDelay         Duration `toml:"sweep_delay" min:"1s" def:"\"30s\"" doc:"How long a row must have been expired to be deleted. Longer than the clocks of servers differ."`
	SweepBytes         int64    `toml:"sweep_bytes_per_second" min:"0" def:"67108864" doc:"Rows that a server reads a second when it looks for expired ones; 0 is no limit."`
	RulesInterval      Duration `toml:"rules_interval" def:"\"1h\"" doc:"How often the rules of user_specified_compaction are applied to rows that came since; 0 is only when they are set and with each manual compaction."`
	RulesBytes         int64    `toml:"rules_bytes_per_second" min:"0" def:"16777216" doc:"Rows that a server writes anew a second because a default TTL or user_specified_compaction changes when they expire; 0 is no limit."`
	IterationTime      Duration `toml:"iteration_threshold_time" def:"\"30s\"" doc:"Time that one range read may take."`
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
