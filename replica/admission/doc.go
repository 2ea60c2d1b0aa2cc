// Package admission says who may ask a replica what, and how much.
//
// # What it owns
//
// The rules that a table's settings make for its requests (Rules): denied clients, checked
// hashes, throttles by requests and by bytes. The requests that a throttle keeps waiting
// (Gate). The sizes of what is written (Sizes). What secondaries say of the room on their
// disks (PeerRoom).
//
// # Invariants
//
// A request of a table without rules costs one look at a nil pointer. A request that waits
// costs the memory of its bytes and no goroutine; the memory of all of them is bounded. Each
// request that is taken from the caller is answered, given back by Gate.Run, or dropped where
// upstream drops it.
//
// It must not know package replica, roles, ballots, or the configuration file: whoever makes a
// Gate gives it Options.
package admission
