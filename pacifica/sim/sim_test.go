package sim

import (
	"bytes"
	"testing"
)

// runSeed fails the test, with the end of the trace, if the seed breaks an invariant.
func runSeed(t *testing.T, opt Options) Stats {
	t.Helper()
	stats, v := Run(opt)
	if v != nil {
		tail := NewTail(200)
		opt.Trace = tail
		Run(opt)
		t.Fatalf("seed %d: %v\n%s", opt.Seed, v, tail)
	}
	return stats
}

func TestSeeds(t *testing.T) {
	seeds := uint64(400)
	if testing.Short() {
		seeds = 50
	}
	var all Stats
	for seed := uint64(1); seed <= seeds; seed++ {
		all.Add(runSeed(t, Options{Seed: seed}))
	}
	t.Logf("%+v", all)
	// A model in which nothing happens finds nothing.
	for what, n := range map[string]int{"acknowledged writes": all.Acked, "reads": all.Reads, "crashes": all.Crashes, "promotions": all.Promotions,
		"moves": all.Moves, "joins": all.Joins, "removals": all.Removals, "installed checkpoints": all.Installs, "lost disks": all.Wipes, "splits": all.Splits} {
		if n < int(seeds)/4 {
			t.Errorf("%d %s in %d seeds", n, what, seeds)
		}
	}
}

func TestSameSeedSameRun(t *testing.T) {
	var a, b bytes.Buffer
	sa := runSeed(t, Options{Seed: 7, Trace: &a})
	sb := runSeed(t, Options{Seed: 7, Trace: &b})
	if sa != sb || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("%+v, then %+v", sa, sb)
	}
	if sa.Events < 1000 {
		t.Errorf("%+v", sa)
	}
}

// The bugs in the model's server and meta need no special build.
func TestBugInModelIsFound(t *testing.T) {
	for _, bug := range []string{"grace-below-lease", "meta-promotes-anyone", "log-keeps-void"} {
		seed, v := Find(bug, 1, 1000)
		if v == nil {
			t.Errorf("%s was not found", bug)
			continue
		}
		t.Logf("%s: seed %d: %v", bug, seed, v)
	}
}

func TestTail(t *testing.T) {
	x := NewTail(2)
	for _, s := range []string{"a\nb\nc\n", "d", "e\nf\ng\nh\n", "rest"} {
		if n, err := x.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := x.String(); got != "g\nh\nrest" {
		t.Errorf("%q", got)
	}
}
