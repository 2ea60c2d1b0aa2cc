// Package version is what the members of a cluster agreed to write.
//
// A cluster has one Version. It stands in the metas' state, begins with what the first leader
// understood, and is only ever raised, by an operator (`pegasus meta upgrade-version`), once
// every member understands the new one. A program reads what any Version up to Newest
// wrote, and writes only what the cluster's Version allows. So members can be upgraded one
// after the other, and taken back to the program they had before, as long as the Version
// isn't raised.
//
// # What it owns
//
// The Versions and the one table that says from which on a Feature may be written or sent.
//
// # Invariants
//
//   - A Version is never given another meaning once a release understands it.
//   - Who meets what is of a newer Version than Newest stops, and says so. It never skips it.
//
// It must not know what a Feature is made of: the packages that write it do.
package version
