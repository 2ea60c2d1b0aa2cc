// Package base is the shared vocabulary of a Pegasus cluster: partition ids, node
// addresses, error codes, the names of all RPCs, the partition hash, the encodings of row keys; and what an error
// says of what it was met at: whether it may pass (Passing, Shortage).
//
// It owns the spelling of these things on the wire and nothing else: no socket, no
// disk, no clock, no goroutine. Every other package may import it; it imports only its
// own sub-package tbin, the Thrift binary primitives.
package base
