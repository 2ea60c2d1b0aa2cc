// Package manifest reads and writes RocksDB's MANIFEST and CURRENT: which column families a database has, and which tables each has on
// which level.
//
// # What it owns
//
// The framing of records, the encoding of version edits, and the version that a sequence of edits gives.
//
// # Invariants
//
//   - A version is that of the whole file: a record that is cut off or damaged is an error, never the end.
//   - A field that changes what rows there are and isn't known is refused: blob files, timestamps in keys. What RocksDB itself marks as safe
//     to ignore is ignored.
//   - Tables of level 0 are in the order newest first; those of other levels rise and don't overlap.
//
// It must not know what is in a table.
package manifest
