// Package cluster runs a whole cluster of server processes for a test: package onebox in a
// temporary directory, and the means to kill, restart and look at single servers of it.
//
// Invariants: every wait has a deadline and polls a condition; only processes that this package
// started are ever signalled, by pid; everything listens on 127.0.0.1; what a failed test leaves
// behind (the servers' logs) is printed.
package cluster
