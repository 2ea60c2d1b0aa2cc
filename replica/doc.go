// Package replica is the replica server: it hosts the replicas of many partitions, and is
// the driver of their pacifica cores.
//
// # What it owns
//
// Data directories and the replicas in them, one log a directory (package wal), one store
// a replica (package rrdb), the gates that a client's request passes, and
// the conversation with the meta and with other replica servers. Requests,
// messages and completions come into a replica's inbox, and everything that waited is
// handled in one round, so that batches grow with load. One goroutine at a time is in a
// round, and it alone touches the core: the one that brought the work if nobody is, the
// replica's own if the round may have to wait for a disk (loop.go). What only that one may touch is
// the type driver; who isn't in a round posts a function of it. What readers need is
// published in atomics; a read never enters a round.
//
// # Invariants
//
//   - A message that follows from an entry is sent after the entry is in the log as
//     durably as the configuration demands; a ballot is durable before a message of it.
//   - That a replica lost its role is published before a message of the same round leaves; that
//     it serves, after what it inherited is in its store (handle, publish; driver.go names
//     the places where tests hold a round).
//   - A read is answered only if the lease was valid after the data was read.
//   - A write is answered after it was committed and applied.
//   - A replica that the configuration lists and whose data isn't here is reported missing,
//     never created empty.
//   - Nothing that happens to one replica ends the process.
//   - Nobody of another cluster is obeyed, served or learned from (package metalink), and what the
//     meta has no use for is set aside, not removed (package disk).
//   - Nothing is written or sent that the cluster's version doesn't allow (base/version).
//
// # How it is built
//
// Files lie in layers, and none calls back into a file that calls it (`make lint` looks). From the bottom:
//
//   - the server and what it hosts: Server, the table of its replicas (table.go), replica with its inbox
//     (replica.go), what a goroutine gathers for them (worker.go), the logs (logs.go);
//   - the driver: driver.go, and what a round does: propose.go and flights.go (writes of clients),
//     transport.go (messages), change.go (what the meta is asked for), learn.go, suspect.go, settings.go, storage.go;
//   - round.go: a round from its beginning to its end; loop.go: who carries it out, and when;
//   - open.go: replicas as they are on the disk;
//   - membership.go, report.go, reopen.go, quarantine.go: what the meta and the other servers want, and what
//     is done about a replica that can't be used; gate.go: the requests of clients;
//   - the parts (package part): admin.go, operate.go, digest.go, compact.go, passes.go; host.go is what parts
//     in packages of their own know of the server;
//   - moving.go, movecopy.go, moveswitch.go, moves.go: a replica is moved to another data directory;
//   - parts.go: the list of parts; stop.go, run.go: how all of that begins and ends.
//
// A new feature is a Part in a package of its own, and a line in parts.go.
//
// It must not know what a mutation contains (rrdb) nor how the meta decides.
package replica
