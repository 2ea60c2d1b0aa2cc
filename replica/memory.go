package replica

import (
	"os"
	"runtime/debug"
)

// limitMemory has the collector work harder before the process outgrows its budget, unless the
// environment says otherwise. A process is a little larger than what the collector counts: its
// program, and what the system holds for it.
func (s *Server) limitMemory() {
	c := s.cfg
	s.log.Infof("memory: %d MiB; of these for blocks %d, memtables %d, requests %d", c.Replica.Memory>>20, c.Storage.BlockCacheBytes>>20,
		c.Storage.MemtablesBytes>>20, c.RPC.MaxInFlightBytes>>20)
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := c.Replica.Memory / 100 * 95
	if engineOutside {
		limit = max(limit-c.Storage.BlockCacheBytes-c.Storage.MemtablesBytes, limit/4)
	}
	debug.SetMemoryLimit(limit)
}
