// Package trace notes when the stages of single requests were reached, from a client to the secondaries.
//
// # What it owns
//
// A Trace, which is one request on one server under an id; the Tracer, which keeps those that ended:
// the last ones, and the slowest since they were forgotten; the block by which a prepare tells a
// secondary what is traced, and an acknowledgement tells the primary when the secondary did what.
//
// # Invariants
//
// A server keeps a bounded number of traces, and a Trace a bounded number of stages. A request that isn't traced
// costs a branch. A block that isn't understood is left out, and the message counts without it.
// Times are of one clock: those of a secondary are told as spans since it had the prepare, and placed
// in the primary's time by halving what the network took.
//
// It must not know package replica, nor how a message is sent.
package trace
