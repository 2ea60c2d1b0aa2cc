// Package detector decides which replica servers live. It is the meta's half of a lease:
// a replica server stops serving when no beacon of its was acknowledged for the lease,
// counted from when it sent it; the meta calls it dead after the longer grace without a
// beacon, counted from when it received the last one. Both clocks are monotonic, so a node
// that is called dead has stopped serving before.
//
// # What it owns
//
// When each node was last heard of, whether it lives, and the holds: while a decision that
// rests on a node's death is being carried out, the node's beacons are not acknowledged,
// so it can't serve under a configuration that is just being replaced.
//
// # Invariants
//
//   - Alive nodes never become dead but by Tick (grace over), Died (proved otherwise) or Left (on
//     the word of the process, which serves no more, and is never taken for alive again).
//   - A dead node lives again by a beacon, never while it is held.
//
// It must not know a clock (now is passed in, as time since some fixed moment), a socket,
// tables or partitions. It is not safe for concurrent use.
package detector
