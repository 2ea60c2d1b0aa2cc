package metrics

import (
	"fmt"
	"strings"
)

// Absent are metrics of Apache Pegasus that servers don't have under its names, and what tells the same, or why nothing does.
type Absent struct {
	Names   []string
	Instead string // a sentence
}

// absent has every metric of upstream's that isn't in the catalogue; testdata/upstream.txt has all of upstream's.
var absent = []Absent{
	{[]string{"committed_requests"}, "committed_decree tells how many mutations were committed, table_requests_total how many requests."},
	{[]string{"corrupt_writes"}, "A replica whose store fails at a write goes out of service: error_replicas, replica_error_dirs."},
	{[]string{"emergency_checkpoints"}, "wal_pressures counts how often stores were flushed since the log was at its bound."},
	{[]string{"group_check_failed_requests", "prepare_failed_requests"}, "What isn't acknowledged is sent again, and who is silent for replica.prepare_timeout leaves the group: partition_configuration_changes, writable_ill_partitions."},
	{[]string{"learn_count"}, "learn_running_count, learn_successful_count and learn_failed_count, of the server."},
	{[]string{"learn_rounds", "learn_resets", "learn_lt_app_responses", "learn_lt_cache_responses", "learn_lt_log_responses"},
		"Learning has no rounds: a learner is sent entries of the log, and fetches one checkpoint if the log no longer reaches back (learn_running_count)."},
	{[]string{"learn_copy_buffer_bytes", "learn_copy_file_bytes", "learn_copy_files", "nfs_client_write_bytes"}, "nfs_client_copy_bytes, of the server."},
	{[]string{"nfs_client_copy_failed_requests", "nfs_client_failed_writes", "nfs_server_copy_failed_requests"}, "learn_failed_count counts copies that failed, for whatever reason."},
	{[]string{"nfs_server_copy_bytes"}, "nfs_client_copy_bytes of the servers that receive; the remote command replica.learning says who learns from whom."},
	{[]string{"make_incr_idempotent_latency_ns", "make_check_and_set_idempotent_latency_ns", "make_check_and_mutate_idempotent_latency_ns"},
		"Every atomic operation is made a plain write, and that time is part of incr_latency_ns, check_and_set_latency_ns and check_and_mutate_latency_ns."},
	{[]string{"dup_log_file_load_failed_count", "dup_log_file_load_skipped_bytes"}, "Files of the log aren't loaded anew: dup_log_gaps counts where it lacked something."},
	{[]string{"dup_rejected_non_idempotent_write_requests"}, "None is refused: atomic operations are duplicated as plain writes."},
	{[]string{"bulk_load_ingestion_rejected_write_requests"}, "Writes aren't refused while the rows of files are taken, they wait."},
	{[]string{"splitting_copy_file_bytes", "splitting_copy_file_count", "splitting_copy_mutation_count", "splitting_replicas_async_learn_max_duration_ms", "splitting_replicas_max_copy_file_bytes", "splitting_replicas_max_duration_ms"},
		"A split copies no files over the network: each member links those of its own store. splitting_replicas tells how many are under way, `pegasus table split --status` how far they are."},
	{[]string{"rdb_block_cache_hit_count", "rdb_block_cache_total_count"}, "Replicas share one cache: rdb_block_cache_hits and rdb_block_cache_misses, of the server."},
	{[]string{"rdb_memtable_hit_count", "rdb_memtable_total_count", "rdb_l0_hit_count", "rdb_l1_hit_count", "rdb_l2_and_up_hit_count"}, "The engine doesn't count where rows were found; rdb_read_amplification tells how many places are looked at."},
	{[]string{"rdb_bloom_filter_point_lookup_true_positives", "rdb_bloom_filter_seek_negatives", "rdb_bloom_filter_seek_total"}, "rdb_bloom_filter_point_lookup_negatives and rdb_bloom_filter_point_lookup_positives; seeks don't use the filters."},
	{[]string{"rdb_changed_delayed_writes"}, "The engine delays no writes. It stops them: rdb_changed_stopped_writes."},
	{[]string{"rdb_write_rate_limiter_through_bytes_per_sec"}, "Flushes and compactions are paced by what has to be done: flush_pacing_wait_ms, compaction_pacing_wait_ms."},
	{[]string{"closing_replicas"}, "A replica that is closed is listed no more at once."},
	{[]string{"moved_error_replicas", "moved_garbage_replicas", "replica_removed_dirs"}, "replica_error_dirs and replica_garbage_dirs tell how many there are, the log what was moved and removed."},
	{[]string{"replica_origin_dirs", "replica_tmp_dirs"}, "A move between disks leaves no directories behind: disk_moves_running, disk_move_failures."},
	{[]string{"tcmalloc_released_bytes"}, "Memory is Go's: go_memstats_heap_released_bytes."},
	{[]string{"network_client_sessions"}, "network_server_sessions of the servers that are connected to."},
	{[]string{"dns_resolver_cache_size", "dns_resolver_resolve_by_dns_duration_ns", "dns_resolver_resolve_duration_ns"}, "Names are resolved by the operating system when a connection is made; one that can't be is in the log."},
	{[]string{"queue_delayed_tasks", "queue_rejected_tasks"}, "Requests aren't queued by kind; read_busy_requests and write_busy_requests count what is refused, throttling_waiting_requests what waits."},
	{[]string{"latency_tracer_duration_ns"}, "The slow log tells where a slow request's time went."},
	{[]string{"profiler_queued_tasks", "profiler_queue_latency_ns", "profiler_executed_tasks", "profiler_execute_latency_ns", "profiler_cancelled_tasks", "profiler_aio_latency_ns"},
		"There is no task engine. goroutines, and /debug/pprof of each server, tell what it is busy with."},
	{[]string{"profiler_server_rpc_request_bytes", "profiler_server_rpc_response_bytes"}, "Bytes by operation: get_bytes, put_bytes and the others (Prometheus: table_request_bytes_total)."},
	{[]string{"profiler_client_rpc_latency_ns", "profiler_client_timeout_rpcs", "profiler_dropped_timeout_rpcs"}, "What servers ask each other has metrics of its own: wal_sync_time_us for the disk, beacon_failed_count, learn_failed_count, dup_shipped_failed_requests."},
	{[]string{"unwritable_partition_changes", "writable_partition_changes", "choose_primary_failed_operations"}, "unwritable_partitions, unreadable_partitions and dead_partitions of the table, partition_configuration_changes, and read_failure_detect_times and write_failure_detect_times."},
	{[]string{"greedy_copy_primary_operations", "greedy_copy_secondary_operations", "greedy_move_primary_operations", "greedy_recent_balance_operations"}, "balance_moves_waiting, balance_moves_running, balance_moves_done and balance_moves_failed, of the leading meta."},
}

// referAbsent returns the last section of docs/metrics.md.
func referAbsent() string {
	var b strings.Builder
	b.WriteString("\n## Upstream's metrics that aren't here\n\nAll others of Apache Pegasus (commit db756dcd) are here under its names. Of its collector: detect_times and what comes after it, see table; " +
		"the perf counters cluster.available.* are cluster_available_*_ppm.\n\n| upstream | in its place |\n|---|---|\n")
	for _, a := range absent {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.Join(a.Names, ", "), a.Instead)
	}
	return b.String()
}
