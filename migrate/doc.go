// Package migrate moves a table to another cluster while it is used.
//
// # What it owns
//
// The order of the steps, the condition under which each is done, and what is undone when something goes wrong:
//
//	check    both clusters, the table, its name there
//	begin    the source duplicates the table to the other cluster, which makes it there
//	copy     until all rows that were there are sent, and few mutations are behind
//	refuse   the source denies writes (replica.deny_client_request)
//	drain    until the other cluster has confirmed all that the source has committed
//	verify   both have the same rows
//	done     clients are switched by their owner; Finish ends the duplication
//
// # Invariants
//
//   - Nothing is remembered but by the clusters: the duplication says that a migration is under way and to where, the
//     setting that writes are denied. So a run that was killed at any point is gone on with by another one.
//   - Who refuses writes allows them again if the rest fails, within Options.MaxRefused. A run that finds them refused
//     already leaves that as it is: clients may use the other table by then.
//   - Abort leaves the source as it was. A table in the other cluster is dropped only if asked, and if it was
//     made after the duplication, and so by it.
//
// It must not know how clusters are talked to (package migrate/live), nor how anything is shown.
package migrate
