// Package bootstrap reads the rows that a partition of a C++ cluster had at a checkpoint, for a table
// that follows one there: what the log of its duplication goes on from.
//
// # What it owns
//
// The requests to the other cluster: where the partition is (its metas), what its last checkpoint is (its
// primary), and the files of it. They are copied whole, then read by package rocks.
//
// # Invariants
//
//   - What the other cluster says is not trusted: no file is written outside of the folder for it, none
//     larger than was told, and the checksums of all that is read are compared.
//   - An error leaves nothing that counts: the caller begins anew.
//   - Each request has a deadline.
//
// It must not know what becomes of the rows.
package bootstrap
