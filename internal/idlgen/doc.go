// Package idlgen turns the files under idl/ into the Go packages under gen/.
//
// It owns the mapping from IDL to Go: names, types, which fields are written, and what a
// decoder accepts. It knows nothing of RPC codes, framings or what a struct means. The
// base types of idl/dsn.thrift have hand-written codecs in package base; everything else
// is generated, and the output is a pure function of the IDL. Services make no code: RPC
// codes, not method names, travel, and package gen/registry says what each carries.
package idlgen
