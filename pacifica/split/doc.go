// Package split is the protocol by which a partition becomes two, as pure functions and a pure
// state machine: who refuses which rows from when on, when a member may make its share of the child,
// and when the meta may be asked to register the child.
//
// # The protocol
//
// A table of N partitions gets 2N. The child of partition P is partition P+N; it gets the rows whose
// hash has the remainder P+N when it is divided by 2N. The others stay with the parent. Each
// parent switches by itself, in these steps:
//
//  1. The meta orders the switch. It persists the order before anyone hears of it, and from
//     then on this parent can't be paused and the table's split can't be canceled. Before, nothing exists
//     but the meta's wish, so that to cancel it leaves nothing behind.
//  2. The primary proposes a mutation of its own kind, the cut, with the count 2N. The decree that it
//     gets, D, divides the history of the partition: up to D it has the rows of both halves, after D the
//     rows of the child's half don't change any more. To apply the cut is to write a Mark
//     (the count, D, its timestamp) into the store. The Mark is of the store as its rows are: it
//     survives what they survive, and comes with a checkpoint.
//  3. The primary asks each member of its configuration, and itself, for the child. A member whose
//     store has the Mark makes it, whenever it gets to it: it copies its store by hard links,
//     and gives the copy the decree D. What the copies hold of the child's half is the same
//     on all members, because it is what the partition had at D. What they hold of the parent's
//     half differs, and is hidden. The child is durable before the member says that it holds it.
//  4. Once every member of the configuration holds the child, the primary asks the meta to register it: the
//     same members, the same primary, the first ballot. The meta does so in one command, if the parent's
//     configuration still is the one that the primary names, and the child is not registered yet. It
//     is the only step that makes the child a partition, and it is taken once.
//  5. The child's primary serves the child's half. Parent and child forget the rows of the other's half, in the
//     background.
//
// Every step but the fourth can be repeated by anyone, any number of times. Whoever is the primary looks where
// the partition stands (Parent.Next), so that it doesn't matter who took the steps before, and
// whether he still lives.
//
// # Invariants
//
// The simulator (pacifica/sim) checks them, and breaks each rule on purpose:
//   - No mutation after D writes a row of the child's half, under any ballot. A primary proposes nothing
//     of it once it has proposed the cut, or its store has the Mark (Parent.Owns). A new primary
//     proposes nothing before its store has all that it inherited (pacifica: Serving), so
//     that it sees the Mark if the cut precedes what it proposes.
//   - A read of the child's half is answered from a store without the Mark only. As the child is registered by
//     a parent's primary that has the Mark, and is the only one that may answer reads, no
//     read that begins after the child took a write returns what was before.
//   - The child holds, on each of its first members, all that was acknowledged of its half. That is
//     so because D is committed when there is a Mark, and each copy has the Mark: that the store had it when it was
//     asked isn't enough, it may have been replaced since.
//   - Rows of the child's half leave the parent's store only after the child is registered. A member that
//     makes the child copies first, then asks the meta, and uses the copy only if the meta says that the
//     child isn't registered: then nobody had removed a row when the copy was made.
//   - The child is made on a server only if it isn't there, and nothing else makes it there meanwhile. So
//     a replica that was a member, and made promises, is never made again from the parent.
//   - A child that was made and isn't among the registered members is a replica that the meta doesn't list. It holds
//     what is right up to D, as a member that was taken out does, and has promised nothing.
//
// The package must not know stores, disks, messages, or how a meta persists.
package split
