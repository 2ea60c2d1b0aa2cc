package cppconfig

// Fate is what becomes of a key.
type Fate string

const (
	Taken       Fate = "taken over"    // it has an equal here, and its value is in the file
	Kept        Fate = "default kept"  // it has an equal here, and was left at upstream's default
	Needless    Fate = "needless"      // nothing here needs it
	Unsupported Fate = "not supported" // what it does isn't there
	Open        Fate = "to be filled in"
	Refused     Fate = "refused"  // it has an equal here, which doesn't take this value
	Other       Fate = "left out" // it is for servers of the other role
	Unknown     Fate = "unknown"  // no C++ server that is known has it
)

// rule says what becomes of a key.
type rule struct {
	section string // "x.*" is each section that begins with "x."
	names   string // names that share the rule, separated by spaces; "*" is all
	to      string // the key here, section.name; "" if there is none
	how     how    // of a key that has an equal
	def     string // upstream's defaults, as its program and its configuration file have them, separated by "|"
	fate    Fate   // of a key that has no equal
	off     string // a key that isn't supported is needless with these values, separated by "|"
	why     string
}

// take is a key that has an equal.
func take(section, names, to string, h how, def, why string) rule {
	return rule{section: section, names: names, to: to, how: h, def: def, fate: Taken, why: why}
}

// needless is for keys that nothing here needs.
func needless(section, names, why string) rule {
	return rule{section: section, names: names, fate: Needless, why: why}
}

// lacking is for what isn't there; the values of off switch it off.
func lacking(section, names, off, why string) rule {
	return rule{section: section, names: names, fate: Unsupported, off: off, why: why}
}

const (
	ownQuorum  = "the meta servers are a quorum of their own, without ZooKeeper; `pegasus migrate tables` takes tables and settings from it"
	noThreads  = "there are no thread pools to be sized"
	noTasks    = "there are no task codes"
	oneLog     = "each data directory has one log, which the sections wal and storage size"
	noRocks    = "the engine is Pebble, without such a choice"
	blockMem   = "the cache of blocks is within `storage.block_cache_bytes`, indexes and filters are, too"
	toStderr   = "the log goes to standard error; systemd or a log collector keeps and rotates it"
	noAuth     = "authentication and access control are not there yet: use the server in a trusted network"
	noEncrypt  = "nothing is encrypted at rest: encrypt the disk"
	noDetector = "there is no collector: `pegasus health` and `/meta/health` say what clients can do"
	ownMetrics = "each server has `/metrics`, in upstream's JSON and for Prometheus, on its port"
	noMimic    = "one process is one server, which `pegasus meta` or `pegasus replica` starts"
	noFault    = "only for tests of the C++ server"
	noGeo      = "GEO and Redis stay out (docs/compatibility.md)"
	ownCopies  = "copies between servers go over HTTP on the same port, limited by `replica.learn_concurrency` and `replica.learn_bytes_per_second`"
	ofGC       = "what is of no use is removed without being asked to"
	ownDup     = "the sender sizes its batches itself, within `replica.duplication_bytes`"
	oldNoise   = "such lines are not logged"
	balancerIs = "the balancer is our own; `pegasus rebalance` plans and moves"
)

// rules is the one list of what becomes of upstream's keys. The first one that fits counts.
var rules = []rule{
	// Who is where.
	take("meta_server", "server_list", "cluster.meta_servers", addresses, "", ""),
	take("replication", "cluster_name", "cluster.name", text, "", ""),
	take("replication", "cold_backup_root", "cluster.cold_backup_root", text, "", ""),
	take("replication", "data_dirs", "replica.data_dirs", directories, "", "the C++ server keeps its files in `replica/` below each, which ours doesn't touch"),
	take("duplication-group", "*", "cluster.id, clusters.NAME.id", clusterID, "", "the number of this cluster, and of the others"),
	take("pegasus.clusters", "*", "clusters.NAME.meta_servers", clusterMetas, "", "this cluster's own entry is `cluster.meta_servers`"),
	take("meta_server.apps.*", "app_name", "meta.default_tables", defaultTable, "", "with partition_count and max_replica_count of its section"),
	needless("meta_server.apps.*", "partition_count max_replica_count", "is part of the entry of meta.default_tables"),
	needless("meta_server.apps.*", "app_type stateful", "each table is of the one kind there is"),
	lacking("meta_server.apps.*", "envs", "", "set them when the table is there: `pegasus table env`"),
	take("replication.app", "app_name", "meta.default_tables", defaultTable, "", "with partition_count and max_replica_count of its section"),
	needless("replication.app", "partition_count max_replica_count", "is part of the entry of meta.default_tables"),
	needless("replication.app", "app_type stateful", "each table is of the one kind there is"),
	lacking("replication.app", "envs", "", "set them when the table is there: `pegasus table env`"),
	take("apps.*", "ports", "meta.listen, replica.listen", listen, "", "needs --host: the C++ server finds its address by the network interface"),
	take("network", "explicit_host_address", "meta.listen, replica.listen", host, "", "the host of the address"),
	needless("network", "primary_interface", "the address is given: `--listen`, or meta.listen and replica.listen"),
	take("block_service.*", "args", "blob.NAME", blobPlace, "", "local_service: `path`; hdfs_service: `hdfs_name_nodes` and `path`. A relative path has no equal"),
	take("block_service.*", "type", "blob.NAME.type", blobType, "", "local_service and hdfs_service; fds_service isn't supported"),
	take("replication", "hdfs_read_limit_rate_mb_per_sec", "blob.NAME.download_bytes_per_second", blobRate, "200", "of each store with HDFS"),
	take("replication", "hdfs_write_limit_rate_mb_per_sec", "blob.NAME.upload_bytes_per_second", blobRate, "200", "of each store with HDFS"),
	needless("replication", "hdfs_read_batch_size_bytes hdfs_write_batch_size_bytes", "files are streamed"),
	take("core", "logging_start_level", "logging.level", logLevel, "LOG_LEVEL_INFO", ""),
	take("network", "conn_threshold_per_ip", "rpc.max_connections_per_ip", number, "0", ""),

	// The meta server.
	take("meta_server", "node_live_percentage_threshold_for_update", "meta.live_percentage", number, "65|50", "nothing is frozen below it: only copies wait"),
	needless("meta_server", "min_live_node_count_for_unfreeze", "there is no least number of servers (docs/compatibility.md)"),
	take("meta_server", "hold_seconds_for_dropped_app", "meta.reserve_time", seconds, "604800", ""),
	take("meta_server", "replica_assign_delay_ms_for_dropouts", "meta.replace_wait", millis, "600000", "ours is shorter by default, since a server that is back catches up from the log"),
	take("meta_server", "max_allowed_replica_count", "meta.max_replica_count", number, "5", ""),
	take("meta_server", "min_allowed_replica_count", "meta.min_replica_count", number, "1", ""),
	take("meta_server", "replica_white_list", "meta.white_list", whiteList, "", "if enable_white_list is true"),
	needless("meta_server", "enable_white_list", "an empty meta.white_list allows every server"),
	take("meta_server", "cold_backup_disabled", "meta.cold_backup_disabled", boolean, "true|false", ""),
	take("meta_server", "bulk_load_max_rollback_times", "meta.bulk_load_tries", number, "10", ""),
	take("replication", "lb_interval_ms", "meta.balance_interval", millis, "10000", ""),
	lacking("meta_server", "meta_function_level_on_start", "steady|fl_steady", "the level is kept over restarts, and steady at first: set it once, with upstream's shell or admin-cli"),
	needless("meta_server", "recover_from_replica_server", "`pegasus recover` does that when it is asked to"),
	needless("meta_server", "cluster_root distributed_lock_service_type distributed_lock_service_parameters meta_state_service_type meta_state_service_parameters", ownQuorum),
	needless("meta_server", "add_secondary_enable_flow_control add_secondary_max_count_for_one_node", "copies are limited at the servers by `replica.learn_concurrency`"),
	needless("meta_server", "stable_rs_min_running_seconds max_succssive_unstable_restart", "a server that restarts is given back what it has by its log, not copied to anew"),
	needless("meta_server", "server_load_balancer_type partition_guardian_type balancer_in_turn only_primary_balancer only_move_primary balance_cluster balance_op_count_per_round", balancerIs),
	needless("meta_server", "max_replicas_in_group max_reserved_dropped_replicas", "how many replicas a partition has is a matter of its table; others are removed once they are of no use"),
	needless("meta_server", "bulk_load_node_max_ingesting_count bulk_load_node_min_disk_count", "`meta.bulk_load_partitions_at_once` bounds how many partitions of the cluster take rows"),
	needless("meta_server", "bulk_load_verify_before_ingest", "files are always verified"),
	needless("meta_server", "enable_concurrent_bulk_load", "several tables can always be loaded at the same time"),

	// Failure detection.
	take("replication", "fd_beacon_interval_seconds", "failure_detector.beacon_interval", seconds, "3", ""),
	take("replication", "fd_lease_seconds", "failure_detector.lease", seconds, "20", "failover takes as long: ours is shorter by default"),
	take("replication", "fd_grace_seconds", "failure_detector.grace", seconds, "22", "failover takes as long: ours is shorter by default"),
	needless("replication", "fd_check_interval_seconds", "each deadline has a timer"),
	lacking("replication", "fd_disabled", "false", "a replica server needs its lease"),

	// The replica server.
	take("replication", "mutation_2pc_min_replica_count", "replica.mutation_2pc_min_replica_count", number, "2", ""),
	take("replication", "max_allowed_write_size", "replica.max_allowed_write_size", number, "1048576", ""),
	take("replication", "prepare_timeout_ms_for_secondaries", "replica.prepare_timeout", millis, "3000", ""),
	take("replication", "staleness_for_commit", "replica.max_mutations_in_flight", number, "20", "a mutation of ours joins all writes that wait"),
	take("replication", "config_sync_interval_ms", "replica.config_sync_interval", millis, "30000", ""),
	take("replication", "learn_app_max_concurrent_count", "replica.learn_concurrency", number, "5", ""),
	take("nfs", "max_send_rate_megabytes max_send_rate_megabytes_per_disk", "replica.learn_bytes_per_second", copyRate, "0|500", "of a server; 0, no limit, is not taken over: ours lowers the rate while copies slow requests down"),
	take("replication", "disk_min_available_space_ratio", "replica.disk_min_available_space_ratio", number, "10", ""),
	take("replication", "reject_write_when_disk_insufficient", "replica.reject_write_when_disk_insufficient", boolean, "true", ""),
	take("replication", "gc_disk_garbage_replica_interval_seconds", "replica.trash_age", seconds, "86400", ""),
	take("replication", "max_concurrent_bulk_load_downloading_count", "replica.bulk_load_concurrency", number, "5", ""),
	take("replication", "log_private_file_size_mb", "wal.segment_bytes", mebibytes, "32", "the log is one for all replicas of a data directory"),
	take("pegasus.server", "perf_counter_read_capacity_unit_size", "replica.read_capacity_unit_size", number, "4096", ""),
	take("pegasus.server", "perf_counter_write_capacity_unit_size", "replica.write_capacity_unit_size", number, "4096", ""),
	take("pegasus.server", "rocksdb_slow_query_threshold_ns", "replica.slow_query_threshold", nanos, "100000000", ""),
	take("pegasus.server", "rocksdb_abnormal_get_size_threshold", "replica.abnormal_get_size", number, "1000000", ""),
	take("pegasus.server", "rocksdb_abnormal_multi_get_size_threshold", "replica.abnormal_multi_get_size", number, "10000000", ""),
	take("pegasus.server", "rocksdb_abnormal_multi_get_iterate_count_threshold", "replica.abnormal_multi_get_rows", number, "1000", ""),
	take("pegasus.server", "rocksdb_abnormal_batch_get_bytes_threshold", "replica.abnormal_batch_get_size", number, "10000000", ""),
	take("pegasus.server", "rocksdb_abnormal_batch_get_count_threshold", "replica.abnormal_batch_get_rows", number, "2000", ""),
	take("pegasus.server", "hot_bucket_variance_threshold", "replica.hot_bucket_variance_threshold", number, "7", ""),
	take("pegasus.server", "hot_key_variance_threshold", "replica.hot_key_variance_threshold", number, "5", ""),
	take("pegasus.server", "hotkey_analyse_time_interval_s", "replica.hotkey_analyse_time_interval", seconds, "10", ""),
	take("pegasus.server", "max_seconds_to_detect_hotkey", "replica.max_time_to_detect_hotkey", seconds, "150", ""),
	lacking("replication", "data_dirs_black_list_file", "", "remove broken directories from replica.data_dirs; a server goes on without a disk that fails while it runs"),
	needless("replication", "ignore_broken_disk", "a directory that is missing is an error at the start; a server goes on without a disk that fails while it runs"),
	lacking("replication", "deny_client_on_start", "false", "deny clients table by table: `pegasus table env`, replica.deny_client_request"),
	lacking("replication", "max_concurrent_uploading_file_count", "10", "`replica.backup_concurrency` bounds how many partitions are backed up at a time"),
	lacking("replication", "duplication_enabled", "true", "a table is sent when it is told to be (`pegasus dup add`), and by nothing else"),
	lacking("replication", "duplication_disabled", "false|true", "a table is sent when it is told to be (`pegasus dup add`), and by nothing else"),
	needless("replication", "dup_ignore_other_cluster_ids", "rows of clusters whose number nobody configured are taken"),
	take("replication", "dup_cluster_name", "cluster.id", dupName, "", "its number in [duplication-group] is this cluster's"),
	lacking("replication", "config_sync_disabled group_check_disabled disk_stat_disabled gc_disabled checkpoint_disabled batch_write_disabled empty_write_disabled replicas_stat_disabled", "false", "can't be switched off"),
	lacking("replication", "allow_non_idempotent_write", "true", "increments and check-and-set always work, and become plain puts before they are replicated"),
	lacking("replication", "plog_gc_enabled", "true", "can't be switched off"),
	needless("replication", "gc_disk_error_replica_interval_seconds gc_disk_migration_origin_replica_interval_seconds gc_disk_migration_tmp_replica_interval_seconds gc_interval_ms gc_memory_replica_interval_ms disk_stat_interval_seconds replicas_stat_interval_ms", ofGC),
	needless("replication", "prepare_timeout_ms_for_potential_secondaries max_mutation_count_in_prepare_list", "a learner that falls behind learns on, and doesn't hold writes up"),
	needless("replication", "group_check_interval_ms", "secondaries hear the commit point within `replica.commit_interval`"),
	needless("replication", "prepare_decree_gap_for_debug_logging verbose_client_log_on_start verbose_commit_log_on_start abnormal_write_trace_latency_threshold enable_latency_tracer enable_latency_tracer_report latency_tracer_counter_name_prefix", oldNoise),
	needless("replication", "delay_for_fd_timeout_on_start", "a server that restarts takes its own replicas back at once"),
	needless("replication", "checkpoint_interval_seconds checkpoint_max_interval_hours checkpoint_min_decree_gap trigger_checkpoint_retry_interval_ms max_concurrent_manual_emergency_checkpointing_count cold_backup_checkpoint_reserve_minutes", "stores are flushed when the log needs it; a backup makes its own checkpoint"),
	needless("replication", "log_private_reserve_max_size_mb log_private_reserve_max_time_seconds plog_force_flush log_private_batch_buffer_count log_private_batch_buffer_flush_interval_ms log_private_batch_buffer_kb", oneLog+". An acknowledged write is on disk (`wal.sync`)"),
	needless("replication", "slog_dir crash_on_slog_error log_shared_batch_buffer_kb log_shared_file_count_limit log_shared_file_size_mb log_shared_force_flush log_shared_gc_flush_replicas_limit log_shared_pending_size_throttling_delay_ms log_shared_pending_size_throttling_threshold_kb", oneLog),
	needless("replication", "mem_release_enabled mem_release_check_interval_ms mem_release_max_reserved_mem_percentage", "`replica.memory_bytes` is the limit of the whole server"),
	needless("replication", "dup_load_plog_task dup_no_mutation_load_delay_ms dup_max_allowed_write_size duplicate_log_batch_bytes duplication_sync_period_second dup_progress_min_report_period_ms dup_progress_min_update_period_ms", ownDup),
	needless("replication", "enable_direct_io direct_io_buffer_pages", "files are read and written through the system's cache"),
	needless("replication", "fds_read_batch_size fds_read_limit_rate fds_write_burst_size fds_write_limit_rate", "is for Xiaomi's FDS, which isn't supported: S3, HDFS and directories are (sections blob)"),
	needless("replication", "row_lock_map_capacity", "rows are not locked"),
	needless("replication", "load_replica_max_wait_time_ms max_replicas_on_load_for_each_disk", "replicas are opened side by side without being told how many"),
	needless("replication", "bulk_load_provider_root", "each request names the directory"),

	// The storage engine.
	take("pegasus.server", "rocksdb_write_buffer_size", "storage.memtable_bytes", number, "67108864", ""),
	take("pegasus.server", "rocksdb_block_cache_capacity", "storage.block_cache_bytes", number, "10737418240", "without it the cache is a share of `replica.memory_bytes`"),
	take("pegasus.server", "rocksdb_total_size_across_write_buffer", "storage.memtables_total_bytes", memtables, "0", "if rocksdb_enable_write_buffer_manager is true; 0 is a share of `replica.memory_bytes`"),
	needless("pegasus.server", "rocksdb_enable_write_buffer_manager", "memtables of all replicas always have one limit"),
	take("pegasus.server", "rocksdb_max_background_compactions", "storage.compactions", number, "12", ""),
	take("pegasus.server", "rocksdb_max_iteration_count", "storage.max_iteration_count", number, "1000", ""),
	take("pegasus.server", "rocksdb_multi_get_max_iteration_count", "storage.multi_get_max_iteration_count", number, "3000", ""),
	take("pegasus.server", "rocksdb_multi_get_max_iteration_size", "storage.multi_get_max_iteration_size", multiGetSize, "31457280", "0, no limit, becomes the most there is"),
	take("pegasus.server", "rocksdb_iteration_threshold_time_ms", "storage.iteration_threshold_time", iterationTime, "30000", "0, no limit, becomes 1h"),
	needless("pegasus.server", "rocksdb_max_open_files", "`storage.open_files` is for all replicas of a server together"),
	needless("pegasus.server", "rocksdb_limiter_max_write_megabytes_per_sec rocksdb_limiter_enable_auto_tune rocksdb_max_background_flushes rocksdb_max_write_buffer_number", "flushes and compactions are paced by themselves"),
	needless("pegasus.server", "rocksdb_num_levels rocksdb_target_file_size_base rocksdb_target_file_size_multiplier rocksdb_max_bytes_for_level_base rocksdb_max_bytes_for_level_multiplier rocksdb_level0_file_num_compaction_trigger rocksdb_level0_slowdown_writes_trigger rocksdb_level0_stop_writes_trigger rocksdb_compression_type rocksdb_format_version rocksdb_index_type rocksdb_filter_type rocksdb_bloom_filter_bits_per_key rocksdb_disable_bloom_filter rocksdb_partition_filters rocksdb_metadata_block_size rocksdb_write_global_seqno rocksdb_compaction_readahead_size rocksdb_writable_file_max_buffer_size rocksdb_use_direct_reads rocksdb_use_direct_io_for_flush_and_compaction read_amp_bytes_per_bit", noRocks),
	needless("pegasus.server", "rocksdb_periodic_compaction_seconds", "a sweeper deletes expired rows (`storage.sweep_interval`)"),
	needless("pegasus.server", "rocksdb_disable_table_block_cache rocksdb_block_cache_num_shard_bits rocksdb_cache_index_and_filter_blocks rocksdb_cache_index_and_filter_blocks_with_high_priority rocksdb_pin_top_level_index_and_filter rocksdb_pin_l0_filter_and_index_blocks_in_cache", blockMem),
	needless("pegasus.server", "rocksdb_verbose_log rocksdb_max_log_file_size rocksdb_log_file_time_to_roll rocksdb_keep_log_file_num", toStderr),
	needless("pegasus.server", "checkpoint_reserve_min_count checkpoint_reserve_time_seconds", "a checkpoint lives as long as who asked for it needs it"),
	needless("pegasus.server", "manual_compact_min_interval_seconds", "a manual compaction begins when a table is told to"),
	needless("pegasus.server", "update_rdb_stat_interval stats_dump_period_sec stats_persist_period_sec", ownMetrics),
	needless("pegasus.server", "perf_counter_sink perf_counter_enable_falcon perf_counter_enable_logging perf_counter_update_interval_seconds perf_counter_cluster_name falcon_host falcon_path falcon_port prometheus_port", ownMetrics),
	needless("pegasus.server", "hotkey_buckets_num", "the number of buckets is fixed"),
	needless("pegasus.server", "dup_lagging_write_threshold_ms", "`pegasus dup show` says how far each partition is behind, in time"),
	needless("pegasus.server", "get_meta_store_type", "the last decree is in the store itself"),
	needless("pegasus.server", "inject_read_error_for_test inject_write_error_for_test", noFault),
	lacking("pegasus.server", "encrypt_data_at_rest", "false", noEncrypt),
	needless("pegasus.server", "encryption_method server_key hadoop_kms_url", "is for encrypt_data_at_rest. "+noEncrypt),

	// What isn't there, and what has no part here.
	lacking("security", "enable_auth enable_acl enable_ranger_acl mandatory_auth", "false", noAuth),
	needless("security", "enable_zookeeper_kerberos zookeeper_kerberos_service_name zookeeper_sasl_service_fqdn", ownQuorum),
	lacking("security", "super_users meta_acl_rpc_allow_list", "", noAuth),
	needless("security", "krb5_config krb5_keytab krb5_principal sasl_plugin_path service_fqdn service_name encryption_cluster_key_name update_ranger_policy_interval_sec", "is for authentication and access control, which are not there yet"),
	lacking("ranger", "ranger_service_name ranger_service_url", "", noAuth),
	needless("ranger", "legacy_table_database_mapping_policy_name", "is for Ranger"),
	needless("zookeeper", "hosts_list timeout_ms logfile zoo_log_level sasl_service_name sasl_service_fqdn sasl_mechanisms_type sasl_user_name sasl_realm sasl_password_file sasl_password_encryption_scheme", ownQuorum),
	lacking("pegasus.collector", "available_detect_alert_email_address", "", "no mail is sent: alarm by `/metrics`, for which monitoring/ has the rules"),
	needless("pegasus.collector", "enable_detect_hotkey hot_partition_threshold occurrence_threshold max_hotspot_store_size hotspot_detect_algorithm", "a detection begins when it is asked for: `pegasus table hotkeys`"),
	needless("pegasus.collector", "available_detect_app available_detect_alert_script_dir available_detect_interval_seconds available_detect_alert_fail_count available_detect_timeout app_stat_interval_seconds usage_stat_app capacity_unit_fetch_interval_seconds capacity_unit_saving_ttl_days storage_size_fetch_interval_seconds", noDetector),
	needless("http", "enable_http_server curl_timeout_ms", "HTTP is always there, on the same port"),
	needless("nfs", "nfs_copy_block_bytes max_concurrent_remote_copy_requests max_concurrent_local_writes max_buffered_local_writes high_priority_speed_rate file_close_expire_time_ms file_close_timer_interval_ms_on_server max_file_copy_request_count_per_file max_retry_count_per_copy_request max_copy_rate_megabytes max_copy_rate_megabytes_per_disk rpc_timeout_ms", ownCopies),
	needless("network", "io_service_worker_count conn_pool_max_size enable_udp socket_recv_buffer_bytes socket_send_buffer_bytes unknown_message_header_format send_queue_threshold", "connections and buffers are sized by the section rpc, and by themselves"),
	needless("metrics", "builtin_metrics_update_interval_ms entity_retirement_delay_ms", ownMetrics),
	needless("ddl_client", "ddl_client_max_attempt_count ddl_client_retry_interval_ms", "is for the C++ shell"),
	needless("shell", "nodes_sample_interval_ms tables_sample_interval_ms", "is for the C++ shell"),
	needless("geo_client.lib", "latitude_index longitude_index max_level min_level", noGeo),
	needless("apps.*", "name type arguments pools run count delay_seconds", noMimic),
	needless("core", "data_dir log_dir", "`meta.data_dir` and `replica.data_dirs` name the directories; without data_dirs the C++ server takes this one"),
	needless("core", "tool toollets pause_on_start enable_default_app_mimic enable_register_system_rpc_handler tls_trans_memory_KB tcmalloc_release_rate timer_service_worker_count local_hash filename aio_factory_name timer_factory_name env_factory_name lock_factory_name lock_nr_factory_name rwlock_nr_factory_name semaphore_factory_name nfs_factory_name", noThreads+", and no tools to be chosen"),
	needless("core", "logging_factory_name logging_flush_on_exit", toStderr),
	needless("tools.*", "*", toStderr),
	needless("components.*", "*", ownMetrics),
	needless("uri-resolver.*", "*", "a cluster is known by the addresses of its meta servers"),
	needless("threadpool.*", "name partitioned worker_count worker_priority worker_share_core worker_affinity_mask dequeue_batch_size queue_factory_name worker_factory_name queue_aspects worker_aspects queue_length_throttling_threshold enable_virtual_queue_throttling admission_controller_factory_name admission_controller_arguments", noThreads),
	needless("task.*", "*", noTasks),
}
