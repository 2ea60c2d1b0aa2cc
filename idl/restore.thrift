// Restores as an administrator sees them: a request of our own, which upstream's tools don't know.

include "dsn.thrift"

namespace go restore

enum restore_status {
  RESTORE_RUNNING = 1,
  RESTORE_COMPLETED = 2,
  RESTORE_FAILED = 3,
}

// A partition that is being restored, or that was left empty.
struct restore_partition {
  1: i32 partition;
  2: i32 progress;            // per mille
  3: dsn.rpc_address node;    // who restores it; 0: nobody at present
  4: string reason;           // what is wrong, or why it was left empty
  5: bool skipped;            // it is left empty
}

struct restore_state {
  1: i32 app_id;
  2: string app_name;         // when the restore began
  3: i32 partitions;
  4: i32 partitions_done;
  5: i32 progress;            // per mille
  6: restore_status status;
  7: string reason;           // why it failed
  8: i64 start_ms;
  9: i64 end_ms;              // 0: it runs
  10: string provider;
  11: string directory;       // of the table's backup, below the provider's root
  12: i64 backup_id;
  13: string source_app_name;
  14: i32 source_app_id;
  15: bool skip_bad_partition;
  16: list<restore_partition> pending;  // those that aren't done, or are left empty
}

struct list_restores_request {
  1: optional i32 app_id;
  2: optional string app_name;
}

struct list_restores_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: list<restore_state> restores;  // the last one first
}
