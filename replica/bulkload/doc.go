// Package bulkload loads files into partitions: the replica server's side. Package meta/bulkload has the whole plan; idl/load.thrift is what
// is said.
//
// # The steps
//
// Prepare: each member reads the files of its partition and makes a set of rows of them (package rrdb), beside its store. Take: the primary
// asks each member of its configuration for its set, has what is in memory written, and proposes a mutation whose only op names the set. Each
// member that applies it takes its own set. Forget: what is left goes.
//
// # What it owns
//
// How sets are made, how many at a time and how fast, what is answered of them, and when they are removed.
//
// # Invariants
//
//   - What is in a set depends on the files and the request alone: rows that had expired at its time are left out by that time, no clock. The
//     digest tells whether two members have the same rows.
//   - A set is complete or it is none (rrdb.ErrNoSet): one that is there after a restart is of use at once, another is made anew.
//   - The mutation is proposed only after each member of the configuration, in the same ballot, has promised to keep a set with that digest.
//     The promise holds for keepTime, longer than the primary takes to propose; from then on the member has the mutation in its log.
//   - A set is never removed while the mutation that takes it is in the log here and not applied.
//   - A set is removed when it is forgotten, or when a later load of the partition is prepared, and with its replica. Who wasn't told asks the meta (left.go). Until then it takes its room, whether it was
//     taken or not; once it was taken the files are those of the store (hard links), which compactions replace.
//   - What was taken is not taken again: the store remembers the last load (rrdb.Taken), also in copies of it.
//   - Memory is bounded: a few partitions at a time, each with what files.Rows and rrdb.SetBuilder need.
//
// A member that has to apply the mutation and has no such set, whatever the reason, becomes suspect and learns from a copy (package replica). No learner
// is sent the mutation (pacifica.Options.Apart).
//
// With ingest_behind rows that are there are kept: it is looked for each row of the set while writes wait (rrdb/behind.go), so what a partition may load is bounded.
//
// It must not know package replica, nor the formats of files (package bulkload) or stores (package rrdb).
package bulkload
