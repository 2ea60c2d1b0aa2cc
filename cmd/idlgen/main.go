// Command idlgen writes the Go packages of gen/ from the IDL files of idl/.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"pegasus/internal/idlgen"
)

func main() {
	idl := flag.String("idl", "idl", "directory of the .thrift files")
	out := flag.String("out", "gen", "directory below which packages are written")
	flag.Parse()
	if err := run(*idl, *out); err != nil {
		fmt.Fprintln(os.Stderr, "idlgen:", err)
		os.Exit(1)
	}
}

func run(idl, out string) error {
	files, err := idlgen.Generate(idl)
	if err != nil {
		return err
	}
	for name, src := range files {
		path := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make package directory: %w", err)
		}
		if err := os.WriteFile(path, src, 0o644); err != nil {
			return fmt.Errorf("write generated file: %w", err)
		}
	}
	return nil
}
