// Package replica is the replica server: it hosts the replicas of many partitions, and is
// the driver of their pacifica cores.
//
// # What it owns
//
// Data directories and the replicas in them, one log a directory (package wal), one store
// a replica (package rrdb), the node's lease, the gates that a client's request passes, and
// the conversation with the meta and with other replica servers. Requests,
// messages and completions come into a replica's inbox, and everything that waited is
// handled in one round, so that batches grow with load. One goroutine at a time is in a
// round, and it alone touches the core: the one that brought the work if nobody is, the
// replica's own if the round may have to wait for a disk (worker.go). What readers need is
// published in atomics; a read never enters a round.
//
// # Invariants
//
//   - A message that follows from an entry is sent after the entry is in the log as
//     durably as the configuration demands; a ballot is durable before a message of it.
//   - A read is answered only if the lease was valid after the data was read.
//   - A write is answered after it was committed and applied.
//   - A replica that the configuration lists and whose data isn't here is reported missing,
//     never created empty.
//   - Nothing that happens to one replica ends the process.
//
// It must not know what a mutation contains (rrdb) nor how the meta decides.
package replica
