// Package bulkload loads files into tables: the meta's side.
//
// # What it owns
//
// The requests about loads, the look at the files before a load begins, and the decision what the members of each
// partition are told (idl/load.thrift). What must outlast a leader is in package state (state.BulkLoad); how far each member is a
// leader hears anew.
//
// # How a partition gets its rows
//
//  1. Before anything is begun, the leader reads bulk_load_info, and what each partition has, as far as that takes seconds (check.go). A load whose files are
//     missing, damaged or another table's is refused, and nothing is left of it. One entry of the log begins it (state.StartBulkLoad).
//  2. Each member of each partition is asked to prepare its set of rows, again and again: whoever becomes a member later, too. Once
//     all members of a partition have sets with one digest, the partition is ready (state.PartReady).
//  3. Once all partitions are ready the load takes; until then no row of any partition is seen, and a load that fails or is canceled
//     leaves the table as it was. Some partitions at a time: an entry of the log says so (state.PartTaking), from then on the primary
//     is told to take the set, whoever it is, until it says that it did, by whatever order. It refuses as long as a member lacks the set.
//  4. Once all took, or the load failed or was canceled, the members forget what they have of it. Then the load ends, and what came of it is kept
//     until it is cleared, or the next load of the table.
//
// # Invariants
//
//   - Everything that a step relies on is in the State: a new leader goes on where the last one was. What members say of their sets it asks anew.
//   - A partition whose sets differ is never taken: the load fails.
//   - Nothing takes that wasn't noted as taking. What was noted as taking, and not as taken, when the load failed or was canceled, may have been taken or not:
//     once all members have forgotten their sets its primary says which, and what took keeps its rows.
//   - While a table is loading it isn't dropped, split, duplicated or balanced (state.MayLoad, meta's balancer), and it isn't begun while such a thing goes on.
//   - A store is never asked with a lock held, nor without a deadline.
//
// It must not know how a replica server makes a set, nor how it is taken.
package bulkload
