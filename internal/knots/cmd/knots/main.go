// Command knots fails where files of a package call each other in a circle, or where a type
// has too many fields or methods. See package pegasus/internal/knots.
package main

import (
	"flag"
	"fmt"
	"os"

	"pegasus/internal/knots"
)

func main() {
	tags := flag.String("tags", "", "build `tags`, with commas between")
	fields := flag.Int("fields", 30, "most fields of a struct type, 0: any number")
	methods := flag.Int("methods", 60, "most methods of a type, 0: any number")
	files := flag.Bool("files", true, "look at the calls between files")
	verbose := flag.Bool("v", false, "list all calls between files")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: knots [flags] PACKAGE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	bad, err := run(*tags, *fields, *methods, *files, *verbose, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if bad {
		os.Exit(1)
	}
}

func run(tags string, fields, methods int, files, verbose bool, patterns []string) (bad bool, err error) {
	pkgs, err := knots.Load(tags, patterns...)
	if err != nil {
		return false, err
	}
	const many = 1 << 30
	if fields == 0 {
		fields = many
	}
	if methods == 0 {
		methods = many
	}
	for _, p := range pkgs {
		for _, l := range p.Large(fields, methods) {
			bad = true
			fmt.Printf("%s: %s: type %s has %d fields and %d methods\n", p.Path, l.Where, l.Name, l.Fields, l.Methods)
		}
		if !files {
			continue
		}
		calls := p.Calls()
		if verbose {
			for _, c := range calls {
				fmt.Printf("%s: %s -> %s %v\n", p.Path, c.From, c.To, c.Funcs)
			}
		}
		for _, k := range knots.Knots(calls) {
			bad = true
			fmt.Printf("%s: %s\n", p.Path, k)
		}
	}
	return bad, nil
}
