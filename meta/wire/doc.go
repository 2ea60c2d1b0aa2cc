// Package wire turns what the metas know into the structs that clients and tools read, and
// their names of nodes into addresses.
//
// It owns the form of a table, of a partition's configuration and of a node's name in an
// answer. It is pure: it must not know who asks, who leads, or which nodes live.
package wire
