// Package checkpoint copies checkpoints of stores between replica servers, for learners that
// need more than the log holds.
//
// # What it owns
//
// The checkpoints that a server gives away (source.go), those that its learners fetch
// (fetch.go, learner.go), what both say of its files (manifest.go), the pace of both and of what learners are sent from the log (pace.go),
// and what operators see of all that (copies.go).
//
// # Invariants
//
//   - A file is installed only if its size and checksum are those of the manifest.
//   - What was copied is not copied again after an interruption, a crash or a change of the primary.
//   - A receiver waits for a silent source only so long, however slow a copy may be.
//   - The number of checkpoints that are open is bounded, for each replica and for the server.
//   - Checkpoints go only to servers of the same cluster, and come only from them.
//
// It must not know package replica, nor what is in a store's files: it knows its server and a
// replica by the interfaces Host, Replica and Installer. What must happen on the goroutine of a replica's core,
// the installation, is handed to the replica.
package checkpoint
