package metrics

import (
	"bytes"
	"os"
	"runtime"
	runtimemetrics "runtime/metrics"
	"strconv"
	"time"
)

// SetProcess adds what every process has: its memory, and since when it runs.
func (e *Entity) SetProcess(started time.Time) {
	resident, virtual := memory()
	e.Set(ResidentMem, resident)
	e.Set(VirtualMem, virtual)
	heap := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtimemetrics.Read(heap)
	if heap[0].Value.Kind() == runtimemetrics.KindUint64 {
		e.Set(HeapBytes, int64(heap[0].Value.Uint64()))
	}
	e.Set(Goroutines, int64(runtime.NumGoroutine()))
	e.Set(UptimeSeconds, int64(time.Since(started).Seconds()))
}

// memory reads the process's resident and virtual size in bytes; 0 where there is no /proc.
func memory() (resident, virtual int64) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0
	}
	f := bytes.Fields(b)
	if len(f) < 2 {
		return 0, 0
	}
	page := int64(os.Getpagesize())
	v, _ := strconv.ParseInt(string(f[0]), 10, 64)
	r, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return r * page, v * page
}
