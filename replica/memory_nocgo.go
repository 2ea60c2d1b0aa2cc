//go:build !cgo

package replica

// engineOutside: the engine allocates its cache and memtables from the collector's memory.
const engineOutside = false
