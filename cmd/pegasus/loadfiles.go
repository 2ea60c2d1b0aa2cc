package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/base/config"
	"pegasus/blob"
	"pegasus/bulkload/build"
	"pegasus/cli"
	"pegasus/rowfile"
)

const loadPlace = "URL is NAME or NAME/ROOT with the name of a store in the configuration file ([blob.NAME]), or file:///DIRECTORY, s3://BUCKET/PREFIX or\n" +
	"hdfs://HOST:PORT/DIRECTORY, with keys of [blob.NAME] behind a ?. The files lie below it in CLUSTER/TABLE, as Apache Pegasus has them: its\n" +
	"start_bulk_load loads them, too."

// bulkloadCmd is for the files of bulk loads.
func bulkloadCmd() *cobra.Command {
	f := &blobFlags{}
	c := &cobra.Command{Use: "bulkload", Short: "Make and check files, and load them into a table", RunE: wantSubcommand}
	with := func(c *cobra.Command, do func(context.Context, *cli.Loads) error) error {
		return f.with(c, func(ctx context.Context, e *cli.Env, set *blob.Set, _ map[string]config.Blob) error {
			return do(ctx, &cli.Loads{Env: e, Set: set, Errs: c.ErrOrStderr()})
		})
	}
	place := func(c *cobra.Command, p *cli.LoadPlace) {
		c.Flags().StringVarP(&p.Table, "table", "t", "", "the table's name")
		c.Flags().StringVar(&p.Cluster, "cluster", "", "the cluster's name")
	}

	var to, from cli.LoadPlace
	var o build.Options
	var text bool
	var memory int
	b := &cobra.Command{Use: "build", Short: "Make the files of a bulk load from JSON lines, CSV or Parquet", Args: wantArgs(0, 0),
		Long: "Make the files of a bulk load from JSON lines, CSV or Parquet, in the form that `pegasus backup export` writes: hash_key, sort_key, value, and if\n" +
			"they are there expires (Unix seconds) and written (Unix microseconds). Keys and values are base64 in JSON lines and CSV (text with escapes with\n" +
			"--text), bytes in Parquet. Rows are sorted with files in --tmp, so that memory is bounded. A row that can't be loaded, or has the keys of\n" +
			"another one, is told with file and line, and nothing is written; with --skip it is left out, and of rows with the same keys the last one counts.\n\n" + loadPlace,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, need := range []struct {
				flag string
				ok   bool
			}{{"from", len(o.From) > 0}, {"to", to.Where != ""}, {"table", to.Table != ""}, {"cluster", to.Cluster != ""}, {"app-id", o.AppID > 0}, {"partitions", o.Partitions > 0}} {
				if !need.ok {
					return fmt.Errorf("--%s is missing; `pegasus table ls` shows ids and partitions, `pegasus bulkload build --help` the rest", need.flag)
				}
			}
			o.Memory = memory << 20
			return with(c, func(ctx context.Context, l *cli.Loads) error { return l.Build(ctx, to, text, o) })
		}}
	place(b, &to)
	b.Flags().StringSliceVar(&o.From, "from", nil, "files with rows; give it several times, or separate names by commas")
	b.Flags().StringVar(&to.Where, "to", "", "URL of the place")
	numberVar(b.Flags(), &o.AppID, "app-id", "", 0, base.Range{Min: 1, Max: math.MaxInt32}, "the table's id")
	numberVar(b.Flags(), &o.Partitions, "partitions", "", 0, base.Partitions, "how many partitions the table has")
	b.Flags().StringVarP(&o.Format, "format", "f", "", "one of "+strings.Join(rowfile.Formats(), ", ")+" (default: by the ends of names)")
	b.Flags().BoolVar(&text, "text", false, "keys and values are text, with escapes: \\xNN, \\n and so on")
	b.Flags().BoolVar(&o.Skip, "skip", false, "leave out rows that can't be loaded, and take the last one of those with the same keys")
	numberVar(b.Flags(), &memory, "memory", "", 256, base.Range{Min: 1, Max: 1 << 20}, "MiB of rows that are sorted in memory")
	b.Flags().StringVar(&o.Temp, "tmp", "", "directory for files of sorted rows, as large as the rows (default: the system's)")

	v := &cobra.Command{Use: "verify URL", Short: "Read all files of a bulk load, and tell what is wrong", Args: wantArgs(1, 1),
		Long: "Read all files of a bulk load: sizes and checksums, and whether each row belongs to its partition. The exit status is 0 if all is right, 2 if\n" +
			"not, 1 if that couldn't be found out.\n\n" + loadPlace,
		RunE: func(c *cobra.Command, a []string) error {
			if from.Table == "" || from.Cluster == "" {
				return errors.New("--table or --cluster is missing: they are directories of the place")
			}
			from.Where = a[0]
			return with(c, func(ctx context.Context, l *cli.Loads) error { return l.Verify(ctx, from) })
		}}
	place(v, &from)
	f.add(b)
	f.add(v)
	c.AddCommand(b, v)
	c.AddCommand(loadCmds()...)
	return c
}
