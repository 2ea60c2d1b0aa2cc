// Package rocks reads and writes directories of RocksDB databases.
//
// # What it owns
//
// What a directory says as a whole: CURRENT names the manifest, the manifest names tables, and their entries merged are the rows of
// a column family. And the writer of such a directory, which RocksDB opens.
//
// # Invariants
//
//   - Rows are those that RocksDB would show: of a key the write with the newest sequence number, no row where that is a deletion.
//     Anything that could hide or change rows and isn't understood is an error: range tombstones, merges, blob files, a write-ahead log with rows.
//   - Open compares the tables' names and sizes with the manifest. An iterator compares each block's checksum, the ends of each
//     table with the manifest, and the number of entries it saw with the table's own.
//   - Memory is bounded by how many tables overlap at a key, never by the size of a database: see Options.ReadAhead.
//   - The writer names CURRENT last: a directory that was cut off while it was written is no database.
//
// It must not know what keys and values mean: rocks/pegasus does. It knows files by Dir and Sink, so that a directory may lie
// anywhere.
package rocks
