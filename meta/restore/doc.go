// Package restore makes tables of cold backups: the meta's side.
//
// # What it owns
//
// The requests about restores, what replica servers report of the partitions that they restore, and the
// decision whether a restore goes on, is done, or has failed. What must outlast a leader is in package state
// (state.Restoration); what a leader hears of progress it forgets.
//
// # How a partition gets its first replica
//
// A restore begins as a table whose partitions never had a member, with upstream's settings restore.*, and a
// record that says that it runs (state.StartRestore, one entry of the log). From then on:
//
//  1. The planner asks a server to become the first primary of a partition (CT_ASSIGN_PRIMARY, ballot 0), as for any new table. The
//     settings in that proposal say that the partition is to be restored.
//  2. The server makes the partition's store out of the backup (package replica/restore), in a folder for scratch files, and reports each
//     second how far it is. It is the only one that is asked as long as it does so (Service.Seed).
//  3. Once all rows were read, with all checksums right, and the store is durable, it is moved to its place: a replica
//     that is no member, under ballot 0, whose store holds decree 1 (replica/restore.Decree), and whose log begins behind that.
//  4. The server asks to be made the primary, with that decree as committed: an entry of the log makes it so, at ballot 1.
//  5. Secondaries are added as ever. The primary's log has nothing at decree 1 or before, so each gets a checkpoint.
//
// # Why no empty replica ever serves such a partition
//
// While the restore runs, the State itself refuses a first configuration that doesn't say that decree 1 is committed
// (state.NeedsSeed). A server that made an empty replica has none: one of an older program, or one that was asked before the settings
// were there. Decrees begin with 1, so a member that holds decree 1 holds what was restored, and the rule that nobody is
// promoted or stays a member who lacks what is committed (meta/cure) holds for the restored rows as for any write. A learner
// has decree 0 and gets all of it. With skip_bad_partition a partition may begin without rows; the record has that
// partition, and the reason, before the server may make the store (state.SkipPartition).
//
// A server whose store is ready, and which isn't made the primary because another one was faster, removes its replica as soon as it
// hears so: from the meta's answer, or from the new primary, which wants it as a learner. Its decree 1 could hold other
// rows than the primary's if one of the two skipped the partition, so it is never compared: it begins anew, empty.
//
// # A kill at each step
//
//   - While the store is made: the scratch folder is emptied when the server starts. It is asked again, or another one is.
//   - Between 3 and 4, or before the answer of 4 arrives: the replica is there when the server starts, and says so in its configuration sync.
//     Either the meta lists it as the primary, and it is one; or it is asked again and answers at once; or somebody else is.
//   - The log is begun anew before the move, and forgets replicas without a directory when the server starts.
//   - Of a meta: the record and the configurations are in the State. A new leader waits a moment for reports (warmUp) before it asks anybody.
//
// # How it ends
//
// When every partition had a member the restore is done, and the settings restore.* are of no more effect: they aren't sent with
// proposals, and a partition that is lost and made anew later begins empty. If the backup is bad (and bad partitions aren't to be
// skipped), or a partition failed maxTries times for other reasons, one entry of the log drops the table and notes the reason. A table that is
// dropped, and recalled before all its partitions were there, goes on being restored (state.RecallTable).
//
// It must not know how a store is made, nor how the planner chooses.
package restore
