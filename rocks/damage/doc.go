// Package damage has the errors of readers of RocksDB's files.
//
// # What it owns
//
// Error (a file that can't be what RocksDB wrote) and Unsupported (a file that may be whole, and uses what the
// readers don't know). Both name the file. A reader that meets either gives no rows after it, so that nobody takes a part for the whole.
//
// It must not know how any file is laid out.
package damage
