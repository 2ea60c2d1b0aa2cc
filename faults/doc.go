// Package faults runs a real cluster of server processes, hurts it in every way it knows,
// and checks that nothing was lost: histories of every key are checked for
// linearizability, scans for rows that must be there, and all replicas for equality.
//
// # What it owns
//
// The sandbox (a network namespace for each server, so that single directions of single
// links can be cut), the servers' processes, the nemeses and their schedule, the load and
// its history, the checks, and what is printed. The command in cmd/faults parses flags.
//
// # Invariants
//
//   - An operation is tried once. Its outcome is one of: done, surely not done, unknown; an
//     unknown one may take effect at any later moment.
//   - Times in a history are of one monotonic clock, of a process that is never hurt.
//   - What is chosen (nemeses, targets, operations) follows from the seed; when things
//     happen doesn't, since processes and disks take the time they take.
//   - A nemesis that destroys data runs alone, on a whole cluster, and the cluster is whole
//     again before the next: losing two copies of three is nobody's fault.
//   - Only processes that this package started are signalled, and none outlives it.
//
// It knows servers by their command line, their wire and the JSON of their remote commands,
// never by their packages' insides.
package faults
