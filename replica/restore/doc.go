// Package restore makes the stores of partitions out of cold backups: the replica server's side.
//
// # What it owns
//
// How many stores are made at a time and how fast, what is reported to the metas meanwhile, and what a failure means. Package
// meta/restore has the whole plan, and why it is safe.
//
// # Invariants
//
//   - A store is complete only if every row was read, and every size, checksum and digest of the backup is right.
//   - A store without the rows of the backup is made only if the restore skips bad partitions, the backup itself is bad
//     (and not just out of reach), and the meta has noted that.
//   - A store holds decree Decree, never 0: who has less lacks what was restored.
//   - Memory is bounded: two stores at a time by default, each with what backup.Reader and rrdb.Builder need.
//   - It stops soon after the meta says that nobody wants the store, or the server ends.
//
// Rows that had expired by the clock that deletions go by are left out, and so are rows of other partitions, which a
// C++ server may keep for a while after a split.
//
// It must not know package replica, nor the format of backups (package backup) or stores (package rrdb).
package restore
