// Package boottime is a clock that no setting moves and that goes on while the machine is
// suspended. Leases are measured with it: the monotonic clock of package time stands still in a
// suspend (CLOCK_MONOTONIC), so who wakes up would believe that no time had passed.
//
// It owns how that clock is read cheaply, on each answer of a read. Linux has it as
// CLOCK_BOOTTIME, which Go reads only by a system call, at six times the price of time.Now. What
// time.Now tells, the wall clock and the monotonic one, is enough to see that a suspend has been:
// the kernel moves the wall clock on, at the same moment, by as much as the boot clock. So Now
// adds to the monotonic clock by how much the boot clock was ahead of it, as long as the wall clock
// is where it was seen from the monotonic one, and asks the kernel again if it isn't.
//
// Invariants: what Now returns is at most tolerance off; if somebody sets the wall clock back by as
// much as a suspend took before Now is called again, until Refresh is called. Owners of leases call
// Refresh about once a second.
//
// No clock of a virtual machine tells that its host has stopped it without telling it:
// docs/decisions.md, "Leases on a clock that counts suspends".
package boottime
