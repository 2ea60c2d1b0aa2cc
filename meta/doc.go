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
//   - What looks at every partition does so in pieces (walk), and lets go of the locks between.
//   - A new leader serves only after it applied everything its predecessors committed.
//   - Raft's messages carry the quorum's identity, and one of another quorum is refused. A
//     server whose log is empty has no vote in a quorum that has decided something.
//   - A state that may be old (a backup, a lost majority) gives no roles and changes no
//     configuration before the replica servers were asked.
//
// It must not know how a replica works: the two sides meet in the RPC structs.
package meta
