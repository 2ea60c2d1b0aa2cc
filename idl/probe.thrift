// What the leading meta asks replica servers again and again: can each partition be read and written, and how long do requests
// take? Our own: package meta/probe asks, replica/probe.go answers.

include "dsn.thrift"

namespace go probe

struct probe_of {
  1: dsn.gpid pid;
  2: bool write;                    // commit an empty mutation, too
}

struct probe_request {
  1: list<probe_of> partitions;     // that the server leads, as far as the meta knows
  2: i32 timeout_ms;                // of a write
}

struct probe_result {
  1: dsn.gpid pid;
  2: dsn.error_code read_err;
  3: i64 read_us;
  4: bool wrote;                    // the next two are set
  5: dsn.error_code write_err;
  6: i64 write_us;
}

// How long requests to the replicas of a table on this server took since these are open: how many were up to 2^-20 seconds, up to
// 2^-19 and so on. What took longer than 2^4 seconds is in the last count; counts of 0 at the end are left out.
struct table_latency {
  1: i32 app_id;
  2: list<i64> reads;
  3: list<i64> writes;
}

struct probe_response {
  1: dsn.error_code err;
  2: list<probe_result> results;    // in the order of the request
  3: list<table_latency> latencies; // of tables that were asked for anything
}
