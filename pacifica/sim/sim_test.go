package sim

import (
	"bytes"
	"os"
	"testing"
)

func TestSeeds(t *testing.T) {
	var all Stats
	for seed := uint64(1); seed <= 4000; seed++ {
		stats, v := Run(Options{Seed: seed})
		all.Add(stats)
		if v != nil {
			var b bytes.Buffer
			Run(Options{Seed: seed, Trace: &b})
			os.WriteFile("/tmp/simtrace", b.Bytes(), 0o644)
			t.Fatalf("seed %d: %v", seed, v)
		}
	}
	t.Logf("%+v", all)
}
