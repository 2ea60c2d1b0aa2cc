// Package balance decides where the replicas and primaries of all tables should be: a pure
// function from a view of the cluster to moves.
//
// # The cost of a placement
//
// In this order, each no worse for the sake of a later one:
//
//  1. Nodes that are being taken out hold nothing, those about to be restarted no primary.
//  2. The replicas of a partition are in as many racks as they can be.
//  3. The replicas of each table differ by at most one between nodes, then all replicas do.
//  4. The primaries of each table differ by at most one, then all primaries do.
//  5. No node holds more than a tolerance above the mean of bytes.
//  6. No node carries more than a tolerance above the mean of load.
//
// Among moves that serve equally the one is taken that evens the bytes, and that relieves the
// fullest disk.
//
// Load is looked at once all else is in order, and evened by moves that leave the counts as even as they are: changes of
// primaries where they do, then copies. A plan has no more of these moves than it is told, begins only when a node is above the
// tolerance, and makes only those that gain clearly more than the noise of what is measured.
//
// # Invariants
//
//   - A plan makes the cost less, or has no move: carrying plans out and planning again comes
//     to an end.
//   - A partition's number of replicas never falls, and no node holds two replicas of one.
//   - The same view gives the same plan.
//
// It must not know a clock, who carries moves out, or which of them are under way: whoever
// makes the view counts those as done, and fixes their partitions.
package balance
