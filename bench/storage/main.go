package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// figure is one value; Bound, if it isn't 0, is what it must not exceed.
type figure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
	Bound float64 `json:"bound,omitempty"`
}

type storage struct {
	bin, dir string
	port     int
	bytes    int64
	value    int
	config   string
	progress io.Writer // nil: none
	figures  []figure
}

func (s *storage) add(name, unit string, value float64) { s.most(name, unit, value, 0) }

func (s *storage) most(name, unit string, value, bound float64) {
	s.figures = append(s.figures, figure{name, unit, value, bound})
	fmt.Fprintf(os.Stderr, "%s %s: %.4g %s\n", time.Now().Format("15:04:05"), name, value, unit)
}

func (s *storage) print() {
	fmt.Printf("%-46s %12s %-8s %s\n", "figure", "value", "unit", "bound")
	for _, f := range s.figures {
		bound := ""
		if f.Bound > 0 {
			verdict := "ok"
			if f.Value > f.Bound {
				verdict = "missed"
			}
			bound = fmt.Sprintf("<= %g %s", f.Bound, verdict)
		}
		fmt.Printf("%-46s %12.4g %-8s %s\n", f.Name, f.Value, f.Unit, bound)
	}
}

func main() {
	var s storage
	only := flag.String("only", "ttl,amp", "cases to run, separated by commas")
	out := flag.String("json", "", "file for the figures")
	gb := flag.Float64("gb", 5, "rows to write, 10^9 bytes")
	flag.StringVar(&s.bin, "bin", "bin/pegasus", "the program to measure")
	flag.StringVar(&s.dir, "dir", "", "directory to make the cluster's in; empty: the system's for temporary files")
	flag.IntVar(&s.port, "port", 36601, "first port of the cluster")
	flag.IntVar(&s.value, "value-size", 1024, "size of a value, in bytes")
	flag.StringVar(&s.config, "config", "", "lines for the servers' configuration file, \\n between them")
	progress := flag.Bool("progress", false, "print what the foreground load gets each second")
	flag.Parse()
	if *progress {
		s.progress = os.Stderr
	}
	s.bytes = int64(*gb * 1e9)
	s.config = strings.ReplaceAll(s.config, `\n`, "\n")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := s.run(ctx, strings.Split(*only, ","))
	s.print()
	if *out != "" {
		data, jerr := json.MarshalIndent(s.figures, "", "  ")
		if jerr == nil {
			jerr = os.WriteFile(filepath.Clean(*out), append(data, '\n'), 0o644)
		}
		err = errors.Join(err, jerr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "storage:", err)
		stop()
		os.Exit(1)
	}
}

func (s *storage) run(ctx context.Context, only []string) error {
	cases := map[string]func(context.Context, *box) error{"ttl": s.ttl, "amp": s.amp}
	for _, name := range only {
		f, ok := cases[name]
		if !ok {
			return fmt.Errorf("-only %q is no case: give ttl, amp", name)
		}
		b, err := start(s)
		if err == nil {
			err = f(ctx, b)
			b.stop()
		}
		if err != nil {
			return fmt.Errorf("case %s: %w", name, err)
		}
	}
	return nil
}
