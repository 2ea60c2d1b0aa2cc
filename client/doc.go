// Package client is our own Go client: tables, rows, scans and the cluster's
// administration. The CLI, the load generator and the tests use it.
//
// It owns finding the leading meta server, the cache of a table's partitions, and the
// rules for trying again. Invariants:
//   - a call ends by its deadline, with the last thing that went wrong in its error;
//   - a write whose fate is unknown (no answer came) is sent again only if doing it twice
//     is the same as doing it once and Options.NoResend doesn't forbid it; otherwise its
//     error says so (Error.Unknown);
//   - no goroutine and no buffer is held for a call in flight: answers are handled on the
//     connections' reader goroutines;
//   - what the caller passes in isn't read after the call returned, and what it gets is
//     its own.
//
// It knows servers only by what they say on the wire.
package client
