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
// The State consists of the sub-states of its features. A feature has a file: what it
// remembers; its commands, each with a kind number; and its sections of the snapshot, each with a
// field number. Each number comes with the version of the cluster from which on it is written. A
// feature that no other one stands on registers itself (addFeature, as purge.go does): no other
// place names it. Those that others use are fields of State, in state.go.
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
