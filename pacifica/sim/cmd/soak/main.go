// Command soak runs the simulator of package pacifica over many seeds, and then looks for each
// planted bug. It exits with 1 if there is a violation, or a planted bug isn't found.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"pegasus/pacifica/sim"
)

func main() {
	seeds := flag.Uint64("seeds", 1000, "how many seeds to run")
	first := flag.Uint64("first", 1, "the first seed")
	bugSeeds := flag.Uint64("bug-seeds", 1000, "how many seeds at most to find a planted bug in; 0 leaves the bugs out")
	bug := flag.String("bug", "", "look only for this planted bug")
	jobs := flag.Int("j", 1, "how many seeds to run at a time")
	tail := flag.Int("trace", 200, "how many lines of the trace of a failing seed to print; 0 is none, -1 all")
	flag.Parse()
	if !soak(os.Stdout, *first, *seeds, *bugSeeds, *bug, *jobs, *tail) {
		os.Exit(1)
	}
}

func soak(out io.Writer, first, seeds, bugSeeds uint64, only string, jobs, tail int) bool {
	violations := 0
	if only != "" {
		seeds = 0
	} else {
		start := time.Now()
		var stats sim.Stats
		stats, violations = run(out, first, seeds, max(1, jobs), tail)
		fmt.Fprintf(out, "%v; covered: %+v\n", time.Since(start).Round(time.Millisecond), stats)
	}
	found, bugs := 0, 0
	for _, b := range sim.Bugs() {
		if bugSeeds == 0 || only != "" && b.Name != only {
			continue
		}
		bugs++
		seed, v := sim.Find(b.Name, first, bugSeeds)
		if v == nil {
			fmt.Fprintf(out, "planted bug %-26s NOT FOUND in %d seeds\n", b.Name, bugSeeds)
			continue
		}
		found++
		fmt.Fprintf(out, "planted bug %-26s found after %4d seeds: %s\n", b.Name, seed-first+1, v.Brief())
		if only != "" && tail != 0 {
			printTrace(out, sim.Options{Seed: seed, Bug: b.Name}, tail)
		}
	}
	fmt.Fprintf(out, "seeds %d, violations %d, planted bugs found %d of %d\n", seeds, violations, found, bugs)
	return violations == 0 && found == bugs
}

// run runs the seeds, jobs at a time, and returns what was covered and how many failed.
func run(out io.Writer, first, seeds uint64, jobs, tail int) (sim.Stats, int) {
	var mu sync.Mutex
	var stats sim.Stats
	violations := 0
	next := first
	var wg sync.WaitGroup
	for range jobs {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				mu.Unlock()
				if seed-first >= seeds {
					return
				}
				s, v := sim.Run(sim.Options{Seed: seed})
				mu.Lock()
				stats.Add(s)
				if v != nil {
					violations++
					fmt.Fprintf(out, "seed %d: %v\n", seed, v)
					if tail != 0 && violations <= 3 {
						printTrace(out, sim.Options{Seed: seed}, tail)
					}
				}
				if n := seed - first + 1; n%1000 == 0 {
					fmt.Fprintf(out, "%d seeds, %d violations\n", n, violations)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return stats, violations
}

// printTrace runs once more and prints the end of the trace.
func printTrace(out io.Writer, opt sim.Options, lines int) {
	t := sim.NewTail(lines)
	opt.Trace = t
	sim.Run(opt)
	fmt.Fprintf(out, "--- trace of seed %d %s\n%s---\n", opt.Seed, opt.Bug, t)
}
