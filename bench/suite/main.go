package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// rows is how many rows of 1 KB the clusters hold: they fit the caches.
const rows = 100_000

// figure is one measured value: its unit, one value a round, and the bound that it must
// keep, if there is one.
type figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	Median float64   `json:"median"`
	// Bound is the largest permitted median, or the smallest if AtLeast. 0: none.
	Bound   float64 `json:"bound,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`
}

func (f *figure) kept() bool {
	if f.AtLeast {
		return f.Median >= f.Bound
	}
	return f.Median <= f.Bound
}

// results gathers figures in the order in which they first come.
type results struct {
	Figures []*figure `json:"figures"`
}

func (r *results) add(name, unit string, v float64) *figure {
	for _, f := range r.Figures {
		if f.Name == name {
			f.Values = append(f.Values, v)
			return f
		}
	}
	f := &figure{Name: name, Unit: unit, Values: []float64{v}}
	r.Figures = append(r.Figures, f)
	return f
}

func (r *results) most(name, unit string, v, bound float64) { r.add(name, unit, v).Bound = bound }

func (r *results) least(name, unit string, v, bound float64) {
	f := r.add(name, unit, v)
	f.Bound, f.AtLeast = bound, true
}

func (r *results) finish() {
	for _, f := range r.Figures {
		v := slices.Sorted(slices.Values(f.Values))
		f.Median = v[len(v)/2]
		if len(v)%2 == 0 {
			f.Median = (v[len(v)/2-1] + v[len(v)/2]) / 2
		}
	}
}

func (r *results) print() {
	fmt.Printf("%-46s %12s %-8s %-12s %s\n", "figure", "median", "unit", "bound", "least .. most")
	for _, f := range r.Figures {
		bound := ""
		if f.Bound > 0 {
			sign := "<="
			if f.AtLeast {
				sign = ">="
			}
			verdict := "missed"
			if f.kept() {
				verdict = "ok"
			}
			bound = fmt.Sprintf("%s %g %s", sign, f.Bound, verdict)
		}
		fmt.Printf("%-46s %12.4g %-8s %-12s %.4g .. %.4g\n", f.Name, f.Median, f.Unit, bound, slices.Min(f.Values), slices.Max(f.Values))
	}
}

// verdict prints the figures that have a bound once more, by themselves.
func (r *results) verdict() {
	fmt.Printf("\nmust hold: %-36s %12s %s\n", "", "median", "bound")
	for _, f := range r.Figures {
		if f.Bound == 0 {
			continue
		}
		sign, verdict := "<=", "MISSED"
		if f.AtLeast {
			sign = ">="
		}
		if f.kept() {
			verdict = "met"
		}
		fmt.Printf("  %-44s %12.4g %s %g %s: %s\n", f.Name, f.Median, sign, f.Bound, f.Unit, verdict)
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "floor-server" {
		fail(serveFloor())
		return
	}
	var s suite
	only := flag.String("only", "allocations,cpu,mixed,sync,partitions,idle", "cases to run, separated by commas; there are also cost and dup")
	out := flag.String("json", "", "file for the figures")
	flag.StringVar(&s.bin, "bin", "bin/pegasus", "the program to measure")
	flag.IntVar(&s.port, "port", 35601, "first port of the clusters")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds; figures are medians of them")
	flag.DurationVar(&s.time, "time", 4*time.Second, "length of one measurement")
	flag.Parse()
	dir, err := os.MkdirTemp("", "pegasus-suite")
	fail(err)
	s.dir = dir
	err = s.run(strings.Split(*only, ","))
	os.RemoveAll(dir)
	fail(err)
	s.res.finish()
	s.res.print()
	s.res.verdict()
	if *out != "" {
		data, err := json.MarshalIndent(&s.res, "", "  ")
		fail(err)
		fail(os.WriteFile(filepath.Clean(*out), append(data, '\n'), 0o644))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}
