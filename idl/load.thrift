// What a meta and replica servers say to each other when files are loaded into a table. Our own: package meta/bulkload has the protocol.

include "dsn.thrift"

namespace go loading

enum load_step {
  LOAD_PREPARE = 1,   // to each member: read the partition's files, make a set of rows of them, and keep it. Asked again and again; it says how far it is
  LOAD_TAKE = 2,      // to the primary: have every member take its set, as the mutation of one decree. ERR_BUSY: not now, or a member lacks the set
                      // and is to prepare it; ERR_INCONSISTENT_STATE: a member's set has other rows
  LOAD_FORGET = 3,    // to each member: stop reading, remove what there is of this load. ERR_BUSY: it is being taken
  LOAD_HOLD = 4,      // the primary to each member, before it proposes the mutation: write what is in memory, keep the set for now, and say what it is
}

enum load_state {
  LOAD_NONE = 1,      // nothing is known of this load
  LOAD_READING = 2,
  LOAD_READY = 3,     // the set is there, durably
  LOAD_TAKEN = 4,     // the set is part of the store here, durably
  LOAD_FAILED = 5,    // it stays so until it is forgotten
}

// Where the files are, and how they are read.
struct load_source {
  1: string provider;               // a name of [blob.NAME]
  2: string root_path;
  3: string cluster_name;
  4: string app_name;               // as it is in the place of the files
  5: i32 partition_count;           // of the table here; the files must say the same
  6: i32 app_id;                    // of the table here; the files must say the same
  7: bool ingest_behind;            // rows that are there are kept
  8: i64 timetag_us;                // when the rows count as written, the same on each member. Rows that had expired then are left out
  9: i64 bytes_per_second;          // by server, all its partitions of this load; 0: as the server is configured
}

struct load_request {
  1: dsn.gpid pid;
  2: i64 load_id;                   // positive, of one load of one table; larger than that of any load before it
  3: load_step step;
  4: optional load_source source;   // of LOAD_PREPARE
  5: optional bool paused;          // of LOAD_PREPARE: stop reading for now
  6: optional string digest;        // of LOAD_TAKE: of the sets of all members
  7: optional string cluster_id;
}

struct load_response {
  1: dsn.error_code err;            // of the request. What became of the load is in state
  2: string hint_msg;
  3: load_state state;
  4: dsn.error_code load_err;       // of LOAD_FAILED
  5: string reason;                 // of LOAD_FAILED: what happened, where
  6: bool bad_files;                // of LOAD_FAILED: the files are to blame, so that trying again is of no use
  7: i64 bytes_read;                // of the files
  8: i64 bytes_total;               // 0: not known yet
  9: i32 files_total;
  10: i64 rows;                     // of the set
  11: string digest;                // of LOAD_READY: equal on members whose sets are equal
  12: i64 decree;                   // of LOAD_TAKEN
  13: i32 held_ms;                  // of LOAD_TAKEN by the primary: for how long writes waited
}

// What a replica has of a load.
struct load_left {
  1: dsn.gpid pid;
  2: i64 load_id;
}

// A replica server asks the meta whether it may remove what it has.
struct loads_ended_request {
  1: list<load_left> left;
  2: optional string cluster_id;
}

struct loads_ended_response {
  1: dsn.error_code err;
  2: list<load_left> ended;         // of loads that don't go on, nor will
  3: optional string cluster_id;    // of the meta: what it says of another cluster's loads is of no use
}
