// Package meta is the meta server: it holds the tables and the configuration of every
// partition, knows which replica servers live, keeps every partition whole, and answers
// clients and admin tools.
//
// # What it owns
//
// The quorum (package raft, over our own RPC), the leader's volatile knowledge (which nodes
// live, what they store, what was proposed), and upstream's RPCs in upstream's words. The
// decisions themselves are made by pure packages: state (what may change), detector (who
// lives), cure (what to do), appenv (which settings are valid).
//
// # Invariants
//
//   - A configuration is changed by a committed raft entry and in no other way, so a deposed
//     leader can't change one.
//   - A beacon is acknowledged only by a leader that a majority confirmed within the
//     verification window, which is shorter than a heartbeat timeout and than half of
//     grace - lease. So when another leader declares a node dead, a grace after it took
//     over, no acknowledgement of the old one keeps that node's lease alive.
//   - A decision that rests on a node being dead is made under the same lock as the beacons
//     are taken, and holds the node dead until the decision is carried out.
//   - Locks are taken in one order: Server.changing, term.mu, fsm.mu, and last those that
//     guard a few fields (changeQueue.mu, overrides.mu, room.mu, waitingRoom.mu, Server.reloading; also what other packages have inside).
//     None is taken twice, not even for reading: what needs the State under its lock is given
//     it, and says so ("the caller holds the State"). Nobody waits for raft but with
//     Server.changing alone. A build with the tag invariants panics where that is broken;
//     `make test` tests that build.
//   - A server that doesn't answer itself for a lease ends its process (watchdog.go): who hangs
//     and goes on sending heartbeats keeps every other meta from leading.
//   - A leader whose disk is full goes on leading: what can wait is refused before it gets to
//     raft, what can't is written into a reserve (room.go). It acknowledges beacons as ever:
//     being confirmed takes no write.
//   - What looks at every partition does so in pieces (walk), and lets go of the locks between.
//   - A new leader serves only after it applied everything its predecessors committed.
//   - Raft's messages carry the quorum's identity, and one of another quorum is refused. A
//     server whose log is empty has no vote in a quorum that has decided something.
//   - Nothing is proposed that the cluster's version doesn't allow (state.EncodeFor), and a
//     replica server with the data of another cluster is refused (admission.go).
//   - A state that may be old (a backup, a lost majority) gives no roles and changes no
//     configuration before the replica servers were asked.
//
// # How it is built
//
// Files lie in layers, and none calls back into a file that calls it (`make lint` looks). From the bottom:
//
//   - the server: Server, its data directory (datadir.go), the disk's room (room.go), the quorum
//     (quorum.go, members.go, tuning.go), the state under its lock (fsm.go);
//   - term.go: a time in which the server leads, on which all below stands;
//   - nodes.go, admission.go, unknowntables.go, clocks.go: what is known of the replica servers;
//   - partitions.go, copies.go, changes.go, repair.go, update.go: what is known of partitions, and
//     how their configurations change; verdicts.go gathers the facts that package judge judges;
//     balancer.go moves replicas; guest.go undoes what a tool has set that does;
//   - the services (package service): servers.go and sync.go take what replica servers say,
//     tables.go, placement.go, recovery.go and quorumadmin.go serve administrators;
//   - services.go: the list of services; leader.go, takeover.go, run.go: how all of that begins
//     and ends.
//
// A new feature is a Service in a package of its own, and a line in services.go.
//
// It must not know how a replica works: the two sides meet in the RPC structs.
package meta
