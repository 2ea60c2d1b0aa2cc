// Backups as an administrator sees them: requests of our own, which upstream's tools don't know.

include "dsn.thrift"

namespace go backupadmin

enum backup_status {
  BACKUP_RUNNING = 0,
  BACKUP_COMPLETED = 1,
  BACKUP_FAILED = 2,
  BACKUP_CANCELLED = 3,
  BACKUP_DELETING = 4,
}

struct backup_table {
  1: i32 app_id;
  2: string app_name;    // as it was when the backup began
  3: i32 partitions;
  4: i32 partitions_done;
  5: i32 progress;       // per mille
  6: i64 bytes;          // of the partitions that are done
  7: string skipped;     // why the table isn't in the backup, "" if it is
}

struct backup_state {
  1: i64 backup_id;
  2: string policy;      // "": it was asked for once
  3: string provider;
  4: string backup_path;
  5: string backup_root;
  6: string directory;   // the whole, below the provider's root
  7: i64 start_ms;
  8: i64 end_ms;         // 0: it runs
  9: backup_status status;
  10: string reason;     // why it failed or was cancelled
  11: bool cleaning;     // files of it are still to be removed
  12: list<backup_table> tables;
  13: list<string> waiting;  // what keeps it from going on
}

struct list_backups_request {
  1: optional i64 backup_id;
  2: optional string app_name;
  3: optional string policy;
}

struct list_backups_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: list<backup_state> backups;  // the newest first
}

struct cancel_backup_request {
  1: i64 backup_id;
}

struct cancel_backup_response {
  1: dsn.error_code err;
  2: string hint_message;
}

struct delete_backup_request {
  1: i64 backup_id;
}

struct delete_backup_response {
  1: dsn.error_code err;
  2: string hint_message;
}

struct remove_backup_policy_request {
  1: string policy_name;
}

struct remove_backup_policy_response {
  1: dsn.error_code err;
  2: string hint_message;
}
