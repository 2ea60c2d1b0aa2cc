// Package engine is what the stores of a server share: the caches, the memory budget of
// memtables, compaction slots, and the pacing of I/O. It also holds the file system that each
// store's Pebble works on.
//
// A store joins an Engine before it opens its Pebble (Join, Member.Configure), tells its Member
// of what happens to its memtables, and leaves before Pebble is closed. The engine knows a store
// as the interface Store.
//
// Invariants:
//   - memtables of all stores together keep to one budget: above it the largest are flushed,
//     far above it writes wait, but never for long;
//   - at most as many compactions run as there are slots;
//   - urgent work (somebody waits for it, memory is short) is never held up by the pacing;
//   - once a store has failed, its Pebble changes no file any more (Guard).
//
// Lock order: a store's own locks, Pebble's mutex, then those of this package. Nothing here calls
// a store or Pebble with a lock of its own held, but for GetAllowedWithoutPermission.
//
// It must not know of rows, decrees, expiry, or what a store is asked for.
package engine
