package config

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is how a replica server's memory is divided. What is left of Total is for what has no
// limit of its own: the windows of mutations under way, the index of the log, the stores'
// tables of files, connections, and garbage that isn't collected yet.
type Memory struct {
	Total     int64
	Cache     int64 // of data blocks
	Memtables int64
	InFlight  int64 // requests that are read and not answered, and their answers
}

// Of a hundred parts of the memory.
const (
	cachePart     = 30
	memtablesPart = 25
	inFlightPart  = 10
	// maxParts is what the three may take together.
	maxParts = 80
)

const minMemory = 128 << 20

// MemoryOf divides the memory of a replica server on a machine that has so much. An explicit
// part stays what it is; if the total isn't given, it grows to hold the parts.
func (c *Config) MemoryOf(machine int64) Memory {
	m := Memory{Total: c.Replica.Memory, Cache: c.Storage.BlockCacheBytes, Memtables: c.Storage.MemtablesBytes}
	if m.Total == 0 {
		m.Total = max(machine/4, minMemory)
		if need := (m.Cache + m.Memtables) / (maxParts - inFlightPart) * 100; need > m.Total {
			m.Total = need
		}
	}
	if m.Cache == 0 {
		m.Cache = m.Total / 100 * cachePart
	}
	if m.Memtables == 0 {
		m.Memtables = m.Total / 100 * memtablesPart
	}
	m.InFlight = min(c.RPC.MaxInFlightBytes, max(m.Total/100*inFlightPart, 1<<20))
	return m
}

// checkMemory refuses parts that don't fit into the whole.
func (c *Config) checkMemory() (problem, fix string) {
	switch total, parts := c.Replica.Memory, c.Storage.BlockCacheBytes+c.Storage.MemtablesBytes; {
	case total != 0 && total < minMemory:
		return fmt.Sprintf("%d is too little", total), fmt.Sprintf("write at least %d (128 MiB), or 0 for a quarter of the machine's memory", minMemory)
	case total != 0 && parts > total/100*(maxParts-inFlightPart):
		return fmt.Sprintf("%d holds no more than %d for storage.block_cache_bytes and storage.memtables_total_bytes, which are %d together", total, total/100*(maxParts-inFlightPart), parts),
			"raise it, or lower those; 0 there is a share of it"
	}
	return "", ""
}

// MachineMemory returns how much memory this process can have: the machine's, or less if its
// control group is limited. 0 if that can't be told.
func MachineMemory() int64 {
	total := int64(0)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		total = memTotal(string(b))
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && (total == 0 || n < total) {
			total = n
		}
	}
	return total
}

// memTotal reads /proc/meminfo.
func memTotal(text string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n > 0 && n < 1<<50 {
				return n << 10
			}
		}
	}
	return 0
}
