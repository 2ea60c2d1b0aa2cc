// Package rows moves rows between tables and files, and between tables: import, export, copy, clear, and what a count tells of them.
//
// # What it owns
//
// The order in which rows are written, how many are on their way, what becomes of those that can't be written, and the files that say
// how far an import or a copy is.
//
// # Invariants
//
//   - Of rows with the same keys in an import the last one counts, as if they were written one after another: no two writes of a hash key
//     are on their way at once, and a row waits for an attempt of an earlier one of its key that got no answer and may still come.
//   - A state file never says more than what is written. Who goes on from it may write a few rows again, which changes nothing.
//   - Each row that isn't written is counted, and told with its place and the reason, or the run fails.
//   - Memory is bounded: Options.Parallel writes, and a page of rows for each partition that is read.
//   - A walk over a table that was split or made anew meanwhile is an error.
//   - A file of an export appears when it is whole.
//
// It must not know how rows look in files (package rowfile), nor flags and terminals.
package rows
