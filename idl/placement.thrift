// Where replicas are, why, and where they should be: requests of our own, which upstream's
// tools don't know.

include "dsn.thrift"

namespace go placement

enum move_kind {
  MOVE_PROMOTE = 0,
  MOVE_COPY = 1,
  MOVE_ADD = 2,
}

struct move {
  1: dsn.gpid pid;
  2: move_kind kind;
  3: dsn.rpc_address source;
  4: dsn.rpc_address target;
  5: bool primary;
  6: i64 bytes;
  7: string why;
  8: bool running;
}

enum rebalance_action {
  REBALANCE_STATUS = 0,
  REBALANCE_PLAN = 1,
  REBALANCE_START = 2,
  REBALANCE_STOP = 3,
}

struct rebalance_request {
  1: rebalance_action action;
  2: string app_name;
  3: bool primaries_only;
}

struct span {
  1: i64 min;
  2: i64 max;
}

struct rebalance_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: bool active;
  4: list<move> moves;
  5: i64 done;
  6: i64 failed;
  7: i64 bytes_done;
  8: list<string> stuck;
  9: span primaries;
  10: span replicas;
  11: span primaries_after;
  12: span replicas_after;
  13: i64 runs;
  14: i64 began;
  15: i64 ended;
  16: string ended_why;
  17: bool carried_on;
  18: string app_name;
  19: bool primaries_only;
  20: list<string> failures; // the last moves that were given up, and why
  21: optional span load; // of a server, in capacity units a second; not set: it isn't known
  22: optional span load_after;
}

enum node_role {
  NODE_FULL = 0,
  NODE_NO_PRIMARIES = 1,
  NODE_LEAVING = 2,
  NODE_FORGOTTEN = 3, // in a request: a dead node is forgotten
}

struct node_role_request {
  1: dsn.rpc_address node;
  2: node_role role;
  3: bool change;
}

struct node_placement {
  1: dsn.rpc_address node;
  2: node_role role;
  3: bool alive;
  4: bool reported;
  5: i64 start_time;
  6: i32 primaries;
  7: i32 replicas;
  8: i64 bytes;
  9: string rack;
  10: i32 alone;
  11: string alone_where;
  12: i32 disks;
  13: i32 disks_short;
  14: i32 disks_broken;
  15: i64 capacity_mb;
  16: i64 available_mb;
}

struct node_role_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: list<node_placement> nodes;
  4: i32 ill;
  5: list<string> stuck;
}

// A replica server that ends says so: first that it will, and later that it has stopped serving
// for good.
struct node_stop_request {
  1: dsn.rpc_address node;
  2: i64 start_time; // as in its beacons
  3: bool gone;
}

struct node_stop_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: i32 moving; // partitions that are yet to be given over to others
  4: i32 left;   // partitions that it leads, those included
}

// What is said of something (package base/judge has the numbers).
struct reason {
  1: string what;
  2: string to_do; // "": nothing
}

struct verdict {
  1: i32 state;
  2: i32 reads;
  3: i32 writes;
  4: i32 copies; // living ones
  5: i32 wanted;
  6: list<reason> why;
}

struct table_verdict {
  1: i32 app_id;
  2: string app_name;
  3: i32 state; // of the worst partition
  4: i32 partitions;
  5: i32 healthy;
  6: i32 readable;
  7: i32 writable;
  8: i32 fewest_copies;
  9: list<reason> why;
}

struct cluster_verdict {
  1: i32 state;
  2: bool lost; // the metas have no table, and replica servers have some
  3: list<reason> why;
  4: list<table_verdict> tables; // all that are available
}

struct explain_request {
  1: string app_name; // "": the cluster
  2: i32 partition;
}

struct partition_event {
  1: i64 time_ms;
  2: string what;
  3: string why;
}

struct partition_explanation {
  1: dsn.gpid pid;
  2: string health;
  3: list<string> why;
  4: list<partition_event> events;
  5: optional verdict verdict; // its reasons stand in why, too
}

struct explain_response {
  1: dsn.error_code err;
  2: string hint_message;
  3: list<partition_explanation> partitions;
  4: optional table_verdict table;
  5: optional cluster_verdict cluster;
}
