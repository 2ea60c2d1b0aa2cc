// Package local keeps files in a directory, in the form of upstream's local_service: beside each
// file NAME stands .NAME.meta, a JSON object with its size and MD5. A directory that
// a C++ cluster wrote is read, and the reverse.
//
// Invariants: a file is written under a hidden name, synced, read back from the disk and compared, and
// then renamed; its side file is renamed last, since a file without one doesn't count as written. So
// a crash leaves the new file or none. The root is never created: a disk that isn't mounted is an error.
package local
