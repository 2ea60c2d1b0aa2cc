// Package backup makes the cold backups of a server's replicas, when the meta asks for them.
//
// # What it owns
//
// The requests RPC_COLD_BACKUP and RPC_CLEAR_COLD_BACKUP, what became of each backup that was asked for, how many are made at a time,
// and their pace. A backup is made of a checkpoint of the replica, which is read beside the store and removed in the end; how it lies in a blob store is package
// backup's (at the top of the module).
//
// # Invariants
//
//   - A request begins a backup or says how far it is: asked twice, it does nothing twice. What is complete in the blob store,
//     whoever wrote it, is answered with ERR_OK.
//   - A backup has exactly the rows of one decree that are live when the checkpoint is made. Once that is there, neither the replica's role nor
//     its end changes anything.
//   - The meta is told why a backup failed.
//   - A checkpoint exists only while it is read, lies where the start of the server removes what is left, and goes when its disk gets short of room.
//   - Every backup ends: with the server, when it is cleared, or when nobody has asked for it in a while.
//
// It must not know package replica, nor how the meta chooses replicas.
package backup
