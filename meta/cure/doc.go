// Package cure decides what must be done so that every partition has a living primary and
// its full number of replicas: whom to make primary first, whom to promote when a primary
// died, which dead members to drop, whom to add, and which surplus member to remove. It
// also carries out the steps that an administrator proposed for a partition.
//
// # What it owns
//
// The choice, and the memory that goes with it: which proposals are out, since when, and
// who failed. A Planner is fed with views of the cluster and answers with actions; given
// the same views it gives the same actions.
//
// # Invariants
//
//   - A change never leaves a partition without a member, and never makes a node primary
//     that is no member.
//   - A primary leaves a group only if the view calls it dead; one that lives stays in it
//     as a secondary.
//   - While a change of a partition is being carried out, none other is made for it.
//   - Loads include what is proposed and not yet confirmed, so a round spreads evenly.
//
// It must not know a clock, the network, raft, or who executes its actions. It is not safe
// for concurrent use.
package cure
