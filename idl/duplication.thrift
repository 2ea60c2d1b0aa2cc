// Duplication of a table's writes to another cluster: administration and progress.

include "dsn.thrift"
include "utils.thrift"

namespace go duplication

enum duplication_mode {
  FULL = 0,
  INCREMENTAL = 1,
}

enum duplication_status {
  DS_INIT = 0,
  DS_PREPARE = 1,
  DS_APP = 2,
  DS_LOG = 3,
  DS_PAUSE = 4,
  DS_REMOVED = 5,
}

enum duplication_fail_mode {
  FAIL_SLOW = 0,
  FAIL_SKIP = 1,
  FAIL_FAST = 2,
}

struct duplication_add_request {
  1: string app_name;
  2: string remote_cluster_name;
  3: optional bool is_duplicating_checkpoint = true;
  4: optional string remote_app_name;
  5: optional i32 remote_replica_count;
  30: optional bool must_answer; // ours: refuse if the other cluster doesn't answer
}

struct duplication_add_response {
  1: dsn.error_code err;
  2: i32 appid;
  3: i32 dupid;
  4: optional string hint;
  5: optional string remote_app_name;
  6: optional i32 remote_replica_count;
}

struct duplication_modify_request {
  1: string app_name;
  2: i32 dupid;
  3: optional duplication_status status;
  4: optional duplication_fail_mode fail_mode;
}

struct duplication_modify_response {
  1: dsn.error_code err;
  2: i32 appid;
}

struct duplication_partition_state {
  1: i64 confirmed_decree;
  2: i64 last_committed_decree;
  60: optional string why; // ours: why it stands where it does
  61: optional i64 skipped; // ours: mutations and operations that were left out
  62: optional i64 gaps; // ours: how often the log lacked what the other cluster did
  63: optional i32 room; // ours: percent of the room for the log that is used for this, 0 if it isn't
}

struct duplication_entry {
  1: i32 dupid;
  2: duplication_status status;
  3: string remote;
  4: i64 create_ts;
  5: optional map<i32,i64> progress;
  7: optional duplication_fail_mode fail_mode;
  8: optional string remote_app_name;
  9: optional i32 remote_replica_count;
  10: optional duplication_mode mode;
  11: optional map<i32,duplication_partition_state> partition_states;
  60: optional i32 remote_app_id; // ours: of the table in the other cluster, once it is known
  61: optional bool remote_made; // ours: that table was made for this duplication, and began empty
  // Ours, told to replica servers: partitions that a split has made of others. Those that wait send nothing before their
  // parents have sent what is before the cut; those that copy begin with a copy.
  62: optional list<i32> waits;
  63: optional list<i32> copies;
}

struct duplication_app_state {
  1: i32 appid;
  2: map<i32,duplication_entry> duplications;
  3: string app_name;
  4: i32 partition_count;
}

struct duplication_query_request {
  1: string app_name;
  60: optional bool why; // ours: the answer shall say it
}

struct duplication_query_response {
  1: dsn.error_code err;
  3: i32 appid;
  4: list<duplication_entry> entry_list;
}

struct duplication_confirm_entry {
  1: i32 dupid;
  2: i64 confirmed_decree;
  3: optional bool checkpoint_prepared = false;
  4: optional i64 last_committed_decree;
  60: optional string why; // ours
  61: optional i64 skipped; // ours
  62: optional i64 ballot; // ours: of the primary that confirms
  63: optional i64 gaps; // ours
  64: optional i32 room; // ours
  65: optional i32 remote_app_id; // ours: of the table in the other cluster
  66: optional i64 copied; // ours: the decree whose state a copy brought, since this primary leads
}

struct duplication_sync_request {
  1: dsn.rpc_address node;
  2: map<dsn.gpid,list<duplication_confirm_entry>> confirm_list;
  3: dsn.host_port hp_node;
}

struct duplication_sync_response {
  1: dsn.error_code err;
  2: map<i32,map<i32,duplication_entry>> dup_map;
}

struct duplication_list_request {
  1: string app_name_pattern;
  2: utils.pattern_match_type match_type;
}

struct duplication_list_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: map<string,duplication_app_state> app_states;
}
