// Package rpc is the network layer of a server: one listener that speaks THFT (header
// versions 0 and 1), rDSN's native framing and HTTP, told apart by a connection's first
// four bytes, and a pool of multiplexed client connections.
//
// It owns sockets, frames, buffers and limits. It knows RPC names only as names: what a
// body means, who may send it and which errors are answered is the handlers' business, so
// it imports base, metrics and nothing above.
//
// Invariants:
//   - one reader goroutine a connection; a Handler runs on it and must not block for long;
//   - a Request is answered exactly once (Reply..., Drop), from any goroutine, at any time,
//     also when its connection is gone; until then Body stays valid, afterwards nothing of
//     the Request may be touched;
//   - whatever a peer sends, at worst its own connection is closed;
//   - what may take much memory has it before it is made: an answer as it grows, a frame as it
//     arrives; servers of the cluster have memory and connections that clients can't take;
//   - an idle connection holds no buffer and no goroutine but its reader;
//   - an answer with ERR_OK always has a body.
package rpc
