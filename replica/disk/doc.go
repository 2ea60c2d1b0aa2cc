// Package disk looks after the data directories of a replica server.
//
// # What it owns
//
// The layout of a data directory and its log handle; the file that says whose and which it is; its free
// space and its state; the trash, and what is moved aside; when a directory that failed is opened
// again, and when a replica that failed is; what operators see of all that, and may do about it.
//
// # Invariants
//
//   - A directory of another cluster, server or newer version is not used.
//   - A directory that another one of the server remembers is not made anew unless an administrator says so.
//   - A directory is there, with its id, before another one says that it is.
//   - No two of a server are the same one, under whatever names.
//   - A log takes no writes once the disk that it is on isn't mounted any more.
//   - A replica's directory is renamed before anything of it is removed, so it is there whole or not at all.
//   - A directory that was given up is not opened again before a restart.
//   - A log is opened again only while no replica uses it, and on a disk that keeps what is written to it.
//
// It must not know package replica, nor what is in a replica's directory: the server is a Host,
// which closes and opens its replicas.
package disk
