package sim

import (
	"bytes"
	"testing"

	psim "pegasus/pacifica/sim"
)

func TestSeeds(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 50
	}
	var all Stats
	for seed := uint64(1); seed <= seeds; seed++ {
		stats, v := Run(Options{Seed: seed})
		if v != nil {
			tail := psim.NewTail(120)
			Run(Options{Seed: seed, Trace: tail})
			t.Fatalf("seed %d: %s\n%s", seed, v.Brief(), tail)
		}
		all.Add(stats)
	}
	t.Logf("%+v", all)
	// A model in which nothing happens finds nothing.
	for what, n := range map[string]int{"writes": all.Writes, "batches": all.Batches, "lost batches": all.Lost, "failed batches": all.Failed, "doubled batches": all.Doubled,
		"primaries": all.Leads, "crashes": all.Crashes, "cuts": all.Cuts, "logs without room": all.Yields, "bootstraps": all.Boots, "swept rows": all.Swept, "pauses": all.Pauses, "removals": all.Removals,
		"changes of lanes": all.Reshapes, "cuts of the source": all.Cuttings, "children": all.Children, "primaries that stood still": all.Stills, "losses": 10 * all.Losses, "skipped decrees": all.SkippedDecrees, "skipped operations": all.SkippedOps} {
		if n < int(seeds)/10 {
			t.Errorf("%d %s in %d seeds", n, what, seeds)
		}
	}
}

func TestSameSeedSameRun(t *testing.T) {
	var a, b bytes.Buffer
	sa, _ := Run(Options{Seed: 7, Trace: &a})
	sb, _ := Run(Options{Seed: 7, Trace: &b})
	if sa != sb || !bytes.Equal(a.Bytes(), b.Bytes()) || sa.Events < 500 {
		t.Errorf("%+v, then %+v", sa, sb)
	}
}
