// Package dirs makes tables of a cluster of ours out of the data directories of C++ servers that were stopped.
//
// # What it owns
//
// Which tables are taken and what they are called, whether all of their rows are there, and the steps: look, check, make the tables,
// write the rows, give them their settings. A table's settings come last: a default TTL, a throttle or a denial of writes would
// change what is written.
//
// # Invariants
//
//   - The C++ files are read, and never touched (package cppdata).
//   - Nothing is written if rows are missing or can't be read, unless that is accepted; then it is told which partitions these are.
//   - A table that is there isn't written into, unless a run with the same state directory made it.
//   - A table is called done when all rows are written, and the settings given.
//   - A run that was ended goes on where it was: what is written is never said to be more than it is.
//
// Rows that have expired are left out, and those that a split left in the wrong partition.
//
// It must not know how rows are written (package rows), nor flags and terminals.
package dirs
