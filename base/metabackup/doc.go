// Package metabackup is the file that `pegasus meta backup` writes and `pegasus meta restore`
// reads: the state of a cluster's metas at one moment, with where it comes from, under one
// checksum.
//
// Invariant: a file that is cut short or has a bit changed is never taken for a whole one.
// The package must not know what a state is.
package metabackup
