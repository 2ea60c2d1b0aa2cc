// Package metalink is a replica server's tie to the meta servers.
//
// # What it owns
//
// The lease under which the server may serve; beacons, config syncs and other requests to the
// meta leader, and finding out who leads; the cluster's identity as the metas tell it, and which
// messages of other servers are refused for it; the time of day that the metas and this machine agree on.
//
// # Invariants
//
//   - A lease that ran out is resumed only after a config sync whose answer the host took.
//   - The identity is in all data directories that work before anything is done in its name.
//   - A server with an identity takes nothing from metas of another one.
//   - Nothing counts as expired, for good, while the clocks disagree.
//
// It must not know what a replica is, nor what the host does with what the metas say: it hands
// reports and answers through (Host), and the host keeps the identity (Keeper).
package metalink
