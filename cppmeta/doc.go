// Package cppmeta reads what the meta servers of a C++ cluster know: tables with their settings and partitions, duplications,
// backup policies.
//
// # What it owns
//
// The file of upstream's simple state service (ReadFile), and what the nodes below a cluster's root mean, which are the
// same there and in ZooKeeper (Read). Package cppmeta/zookeeper fetches the nodes from there, package cppmeta/live asks
// meta servers that run.
//
// # Invariants
//
//   - The nodes of a file are those that the C++ server would have after a start. It ignores what follows a torn record at the end, and
//     so it is ignored here, and told. A record that is torn in the middle, with others behind it, is an error with its place.
//   - A table that can't be read is told in State.Problems, and the others are still there.
//   - Sizes that a file claims are believed only as far as there are bytes.
//
// It must not know what becomes of the tables.
package cppmeta
