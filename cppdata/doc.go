// Package cppdata reads the data directories of C++ replica servers that were stopped.
//
// # What it owns
//
// The layout of such directories (releases 2.1 to 2.6), what a replica's log means over its store, and which of several replicas
// of a partition is the one to be believed.
//
// A replica is what its RocksDB holds, as of the decree that this says itself, and the mutations of the private log behind it. Which of
// these count, and in which order, is what a C++ server does when it starts: of a decree the mutation of the largest ballot; those up to
// what later mutations say is committed; and then those that follow without a gap, which a primary commits before it serves. An acknowledged write is in the
// log of each member, so it is among them.
//
// Of several replicas the one counts that has all that any of them knows to be committed, then the one of the largest
// ballot, then of the largest decree: see Choose.
//
// # Invariants
//
//   - Nothing is written, and no file of a server that runs is read: Find looks at RocksDB's lock.
//   - Rows are those that the server would show, or reading them fails. A replica whose log or store is damaged, has gaps or has something that
//     isn't known here is told with file and place. Its rows as of the last mutation before that are given only to who asks for them (Replica.Partial).
//   - Atomic writes are evaluated at the time that their mutation has, as the primary did.
//   - Memory is bounded by the rows that the log changes, which a C++ server holds in memory, too.
//
// It must not know what becomes of the rows.
package cppdata
