// Package tables makes the tables of a C++ cluster in one of ours, empty, with the settings that they have.
//
// # What it owns
//
// What becomes of each table and each of its settings, and what is told of what can't be taken over: ids, which are given anew; dropped
// tables; duplications and backup policies, for which there are commands of their own.
//
// # Invariants
//
//   - A table that is there is never changed. With as many partitions it counts as made, so that a run that was ended can be repeated.
//   - A table is made with all of its settings in one step, or not at all. A setting that our servers wouldn't act on is
//     left out and told.
//   - Of two tables of one name neither is made.
//
// It must not know where the state was read.
package tables
