// Package duplication is the meta's part of sending tables to other clusters.
//
// # What it owns
//
// Duplications: who may add, change and remove them, the table that is made in the other cluster before a
// copy, what the primaries confirm, and how far they say that they are. The records themselves are in
// meta/state; what is only told (the last committed decree, why a partition stands still) is forgotten when another
// meta leads, and comes again with the next sync.
//
// # Invariants
//
//   - Only the present primary of a partition confirms anything of it.
//   - What a replica server is told to be confirmed is committed in the quorum's log.
//   - A partition that a split has made sends nothing before its parent has sent what is from before the cut (meta/state, Half).
//   - A copy begins only once the other cluster has the table.
//
// It must not know how anything is sent: replica servers do that.
package duplication
