// Command soak runs the simulator of package ship over many seeds, and then looks for each planted
// bug. It exits with 1 if there is a violation, or a planted bug isn't found.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"pegasus/duplication/ship/sim"
	psim "pegasus/pacifica/sim"
)

func main() {
	seeds := flag.Uint64("seeds", 1000, "how many seeds to run")
	first := flag.Uint64("first", 1, "the first seed")
	bugSeeds := flag.Uint64("bug-seeds", 1000, "how many seeds at most to find a planted bug in; 0 leaves the bugs out")
	tail := flag.Int("trace", 200, "how many lines of the trace of a failing seed to print; 0 is none, -1 all")
	flag.Parse()
	if !soak(os.Stdout, *first, *seeds, *bugSeeds, *tail) {
		os.Exit(1)
	}
}

func soak(out io.Writer, first, seeds, bugSeeds uint64, tail int) bool {
	violations := 0
	var all sim.Stats
	start := time.Now()
	for seed := first; seed < first+seeds; seed++ {
		stats, v := sim.Run(sim.Options{Seed: seed})
		all.Add(stats)
		if v == nil {
			continue
		}
		violations++
		fmt.Fprintf(out, "seed %d: %s\n", seed, v.Brief())
		if tail != 0 && violations <= 3 {
			t := psim.NewTail(tail)
			sim.Run(sim.Options{Seed: seed, Trace: t})
			fmt.Fprintf(out, "--- trace of seed %d\n%s---\n", seed, t)
		}
	}
	fmt.Fprintf(out, "%v; covered: %+v\n", time.Since(start).Round(time.Millisecond), all)
	found, bugs := 0, 0
	for _, b := range sim.Bugs() {
		if bugSeeds == 0 {
			break
		}
		bugs++
		seed, v := sim.Find(b.Name, first, bugSeeds)
		if v == nil {
			fmt.Fprintf(out, "planted bug %-26s NOT FOUND in %d seeds\n", b.Name, bugSeeds)
			continue
		}
		found++
		fmt.Fprintf(out, "planted bug %-26s found after %4d seeds: %s\n", b.Name, seed-first+1, v.Brief())
	}
	fmt.Fprintf(out, "seeds %d, violations %d, planted bugs found %d of %d\n", seeds, violations, found, bugs)
	return violations == 0 && found == bugs
}
