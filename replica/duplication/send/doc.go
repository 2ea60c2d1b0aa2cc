// Package send sends what is written to tables here to other clusters, as a Part of a replica server.
//
// # What it owns
//
// The exchange with the meta about duplications, a stream for each replica of a duplicated table, what an entry of the log
// becomes on the way (entries.go), and the copy of a partition that a duplication begins with (copy.go). What
// is sent when is decided by package duplication/ship, whose driver a stream is.
//
// Only writes of this cluster's clients travel. What another cluster sent here isn't sent on, whatever it came by: where more
// than two clusters hold a table, each sends to each. So nothing goes in a circle. What the server writes itself for a
// table's rules doesn't travel either: the other cluster has rules of its own.
//
// # Invariants
//
//   - Each member of a partition holds its log from the confirmed decree on: any of them may lead next. A replica that
//     nobody has told yet what it is to hold, after a start, holds all of it.
//   - Of a partition that isn't a member of the table yet, since it is being split off, all of the log is held, and nobody
//     takes from an answer what the meta was asked before it became one.
//   - A copy has the rows that the store has by its own cut, whatever this server has heard of the table: a row of another
//     partition isn't missing here.
//   - Only a primary that the meta has heard of lately, and whose lease holds, sends: so two of them never do at a time. What the meta
//     tells a primary counts as said to it if its lease holds once the answer is there.
//   - Nothing here waits for another cluster while it holds a lock, nor on a goroutine of the host.
//
// It must not know how the other cluster stores rows, nor whether it is one of ours.
package send
