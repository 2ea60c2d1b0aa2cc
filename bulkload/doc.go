// Package bulkload is the format of files that are loaded into a table: what lies in a blob store, what it says, and how the rows of
// a partition are read from there and written there. It needs no cluster.
//
// # The format
//
// Upstream's, so that either side loads what the other's tools made (sources: src/meta/meta_bulk_load_service.cpp,
// src/replica/bulk_load/replica_bulk_loader.cpp, idl/bulk_load.thrift, and what pegasus-spark writes):
//
//	[ROOT/]CLUSTER/TABLE/          a Place
//	  bulk_load_info               Info: which table it is for
//	  P/bulk_load_metadata         Metadata: the files of partition P, with sizes and MD5
//	  P/NAME                       a RocksDB table outside of a database
//
// Keys and values of a table are as a replica has them. Of a key that several files of a partition have, the one of the file that stands
// last in Metadata counts: RocksDB takes the files in that order. A partition without rows has a table with the empty key alone,
// which is no row: upstream fails a load where a partition has no file.
//
// # Invariants
//
//   - Rows gives no row that doesn't belong to the partition, or whose key or value a server can't have, and comes to its end without an
//     error only if each file was read whole, with the size and MD5 that Metadata has.
//   - What isn't complete doesn't seem so: bulk_load_info is written last.
//   - An error names the file, and what can be done. Bad tells whether the files are to blame, or the place.
//   - Memory is bounded, whatever the size of a partition: about 2 * WriterOptions.TableSize to write, 16 MiB and 32 KiB a file to read.
//
// It must not know servers, RPCs, nor how a live table is stored.
package bulkload
