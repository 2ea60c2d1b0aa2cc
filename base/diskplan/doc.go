// Package diskplan decides which replicas of a server should be in which of its data directories: a pure function from what
// the directories hold to moves.
//
// # The goal
//
// Room is what a directory has for replicas: the bytes of those it holds, and what is free. In this order:
//
//  1. No directory holds more than a tolerance above its share of all bytes. The share goes by room, so that disks of different
//     sizes are equally full.
//  2. The numbers of replicas follow the same shares, as far as bytes stay within the tolerance.
//
// # Invariants
//
//   - A plan moves each replica at most once, and moves one only where that brings two directories clearly closer to their shares.
//     Carrying plans out and planning again comes to an end.
//   - A directory gets no replica that would leave it less free than it needs, and none unless it is in order.
//   - The same view gives the same plan.
//
// It must not know who moves replicas, nor how.
package diskplan
