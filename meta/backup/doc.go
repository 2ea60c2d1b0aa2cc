// Package backup is the meta's part in cold backups: when one begins, which replica server writes which
// partition, and what becomes of it.
//
// # What it owns
//
// Upstream's requests about backup policies and backups of one table, our own that list, cancel and delete backups, the
// page /meta/backup_policy, and the metric of policies. What outlasts a leader is in package state; what a
// backup's files are, and how they are written, is package backup's (at the top of the module).
//
// # Invariants
//
//   - A backup that was begun ends: completed, failed with a reason, or cancelled. A new leader goes on with it: what
//     servers have written they answer for, and the rest is asked for anew.
//   - A backup is completed in the State only after its backup_info is written, and that only after every partition
//     of its tables is there.
//   - A table is in one backup at a time.
//   - The files of a backup that isn't completed are removed, again and again until none is left. Those of one that a
//     restore reads are not.
//   - No lock is held while the Leader is called, a server is asked or a file is written, but for the one by which
//     changes of policies follow each other.
//
// # How it is built
//
// core.go has what all stand on; due.go says when a policy begins a backup, in pure functions. assign.go chooses servers
// and asks them, drive.go drives a backup from begin to end, clean.go removes one, round.go starts all of that.
// policies.go, oneshot.go, admin.go, pages.go answer requests. service.go registers.
//
// It must not know how rows are stored, nor how a replica server makes a backup.
package backup
