// Package auth proves who is at the other end of a connection.
//
// It owns the cluster secret, and what a server of the cluster says before its first frame, by which it
// proves that it has it. What is proven is an acl.Principal of the connection; package acl decides what that may do.
//
// # The proof of the secret
//
// Who connects begins, and the server answers before any framing:
//
//	client  "PEER", a version (1 byte: 1), a count of keys (1 byte), an id of each (8 bytes), a nonce (32 bytes)
//	server  a version (1), a status (1 byte), the id of the key that it chose (8), its nonce (32), its proof (32)
//	client  its proof (32)
//
// An id is the first 8 bytes of HMAC-SHA-256(key, "pegasus peer id"). A proof is HMAC-SHA-256 with the key of
// "pegasus peer server" or "pegasus peer client", and both nonces, the client's first. A key is SHA-256 of a
// secret. With a status other than 0 (1: no key in common) the server's ids, nonce and proof are zero, and it closes the
// connection.
//
// Invariants:
//   - the secret isn't sent, nor logged, nor shown; a proof is of use for one connection only;
//   - both sides prove it; proofs are compared in constant time;
//   - what a stranger sends costs a bounded time and no memory to speak of.
//
// What follows is neither encrypted nor signed: who can change what is on its way can take a connection over
// after the proof. The package must not know what requests mean.
package auth
