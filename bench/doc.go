// Package bench loads a table and measures: how many operations a second, how long each
// takes, what they cost the servers; and checks afterwards that what was acknowledged is
// there.
//
// It owns the rows it writes (a row's key and value follow from its index and the seed, so
// that another run can check them), the ways of offering load, and the report. Invariants:
//   - no goroutine and no allocation of its own for each operation: answers start the next
//     operation from the connection's reader goroutine;
//   - with a rate given, an operation's latency counts from when it was due, not from when
//     it could be sent (no coordinated omission);
//   - an index is recorded as acknowledged only after the server's answer.
package bench
