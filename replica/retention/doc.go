// Package retention decides which decrees of a replica its log keeps.
//
// # What it owns
//
// One rule: a decree is kept while the store hasn't it on disk or anyone holds it. Who holds
// what, and what becomes of a hold when the log outgrows its bound:
//
//	holder                          when the log is over its bound
//	members and learners            dropped: who lacks what is gone fetches a checkpoint
//	a checkpoint that is copied     dropped, its giver is told: the learner fetches another
//	a duplication                   dropped once room is scarce, and told: it copies all rows
//	an administrator, a feature     stays: nothing is lost unless the holder releases it
//
// A hold that yields (HoldWhileRoom, HoldLong) is dropped and its holder told, once, if that lets something go. One that
// doesn't (Hold) lets the log grow; Yield returns it, so that the server can name who fills the disk.
//
// # Invariants
//
//   - Nothing that is held leaves the log: what Hold returns is what it still has from then on.
//   - The entry at the store's own decree stays, whoever holds what: after a restart its ballot tells which
//     entries above it are void.
//   - No holder waits for another, nor for a disk.
//
// It must not know who the holders are, nor when a log is over its bound or room is scarce.
package retention
