// Package split doubles the partitions of a table while it is used. Package pacifica/split has the protocol; here is what
// the meta does in it: it remembers how far each partition is (meta/state), has some of them at a time switch, and registers their
// children.
//
// # Invariants
//
//   - Everything that a step relies on is in the State: a new leader goes on where the last one was.
//   - A partition is ordered to switch when it has all its members, and they live. From then on its primary is
//     told so again and again, whoever it is, until the child is registered.
//   - A child that isn't registered is never assigned, moved or cured: it has no members.
//
// It must not know how a replica server makes a child.
package split
