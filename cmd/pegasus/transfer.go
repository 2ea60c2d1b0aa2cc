package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/base/logging"
	"pegasus/blob/stores"
	"pegasus/cli"
	"pegasus/client"
	"pegasus/rowfile"
)

const filePlace = "A file is a path, a URL (file:///DIRECTORY/NAME, s3://BUCKET/NAME, hdfs://HOST:PORT/DIRECTORY/NAME, with keys of [blob.NAME] behind a ?),\n" +
	"or - for a stream."

// transferFlags are those of commands that move rows.
type transferFlags struct {
	clientFlags
	config string
	choice cli.ChoiceArgs
	args   cli.CopyArgs
}

func (f *transferFlags) addConfig(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", os.Getenv("PEGASUS_CONFIG"), "configuration file with the stores (default from PEGASUS_CONFIG)")
}

func (f *transferFlags) addChoice(c *cobra.Command) {
	f.addEscape(c)
	c.Flags().StringVar(&f.choice.HashFilter, "hash-filter", "", "only rows whose hash keys match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	c.Flags().StringVar(&f.choice.SortFilter, "sort-filter", "", "only rows whose sort keys match prefix:TEXT, postfix:TEXT or anywhere:TEXT")
	numberVar(c.Flags(), &f.choice.Parallel, "partitions", "", 4, base.Range{Min: 1, Max: 64}, "partitions that are read at the same time")
}

func (f *transferFlags) addPace(c *cobra.Command) {
	fl := c.Flags()
	fractionVar(fl, &f.args.Rows, "rate", 0, 0, 1e9, "rows that are written a second; 0: as many as go")
	numberVar(fl, &f.args.Pace.Parallel, "parallel", "", 256, base.Range{Min: 1, Max: 10000}, "writes on their way at the same time")
	durationVar(fl, &f.args.Patience, "patience", 5*time.Minute, 0, "for how long a write that fails is tried again")
}

func (f *transferFlags) addBad(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.args.Rejects, "rejects", "", "file for the rows that can't be written, as JSON lines with the reason")
	numberVar(fl, &f.args.MaxBad, "max-bad", "", 0, base.Range{Min: -1, Max: math.MaxInt64}, "how many rows may be left out before the command ends; -1: any number")
}

// anyNumber: where bad rows are kept, any number of them is left out, unless it is said.
func (f *transferFlags) anyNumber(c *cobra.Command) {
	if f.args.Rejects != "" && !c.Flags().Changed("max-bad") {
		f.args.MaxBad = -1
	}
}

func (f *transferFlags) with(c *cobra.Command, do func(context.Context, *cli.Transfer) error) error {
	cfg := config.Default()
	if f.config != "" {
		var err error
		if cfg, err = config.Load(f.config); err != nil {
			return err
		}
	}
	set := stores.New(cfg.Blob, logging.New(cfg.Log, c.ErrOrStderr()))
	defer set.Close()
	return f.clientFlags.with(c, func(ctx context.Context, e *cli.Env) error {
		return do(ctx, &cli.Transfer{Env: e, Set: set, Errs: c.ErrOrStderr(), Progress: f.progress(c), In: c.InOrStdin()})
	})
}

func importCmd() *cobra.Command {
	f := &transferFlags{}
	var a cli.ImportArgs
	var comma string
	c := &cobra.Command{Use: "import FILE... TABLE", Short: "Write the rows of files into a table: JSON lines, CSV, Parquet", Args: wantArgs(2, -1),
		Long: "Write the rows of files into a table. Files are as `pegasus export` writes them: columns hash_key, sort_key, value, and if they are there\n" +
			"expires (Unix seconds); keys and values in JSON lines and CSV as --encoding says, bytes in Parquet. Files with other columns are read\n" +
			"with --hash-key and the like: templates with {COLUMN} for what a column has, and {*} for a JSON object of all columns, for example\n" +
			"--hash-key 'user:{id}' --sort-key '{country}/{city}' --value '{*}' --ttl seconds.\n\n" +
			"Of rows with the same keys the last one counts. A row that can't be written is told with its file and line; the first one ends the\n" +
			"command, unless --max-bad or --rejects is given. With --state the same command goes on where it was ended. The exit status is 2 if rows\n" +
			"were left out.\n\n" + filePlace,
		RunE: func(c *cobra.Command, args []string) error {
			a.Files = args[:len(args)-1]
			a.Pace, a.Rejects = f.args.Pace, f.args.Rejects
			f.anyNumber(c)
			a.MaxBad = f.args.MaxBad
			if comma != "" {
				r, n := utf8.DecodeRuneInString(comma)
				if comma == "\\t" {
					r, n = '\t', len(comma)
				}
				if n != len(comma) || r == '"' || r == '\r' || r == '\n' || r == utf8.RuneError {
					return fmt.Errorf("--delimiter %q: give one character, or \\t", comma)
				}
				a.Read.Comma = r
			}
			return f.with(c, func(ctx context.Context, x *cli.Transfer) error { return x.Import(ctx, args[len(args)-1], a) })
		}}
	f.add(c)
	f.addConfig(c)
	f.addPace(c)
	f.addBad(c)
	fl := c.Flags()
	fl.StringVarP(&a.Format, "format", "f", "", "one of "+strings.Join(rowfile.Formats(), ", ")+" (default: by the ends of names)")
	fl.StringVar(&a.Encoding, "encoding", "base64", "how keys and values are written in JSON lines and CSV: one of "+strings.Join(cli.Encodings(), ", ")+"; text has escapes like \\xNN")
	fl.StringVar(&a.Mapping.HashKey, "hash-key", "", "template of the hash key")
	fl.StringVar(&a.Mapping.SortKey, "sort-key", "", "template of the sort key (default: it is empty)")
	fl.StringVar(&a.Mapping.Value, "value", "", "template of the value (default: {*})")
	fl.StringVar(&a.Mapping.Expires, "expires", "", "column with the Unix seconds at which a row expires")
	fl.StringVar(&a.Mapping.TTL, "ttl", "", "column with the seconds that a row lives")
	fl.StringSliceVar(&a.Read.Columns, "columns", nil, "names of the columns of CSV files whose first line is a row")
	fl.StringVar(&comma, "delimiter", "", "what stands between the columns of CSV files (default: a comma)")
	fl.StringVar(&a.State, "state", "", "file that says how far the import is, so that the same command goes on there")
	fl.BoolVar(&a.DryRun, "dry-run", false, "read and check all rows, and write none")
	return c
}

func exportCmd() *cobra.Command {
	f := &transferFlags{}
	var a cli.ExportArgs
	c := &cobra.Command{Use: "export TABLE FILE", Short: "Write the rows of a table into files: JSON lines, CSV, Parquet", Args: wantArgs(2, 2),
		Long: "Write the rows of a table into a file, which appears when it is whole; with --split into a file for each partition, in a directory: the\n" +
			"same command goes on with those that are missing. Rows that are written meanwhile are there as they were or as they are: for a\n" +
			"table as it was at one moment use `pegasus backup`. `pegasus import` reads what is written.\n\n" + filePlace,
		RunE: func(c *cobra.Command, args []string) error {
			a.ChoiceArgs, a.To = f.choice, args[1]
			return f.with(c, func(ctx context.Context, x *cli.Transfer) error { return x.Export(ctx, args[0], a) })
		}}
	f.add(c)
	f.addConfig(c)
	f.addChoice(c)
	fl := c.Flags()
	fl.StringVarP(&a.Format, "format", "f", "", "one of "+strings.Join(rowfile.Formats(), ", ")+" (default: by the end of the name, else jsonl)")
	fl.StringVar(&a.Encoding, "encoding", "base64", "how keys and values are written in JSON lines and CSV: base64, hex or text; text has escapes like \\xNN")
	fl.BoolVar(&a.Split, "split", false, "FILE is a directory, with a file for each partition")
	return c
}

func copyCmd() *cobra.Command {
	f := &transferFlags{}
	var to []string
	c := &cobra.Command{Use: "copy TABLE TABLE_THERE", Short: "Write the rows of a table into another one, of this or another cluster", Args: wantArgs(2, 2),
		Long: "Write the rows of a table into another one, which must be there and may have another number of partitions. What it has besides stays.\n" +
			"Expiries are kept. Rows that are written meanwhile may be missing: to move a table that is used, see `pegasus migrate table`.",
		RunE: func(c *cobra.Command, args []string) error {
			f.args.ChoiceArgs = f.choice
			f.anyNumber(c)
			for _, m := range to {
				if err := config.CheckAddr(m); err != nil {
					return fmt.Errorf("--to: %w; write host:port; separate several addresses with commas", err)
				}
			}
			return f.with(c, func(ctx context.Context, x *cli.Transfer) error {
				there := x.Client
				if len(to) > 0 {
					there = client.New(to, client.Options{Timeout: f.timeout, Who: who()})
					defer there.Close()
				}
				return x.Copy(ctx, args[0], there, args[1], f.args)
			})
		}}
	f.add(c)
	f.addChoice(c)
	f.addPace(c)
	f.addBad(c)
	c.Flags().StringSliceVar(&to, "to", nil, "addresses of the meta servers of the other cluster (default: the same cluster)")
	c.Flags().StringVar(&f.args.State, "state", "", "file that says how far the copy is, so that the same command goes on there")
	return c
}

func clearCmd() *cobra.Command {
	f := &transferFlags{}
	c := &cobra.Command{Use: "clear TABLE", Short: "Remove rows of a table", Args: wantArgs(1, 1),
		Long: "Remove the rows of a table that match --hash-filter and --sort-filter, or all with --all.",
		RunE: func(c *cobra.Command, args []string) error {
			f.args.ChoiceArgs = f.choice
			return f.with(c, func(ctx context.Context, x *cli.Transfer) error { return x.Clear(ctx, args[0], f.args) })
		}}
	f.add(c)
	f.addChoice(c)
	f.addPace(c)
	c.Flags().BoolVar(&f.args.All, "all", false, "remove all rows of the table")
	return c
}
