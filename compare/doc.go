// Package compare finds the rows in which two live tables differ.
//
// # What it owns
//
// The walk over both tables, and what counts as a difference: a row that only one of them has, or another value or
// expiry. Both are read in the order of their keys and merged, whatever their partition counts are: the partitions of a
// table whose numbers are equal modulo the greatest common divisor of both counts hold the same hashes as those of the other.
//
// # Invariants
//
//   - Memory is bounded: a page of each partition that is being read, and at most maxSuspects keys.
//   - What is on its way from one table to the other is no difference: a row that differs is looked at again after
//     Options.Tolerance, and counts once both sides had the same unequal rows twice. A row that never stands still is counted as
//     changing.
//   - What can't be known isn't called equal: a table that was split or made anew meanwhile is an error.
//   - Nothing is written.
//
// It must not know clusters, nor what sends rows from one to the other.
package compare
