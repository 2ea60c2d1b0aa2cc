// Package raftrpc lets hashicorp/raft talk over our own RPC, so that a meta server needs
// one port. It is a raft.Transport: each raft message is one RPC in RDSN framing whose
// body is a Thrift struct with the name of the cluster and the message in msgpack, as
// raft's own transport writes it. A snapshot travels in chunks.
//
// A message of another cluster, of another quorum (each has an identity of its own, which goes
// with every message), or of whom the owner doesn't admit, is refused: raft would take it for
// one of its own, and a wrong line in a configuration file would mix two quorums.
//
// The package must not know what raft replicates.
package raftrpc
