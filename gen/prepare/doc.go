// Package prepare is the body of RPC_PREPARE and the mutation in it, the one RPC whose
// body is no single Thrift value: gpid and replica_configuration, each in a pseudo struct
// of its own, then a mutation in the packed little-endian layout of upstream's private
// log. The same mutation layout travels in the meta of an LT_CACHE learn answer.
//
// It owns these bytes only. What a mutation means, and when one may be applied, is other
// packages' business.
package prepare
