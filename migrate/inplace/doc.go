// Package inplace makes data directories of replica servers of ours out of those of C++ servers, while no server of either runs.
//
// # What it owns
//
// Which server and which of its directories gets each partition, the steps, and how a run that was ended goes on. Which tables and replicas are
// taken package dirs has decided. Servers that start on the directories hold all tables, and `pegasus recover` has fresh metas take them.
//
// The steps: look whether the directories are empty, or of the same job; mark them as being filled; make each partition, the same rows
// in as many servers as the table has replicas; mark them as complete.
//
// # Invariants
//
//   - The C++ files are read, and never touched (package cppdata).
//   - Tables keep their ids, settings and times; rows their expiries and timetags; a partition goes on behind its decree, under a ballot above all
//     that one of its C++ replicas has taken part in.
//   - A replica appears in a directory by one rename, complete and durable, its log included. What was begun before is made anew.
//   - No server starts on a directory before every partition is in every one (package replica/stored), and a directory that was completed isn't written any more.
//   - Who goes on has the same tables, replicas, servers and directories, or is refused.
//   - Nothing is written if rows are missing, unless that is accepted; then it is told, also by later runs.
//
// Rows that have long expired are left out, and those that a split left in the wrong partition.
//
// It must not know flags and terminals.
package inplace
