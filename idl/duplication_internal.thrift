// The frames in which one cluster ships writes to another.

include "dsn.thrift"

namespace go dupinternal

struct duplicate_request {
  1: list<duplicate_entry> entries;

  // This server's own: the request is a part of one that couldn't be written as it was, and isn't taken apart again.
  60: optional bool divided;
}

struct duplicate_entry {
  1: optional i64 timestamp;
  2: optional dsn.task_code task_code;
  3: optional dsn.blob raw_message;
  4: optional byte cluster_id;
  5: optional bool verify_timetag;
}

struct duplicate_response {
  1: optional i32 error;
  2: optional string error_hint;
}
