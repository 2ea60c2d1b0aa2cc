// Package stat writes rows about the cluster into one of its tables, as Apache Pegasus' collector does: scripts that read them go on working.
//
// It owns the rows' form (rows.go, from upstream's src/server/available_detector.cpp, info_collector.cpp and src/shell/command_helper.h) and
// the queue of those that aren't written yet.
//
// Invariants: it writes into the table that the configuration names and into no other; a row that can't be written is tried again for a
// while, and then given up with a line in the log; the queue is bounded. It must not know how availability and use are measured.
package stat
