// Package registry knows which types every RPC code carries, so that tests and tools can
// decode any frame without being told what it is.
//
// It owns the table of codes and nothing else. Servers don't need it: a handler knows its
// own types.
package registry
