//go:build cgo

package replica

// engineOutside: the engine allocates its cache and memtables by the C library, where the
// collector does not see them.
const engineOutside = true
