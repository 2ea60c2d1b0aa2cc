// Package observe counts what clients do with the replicas of a server, finds the hash keys
// that they ask for most, and logs reads that take long or answer much.
//
// # What it owns
//
// The counters of each replica (Replica), with capacity units as upstream counts them; the
// detection of hot keys, by RPC, remote command and metric (package hotkey); the slow log. It
// takes what a request touched from package rrdb, and never decodes a request to count it.
//
// # Invariants
//
// Counting allocates nothing and waits for nobody. The log gets a bounded number of lines,
// whatever clients do. Keys are left out of the log if the operator wants that.
//
// It must not know package replica, roles, decrees, or the configuration file: whoever makes
// an Observer gives it Options.
package observe
