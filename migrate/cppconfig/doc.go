// Package cppconfig makes a configuration of ours of that of a C++ server.
//
// # What it owns
//
// How the C++ server reads its configuration file, and the table that says what becomes of each of its keys. The same table makes
// the list in docs/migrating.md.
//
// # Invariants
//
//   - Every key of the input is in the report, with what became of it and why.
//   - The TOML that is made passes the check of base/config: a value that it refuses is left out and reported.
//   - Each key of the table that is taken over names a key of base/config.
//
// It must not know servers: it reads no file but what it is given, and connects to nothing.
package cppconfig
