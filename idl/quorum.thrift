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
  14: optional i32 version;         // the newest cluster version that the server understands; not set: 1
  15: optional i32 cluster_version; // the one in its state
  16: optional string cluster_id;
  17: optional i32 number; // cluster.id, by which writes of clusters are told apart; not set: it has none, or is of an older program
  30: optional string hint;  // what a person should mind
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

// Has another member lead. Asked again it does the same again, and nothing if the one that is named leads.
struct quorum_transfer_request {
  1: string address; // host:port of who is to lead; empty: whoever has most of the log
}

struct quorum_transfer_response {
  1: dsn.error_code err;
  2: string hint;
  3: string was;     // host:port of who led
  4: string leader;  // host:port of who leads now; was, if nothing changed
}

struct quorum_backup_request {
}

struct quorum_backup_response {
  1: dsn.error_code err;
  2: string hint;
  3: dsn.blob data;
}

// Raises the version of the cluster, once every member understands the new one.
struct version_upgrade_request {
  1: i32 to;       // 0: the newest that the leader understands
  2: bool dry_run; // only ask the members
}

struct version_member {
  1: string address;
  2: bool meta;
  3: i32 version;  // the newest that it understands, 0: not known
  4: string error; // why it is not known
  5: bool must;    // the version isn't raised without it
}

struct version_upgrade_response {
  1: dsn.error_code err;
  2: string hint;
  3: i32 was;
  4: i32 now;
  5: list<version_member> members;
}
