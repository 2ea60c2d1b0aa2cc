// Package judge says what clients can do with a partition, a table, a cluster or its quorum of
// metas now, with which safety, why, and what a person should do. It is the only place where that
// is decided: commands, pages, metrics and errors show its verdicts.
//
// # What it owns
//
// The words, and the rules that lead from facts to a verdict. Facts are plain structs that the
// caller fills in from what it knows; a verdict is a plain struct, too. The same facts give the
// same verdict.
//
// # Invariants
//
//   - Nothing that isn't known is said to be in order: then the verdict is Unsure.
//   - Whoever is not Healthy has a reason.
//   - What a person has to do stands beside the reason for it. Where the cluster helps itself there
//     is nothing to do, and the reason says what is waited for.
//   - A reason names who is meant (a server, a disk), not who noticed.
//
// It must not know a clock, the network, the state of the metas, or who shows the verdict.
package judge
