// Package state is what a Pegasus cluster's meta servers agree on: the tables, their
// settings, and which replica servers form the group of each partition. It is a
// deterministic state machine: State.Apply takes encoded commands in the order of the
// quorum's log, and every meta that applied the same commands holds the same State.
//
// # What it owns
//
// The commands and their encoding, the snapshot, the rules that a command must satisfy to
// change anything, and the index from a node to the partitions it serves.
//
// # Invariants
//
//   - A table's id is never used again, also when the table is forgotten (PurgeTables). Names of available tables are unique.
//   - A configuration changes only by compare-and-set: the new ballot is the old one + 1.
//   - A new primary was a member; new secondaries were members, but for one that the
//     current primary adds (CheckChange).
//   - A partition that once had members never has none. Dropping a table keeps them, so
//     that a recall finds the data.
//   - Slices inside a Config or a Table's Envs are never modified in place: they are
//     replaced. So a reader may keep them.
//
// It must not know a clock (times travel in the commands), the network, which nodes are
// alive, or how commands are replicated. It is not safe for concurrent use; the owner
// locks.
package state
