// Package backup is the format of cold backups: what files a backup has in a blob store, what they
// say, and how the rows of a partition are written there and read from there. It needs no cluster.
//
// # The format
//
// Upstream's, so that either side restores what the other backed up (sources: src/common/backup_common.*,
// src/replica/replica_backup.cpp, replica_restore.cpp, src/meta/meta_backup_service.cpp, backup_engine.cpp). Below the root of
// the store lies
//
//	[PATH/]CLUSTER[/POLICY]/ID/                     a backup; ID is its start, Unix milliseconds
//	  backup_info                                   Info: the backup is complete
//	  TABLE_APPID/meta/app_metadata                 the table
//	  TABLE_APPID/meta/app_backup_status            Status: the table is complete
//	  TABLE_APPID/meta/pegasus_manifest.json        TableManifest, ours
//	  TABLE_APPID/P/current_checkpoint              the name of the next directory: the partition is complete
//	  TABLE_APPID/P/chkpt_HOST_PORT/                a RocksDB directory
//	    backup_metadata                             Metadata: its files, with sizes and MD5
//	    pegasus_manifest.json                       Manifest, ours: rows, digest, decree
//
// Upstream's servers don't look at the files that are ours: they read what backup_metadata names.
//
// # Use
//
// A server that has a partition's rows at one decree writes them with WritePartition, if Current says
// that nobody has done so yet. The meta begins with WriteTable, and ends with FinishTable for each table and
// Finish. Whoever reads a partition uses OpenPartition, and Reader for its rows.
//
// # Invariants
//
//   - What isn't complete doesn't seem so: current_checkpoint is written after all of its partition,
//     backup_info after all of the backup, and Delete removes backup_info first.
//   - A Reader that came to its end without an error has seen each file of the partition whole, with the size and MD5
//     that backup_metadata has, and the number of rows and the digest of the manifest if there is one.
//   - An error names the file in the store, and what can be done. Damaged tells whether the backup is to blame, or the place.
//   - Memory is bounded, whatever the size of a partition: about 3 * WriteOptions.TableSize to write, 16 MiB to read.
//
// It must not know servers, RPCs, nor how a live table is stored.
package backup
