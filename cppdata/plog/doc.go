// Package plog reads the private logs of C++ replica servers: the files log.<index>.<start> in the directory plog of a replica.
//
// # What it owns
//
// The layout of a file, its checksums, and of mutations in it; which files belong together. A file is a sequence of blocks, little-endian:
//
//	u32 0xdeadbeef, u32 length of the body, u32 checksum, u32 not looked at; the body
//
// A checksum is the CRC-32C of all bodies of the file up to this one. The first body is the file's header: u32 0xdeadbeef, u32
// version 1, i64 start, u32 count, and for each partition i32 table, i32 index, i64 largest decree in all files before, i64 offset
// before which nothing is valid. The other bodies are mutations, one after another:
//
//	i64 version 0 (old releases: something above 64, and no timestamp), i32 table, i32 index, i64 ballot, i64 decree,
//	i64 offset of the mutation in the log, i64 last decree that the primary had committed, i64 timestamp, i32 count of updates,
//	for each i32 length and name of the request, i32 serialization, i32 length of its argument; then the arguments
//
// Offsets in the log go on from file to file: a file's name says where it starts.
//
// # Invariants
//
//   - A mutation is given only if its block is whole, its checksum right, and its offset that of its place.
//   - A last block that isn't whole, with nothing behind it, is a torn end, as a power failure leaves it, and no error; so are zeros up
//     to the end. Anything else that isn't a log is an error with file and offset, and the mutations before it have been given.
//   - Memory is bounded by the largest block, and by what is left of a file behind a block that isn't whole.
//
// Nothing is written. It must not know what requests mean, nor which mutations count (package cppdata does).
package plog
