// Package rowfile is files of rows for programs that know nothing of Pegasus: JSON lines, CSV and Parquet. It writes and reads them.
//
// # What it owns
//
// The columns, and how each form has them:
//
//	column     JSON lines           CSV                   Parquet (snappy)
//	partition  number               number                INT32
//	hash_key   base64, or text      base64, or text       BYTE_ARRAY
//	sort_key   likewise             likewise              BYTE_ARRAY
//	value      likewise             likewise              BYTE_ARRAY
//	expires    Unix seconds;        Unix seconds;         optional INT64, TIMESTAMP(MILLIS, UTC);
//	           absent: never        empty: never          null: never
//	written    Unix microseconds;   Unix microseconds;    optional INT64, TIMESTAMP(MICROS, UTC);
//	           absent: unknown      empty: unknown        null: unknown
//
// Base64 is RFC 4648's with padding. Text is what the command line shows: printable UTF-8 as it is, \\, \n, \r, \t, and \xNN for the rest.
// The first line of CSV has the names of the columns, lines end with a line feed.
//
// # Invariants
//
//   - Any bytes come out as they went in: base64 and text can both be turned back.
//   - Rows are written and read as they come, in bounded memory: a row of MostRow, and of Parquet a group of rows (32 MiB as we write them) or a page of each column.
//   - A row that can't be read is a *BadRow with its place, and the next one is read; any other error ends the file.
//
// A file with other columns is read by a Mapping, which makes keys and values of them.
//
// It must not know where rows come from or go to.
package rowfile
