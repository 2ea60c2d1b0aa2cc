// Package table reads RocksDB's block-based tables (.sst files).
//
// # What it owns
//
// The layout of a table: footer, metaindex, properties, index of one or two levels, data blocks, their checksums and
// compression. Format versions 2 to 6; checksums CRC32c, xxHash, xxHash64 and XXH3; blocks that are plain or compressed
// with snappy, zlib, LZ4, LZ4HC or zstd, also with a dictionary of the table's. RocksDB's own files in testdata say what each looks like.
//
// # Invariants
//
//   - A block is used after its checksum was compared, never before.
//   - What isn't known is refused by Open (damage.Unsupported): range tombstones, other comparators, other formats. An entry
//     of an unknown type ends the iteration. Nothing is skipped.
//   - An iterator keeps one window of the file, one data block and one block of the index. A Reader keeps the block that
//     RocksDB keeps, too: the index of one level, or the top of two (about 1 % of the table, and less than Options.MaxBlock).
//   - Entries of an iterator rise: user keys up, sequence numbers of one key down.
//
// It must not know what rows mean, nor which tables belong together: rocks does that.
package table
