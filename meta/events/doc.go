// Package events keeps what happened in a cluster lately: the lines of a meta server's log, from level info on.
//
// # What it owns
//
// The last events in memory, and a file of them that outlasts the process. Both are bounded. Each meta has its own:
// the leader's tells of the cluster, and who shows events asks all members.
//
// # Invariants
//
//   - Add never waits for a disk. What can't be written is still kept in memory, and Dropped counts it.
//   - A file that is damaged, or cut short, costs the events that can't be read, and nothing else.
//
// It must not know what the lines are about.
package events
