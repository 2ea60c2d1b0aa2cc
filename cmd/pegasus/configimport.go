package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/base/durable"
	"pegasus/migrate/cppconfig"
)

func configImportCmd() *cobra.Command {
	var o cppconfig.Options
	var out string
	var set []string
	var asJSON, force bool
	c := &cobra.Command{Use: "import FILE", Short: "Make a configuration of a C++ server's config.ini", Args: wantArgs(1, 1),
		Long: "Make a configuration of the config.ini of a C++ server, or of what its page /configs answers (- is standard input), and tell of each\n" +
			"key whether it is taken over, needless here, or not supported, and why. The file passes `pegasus config check`: a value that is\n" +
			"none here is left out and told.\n\n" +
			"Names that whoever deploys the C++ server replaces, %{NAME}, %NAME% or @NAME@, are given with --set. With -o the report goes to\n" +
			"standard output, else to standard error, and the configuration to standard output. The table of all keys: docs/migrating.md.",
		RunE: func(c *cobra.Command, a []string) error {
			switch o.Role {
			case "", "meta", "replica":
			default:
				return fmt.Errorf("--role %q: give meta or replica, or leave it out for both", o.Role)
			}
			variables := map[string]string{}
			for _, s := range set {
				name, v, ok := strings.Cut(s, "=")
				if !ok || name == "" {
					return fmt.Errorf("--set %q: give NAME=VALUE", s)
				}
				variables[name] = v
			}
			if _, err := os.Lstat(out); out != "" && err == nil && !force {
				return fmt.Errorf("--out %s: it is there already; give another name, or --force to write over it", out)
			}
			data, err := readInput(c, a[0])
			if err != nil {
				return err
			}
			keys, warnings, err := cppconfig.Parse(data, variables)
			if err != nil {
				return fmt.Errorf("read %s: %w", a[0], err)
			}
			res, err := cppconfig.Convert(keys, o)
			if err != nil {
				return fmt.Errorf("%s: %w", a[0], err)
			}
			for _, w := range warnings {
				fmt.Fprintf(c.ErrOrStderr(), "warning: %s: %s\n", a[0], w)
			}
			report := c.OutOrStdout()
			if out != "" {
				err = durable.File(out, func(w io.Writer) error { _, err := w.Write(res.TOML); return err })
			} else {
				report = c.ErrOrStderr()
				_, err = c.OutOrStdout().Write(res.TOML)
			}
			if err != nil {
				return fmt.Errorf("write the configuration: %w", err)
			}
			if asJSON {
				return json.NewEncoder(report).Encode(res.Lines)
			}
			return res.WriteReport(report)
		}}
	fl := c.Flags()
	fl.StringVarP(&out, "out", "o", "", "file that the configuration is written to (default: standard output)")
	fl.StringVar(&o.Role, "role", "", "meta or replica: leave out what is for servers of the other role")
	fl.StringVar(&o.Host, "host", "", "address of the server, for meta.listen and replica.listen")
	fl.StringArrayVar(&set, "set", nil, "NAME=VALUE: what %{NAME}, %NAME% and @NAME@ stand for; may be repeated")
	fl.BoolVar(&o.DropDefaults, "drop-defaults", false, "leave out what has upstream's default, so that our default holds")
	fl.BoolVar(&asJSON, "json", false, "write the report as JSON")
	fl.BoolVar(&force, "force", false, "write over a file that is there")
	return c
}

// readInput reads a file, or standard input.
func readInput(c *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(c.InOrStdin(), 64<<20))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return b, nil
	}
	return readRegular(name, func(int64) error { return nil })
}

// readRegular reads a file of a size that may be.
func readRegular(name string, may func(size int64) error) ([]byte, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
	case !st.Mode().IsRegular():
		err = errors.New("it is no regular file")
	default:
		err = may(st.Size())
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return os.ReadFile(name)
}
