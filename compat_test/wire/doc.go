// Package wire speaks Pegasus' two RPC framings for tests that must see, or spoil, every byte.
//
// It is deliberately not built on our own rpc package: what a test sends and how it reads an
// answer must not share the mistakes of the server under test. The layouts are upstream's: THFT
// header versions 0 and 1 (big endian) with a length-prefixed answer, and rDSN's 192-byte header
// (little endian). Bodies are left as bytes; gen/registry knows what is in them.
package wire
