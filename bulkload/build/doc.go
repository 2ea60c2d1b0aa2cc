// Package build makes the files of a bulk load out of rows in JSON lines, CSV or Parquet, without Spark.
//
// # What it owns
//
// Sorting such rows by partition and key with files where memory doesn't suffice, and telling of each row that can't be
// loaded where it stands.
//
// # Invariants
//
//   - Either all rows are written, or nothing is left at the place, unless bad rows are to be skipped.
//   - Memory is bounded by Options.Memory, one row of at most 64 MiB, and what bulkload.Writer needs. Parquet needs a page of each column more.
//   - Of rows with the same keys the last one counts, by the order of the files and in them. Each is told unless skipped.
//
// It must not know how files of rows are read (package rowfile), nor how those of a load are laid out (package bulkload).
package build
