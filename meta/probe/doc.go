// Package probe asks the primary of every partition, again and again, whether it can be read and written, and remembers how much of that
// worked, and how long clients' requests took.
//
// # What it owns
//
// The rounds of questions (round.go), availability by minute, hour and day (tally.go), half an hour of latencies of tables and servers
// (history.go), and the page and metrics that show both (shown.go). All of it is of the time since its meta leads: a new leader begins anew.
//
// # Invariants
//
//   - Nothing is written into tables: a server reads its first row, and commits a mutation without operations.
//   - The load is bounded: one question to a server at a time, one to so many servers at once, a write for each partition only each
//     writeEvery rounds. What is kept is bounded by the tables, partitions and servers that there are.
//   - A partition counts as a client sees it that tries again: it fails if it doesn't work within Options.Timeout, on whichever server
//     leads it meanwhile.
//   - A server that doesn't know the question, being older, is not counted.
//
// It must not know how a replica answers, nor who shows the figures.
package probe
