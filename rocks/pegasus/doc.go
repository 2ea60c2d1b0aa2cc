// Package pegasus says what a RocksDB directory of Apache Pegasus means.
//
// # What it owns
//
// The layout of values (data versions 0, 1 and 2), the column family of what a replica knows of itself, rows as Pegasus' clients see them,
// and the file .app-info.
//
// # Invariants
//
//   - A key or value that Pegasus doesn't write is an error that names it. The empty key, which a replica writes for a mutation without
//     effect, is no row.
//   - Rows are as they lie there: expired ones, too. Who reads says what time it is.
//
// It must not know how tables are laid out (rocks does), nor where a replica's directory lies.
package pegasus
