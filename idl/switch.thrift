// What servers say to each other when a partition becomes two. Our own.

include "dsn.thrift"

namespace go switching

// A meta has the primary of a partition switch.
struct switch_request {
  1: dsn.gpid parent;
  2: i32 partition_count;           // after the split
  3: optional string cluster_id;
}

struct switch_response {
  1: dsn.error_code err;
  2: string hint_msg;               // what it waits for
}

// The primary of a parent asks a member, or itself, for the child.
struct child_request {
  1: dsn.gpid parent;
  2: i32 partition_count;
  3: i64 decree;                    // of the cut; 0: only what is in memory is to be written to the disk
  4: i64 timestamp_us;
  5: optional string cluster_id;
}

struct child_response {
  1: dsn.error_code err;            // ERR_OK: the child is there, durably
  2: string hint_msg;
}
