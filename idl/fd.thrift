// Failure detector: beacons from replica servers to metas.

include "dsn.thrift"

namespace go fd

struct beacon_msg {
  1: i64 time;
  2: dsn.rpc_address from_node;
  3: dsn.rpc_address to_node;
  4: optional i64 start_time;
  5: optional dsn.host_port hp_from_node;
  6: optional dsn.host_port hp_to_node;
  60: optional i32 version; // ours: the newest cluster version that the sender understands; not set: 1
  61: optional string cluster_id; // ours: the identity that the sender's data has
  62: optional bool serves; // ours: the sender's lease holds, so that it serves what it leads; not set: it doesn't say
  63: optional string server_id; // ours: the random id of the sender's data; not set: it has none
}

struct beacon_ack {
  1: i64 time;
  2: dsn.rpc_address this_node;
  3: dsn.rpc_address primary_node;
  4: bool is_master;
  5: bool allowed;
  6: optional dsn.host_port hp_this_node;
  7: optional dsn.host_port hp_primary_node;
  50: optional list<string> meta_servers; // ours: host:port of all metas, from the leader
  60: optional i32 cluster_version; // ours: what members of the cluster may write
  61: optional string cluster_id; // ours
  62: optional i64 clock_ms;      // ours: the leader's wall clock, once it knows those of servers
  63: optional bool clock_doubted; // ours: it isn't that of most servers
}

struct config_master_message {
  1: dsn.rpc_address master;
  2: bool is_register;
  3: optional dsn.host_port hp_master;
}
