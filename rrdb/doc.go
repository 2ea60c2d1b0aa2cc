// Package rrdb is the storage application: the data semantics of Pegasus on one Pebble
// instance a replica.
//
// A Store turns reads into answers (Read), turns client writes into plain puts and
// removes (Evaluate), and executes committed mutations (Apply). A mutation's payload is a
// sequence of ops in a format of our own (AppendOp, OpReader); nothing else knows it.
//
// A Store is made of parts, each of which knows only those before it:
//
//	instance   Pebble, the calls into it, its failure    instance.go, calls.go, open.go, pebble.go
//	applier    mutations, decrees, flushes               apply.go, flush.go, record.go
//	reader     answers to reads, evaluation of writes    reader.go, read.go, evaluate.go
//	manifests  Pebble's lists of table files             manifests.go
//	sweeper    expired rows, space given back            sweep.go, chunk.go, reclaim.go
//
// A set (set.go) is table files of many rows, made beside a store, which the store takes in one step as the mutation of a decree: its only
// op names the set (take.go), which each member has made. Who lacks it can't apply that mutation, and needs a copy of the store of one that did.
//
// cut.go and child.go are what a split does to a store.
//
// A Shared holds what all stores of a server have in common: the Engine (package engine: caches,
// memory budget, compaction slots, I/O pacing), scan sessions, and the sweeps of expired rows.
//
// A Copy reads what Store.Checkpoint made, with caches of its own, row by row in key order.
//
// On disk a row is upstream's key (u16 length of the hash key, hash key, sort key)
// unchanged, and upstream's value of version 1 (expiry, timetag, data). One more key, in a
// range that no row key can have, holds the decree that was applied last; it is written in
// the batch of each mutation. There is no write-ahead log in here: the replication log is
// the only one, and what a crash loses is replayed from it.
//
// A Store can be cut, when its partition becomes two (Cut; package pacifica/split): from that decree on the rows of the other half
// are hidden. MakeChild makes the store of the new partition of a copy. Hidden rows are removed by sweeps, once that partition is there.
//
// Invariants:
//   - decrees are applied one by one, without gaps; a batch and its decree are atomic, and so is a set;
//   - LastFlushed never names a decree whose content a crash could lose. It is read back
//     from what is in table files, never computed from events;
//   - Apply depends on the payload, the set that it names, and the mutation's timestamp alone, never on a clock or
//     an environment, so that all replicas of a partition hold the same bytes;
//   - expired rows that no read could return any more may be deleted by each store for itself
//     (see Sweep): replicas hold the same live rows, not the same files;
//   - memtables are rotated under applyMu alone (rotate, compact), when no batch is half visible;
//   - a store that was emptied by its sweeps takes no more blocks of a disk than a new one;
//   - a remove may leave a tombstone (tombstone.go), and a row that expired, which only writes of other clusters are compared with;
//   - a read never returns a record that expired before the time it was asked for;
//   - nothing panics on any input, file or request; a store whose engine failed in a way
//     that may not be continued (its manifest could not be written) refuses everything from
//     then on and stops deleting files, and the process lives.
//
// Lock order: sweeper.sweepMu, applier.applyMu, Pebble's own, manifests.mu. durability.mu is taken
// with none of them held, and before Pebble's.
//
// The package must not know of RPC framing, replication roles, ballots, or the log; the
// caller decides whether a request may be served and which decree a write gets.
package rrdb
