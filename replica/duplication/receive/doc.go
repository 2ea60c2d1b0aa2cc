// Package receive lets the writes of other clusters in: the side of a duplication that receives.
//
// A request with such writes goes the way of a client's write: package rrdb evaluates it, and one
// mutation carries all that can be applied. It is answered with success even if some can't, as
// upstream's sender ends its process when it is told that a write is invalid, and repeats it for ever
// after other errors: what is left out is counted and logged here. A request whose writes belong to several
// partitions, or are too large for one mutation, is taken apart and sent on (divide.go).
//
// # What it owns
//
// The request, the number that this cluster's own writes carry, the metrics and lines of the log about
// what is received.
//
// # Invariants
//
//   - Nothing is refused for what is in it, if it can be decoded at all.
//   - What belongs elsewhere goes there, once: what was sent on isn't sent on again.
//   - What is left out, though no later write is there, is counted, and an operator can read why.
//   - Neither a number of this cluster nor a write of another one gets into a mutation before the
//     cluster's version allows it.
//
// It must not know what a mutation is made of (rrdb does), nor how another cluster decides what to send.
package receive
