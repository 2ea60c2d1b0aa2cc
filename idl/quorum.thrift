// The metas' own quorum: its members, and a backup of what they know. No part of upstream's
// protocol.

include "dsn.thrift"

namespace go metaquorum

// Asked of one meta, which answers for itself, leading or not.
struct quorum_status_request {
}

struct quorum_member {
  1: string address;
  2: bool voter;
}

struct quorum_status_response {
  1: dsn.error_code err;
  2: string cluster;
  3: string quorum;   // identity, empty: not known yet
  4: string server;   // host:port of who answers
  5: string role;     // leader, follower, candidate, joining, removed
  6: string leader;   // host:port, empty: none known
  7: i64 term;
  8: i64 last_index;  // of its log
  9: i64 last_term;
  10: i64 applied;
  11: list<quorum_member> members;
  12: i32 tables;
  13: bool restored;  // from a backup, and not compared with the replica servers yet
}

struct quorum_change_request {
  1: string address;
  2: bool remove;
}

struct quorum_change_response {
  1: dsn.error_code err;
  2: string hint;
  3: list<quorum_member> members;
}

struct quorum_backup_request {
}

struct quorum_backup_response {
  1: dsn.error_code err;
  2: string hint;
  3: dsn.blob data;
}
