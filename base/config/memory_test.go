package config

import "testing"

func TestMemoryOf(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name                              string
		total, cache, memtables, inFlight int64
		machine                           int64
		want                              Memory
	}{
		{"a quarter of the machine", 0, 0, 0, 256 << 20, 16 * gib, Memory{4 * gib, 4 * gib / 100 * 30, 4 * gib / 100 * 25, 256 << 20}},
		{"a small machine", 0, 0, 0, 256 << 20, gib, Memory{gib / 4, gib / 400 * 30, gib / 400 * 25, gib / 400 * 10}},
		{"unknown machine", 0, 0, 0, 256 << 20, 0, Memory{128 << 20, (128 << 20) / 100 * 30, (128 << 20) / 100 * 25, (128 << 20) / 100 * 10}},
		{"a budget", 2 * gib, 0, 0, 256 << 20, 64 * gib, Memory{2 * gib, 2 * gib / 100 * 30, 2 * gib / 100 * 25, 2 * gib / 100 * 10}},
		{"explicit parts in a budget", 2 * gib, gib, 1 << 20, 1 << 20, 64 * gib, Memory{2 * gib, gib, 1 << 20, 1 << 20}},
		{"explicit parts alone", 0, 7 * gib, 0, 256 << 20, 4 * gib, Memory{7 * gib / 70 * 100, 7 * gib, 7 * gib / 70 * 100 / 100 * 25, 256 << 20}},
	} {
		cfg := Default()
		cfg.Replica.Memory, cfg.Storage.BlockCacheBytes, cfg.Storage.MemtablesBytes, cfg.RPC.MaxInFlightBytes = c.total, c.cache, c.memtables, c.inFlight
		if got := cfg.MemoryOf(c.machine); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestCheckMemory(t *testing.T) {
	for _, c := range []struct {
		total, cache, memtables int64
		ok                      bool
	}{
		{0, 1 << 40, 1 << 40, true}, {1 << 30, 0, 0, true}, {1 << 20, 0, 0, false},
		{1 << 30, 500 << 20, 200 << 20, true}, {1 << 30, 700 << 20, 200 << 20, false},
	} {
		cfg := Default()
		cfg.Replica.Memory, cfg.Storage.BlockCacheBytes, cfg.Storage.MemtablesBytes = c.total, c.cache, c.memtables
		if problem, _ := cfg.checkMemory(); (problem == "") != c.ok {
			t.Errorf("%+v: %q", c, problem)
		}
	}
}

func TestMemTotal(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       24000000 kB\nMemFree: 1 kB\n": 24000000 << 10, "": 0, "MemTotal: x kB\n": 0, "MemTotal: 1 MB\n": 0, "MemTotal: -5 kB": 0,
	} {
		if got := memTotal(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
