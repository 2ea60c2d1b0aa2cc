package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
)

func migrateDirsCmd() *cobra.Command {
	f := &transferFlags{}
	d := cli.Dirs{}
	var to, rename []string
	c := &cobra.Command{Use: "dirs DIR... --to METAS --state DIR", Short: "Make tables of the data directories of C++ servers that were stopped", Args: wantArgs(1, -1),
		Long: "Make tables of the data directories of C++ servers that were stopped, in a running cluster. The directories are those that data_dirs names, of\n" +
			"all servers or of so many that each partition is among them. They are read and never changed. Of several replicas of a partition the one with\n" +
			"all that was acknowledged is taken, and differences are told. TTLs are kept; a row's time of writing is that of the migration.\n\n" +
			"If rows are missing, or files are damaged, nothing is written, unless --accept-loss is given. --state is a directory that says how far it is: the\n" +
			"same command goes on there. --dry-run says what is there and needs no cluster.",
		RunE: func(c *cobra.Command, args []string) error {
			f.anyNumber(c)
			if err := checkAddrs("to", to); err != nil {
				return err
			}
			if !d.DryRun && (len(to) == 0 || d.Live.State == "") {
				return errors.New("--to and --state are needed, or --dry-run to see what is there")
			}
			d.Look.Rename = map[string]string{}
			for _, r := range rename {
				from, name, ok := strings.Cut(r, "=")
				if !ok || from == "" || name == "" {
					return fmt.Errorf("--rename %q: write NAME=NEW_NAME or ID=NEW_NAME", r)
				}
				d.Look.Rename[from] = name
			}
			d.Look.Dirs, d.Live.Pace, d.Rejects, d.MaxBad = args, f.args.Pace, f.args.Rejects, f.args.MaxBad
			if len(to) > 0 {
				f.metas = to
			}
			return f.with(c, func(ctx context.Context, x *cli.Transfer) error {
				ctx, stop := withoutTerminal(ctx)
				defer stop()
				d.Transfer = *x
				return d.Run(ctx)
			})
		}}
	f.add(c)
	f.addPace(c)
	f.addBad(c)
	fl := c.Flags()
	fl.StringSliceVar(&to, "to", nil, "addresses of the meta servers of the cluster that gets the tables")
	fl.StringVar(&d.Live.State, "state", "", "directory that says how far it is")
	fl.StringSliceVar(&d.Look.Only, "tables", nil, "names or ids of the tables that are taken (default: all that weren't dropped)")
	fl.StringSliceVar(&rename, "rename", nil, "NAME=NEW_NAME or ID=NEW_NAME: what a table is to be called")
	numberVar(fl, &d.Live.Replicas, "replicas", "r", 0, base.Range{Min: 0, Max: base.Replicas.Max}, "replicas of the tables; 0 is as many as they had")
	numberVar(fl, &d.Live.Partitions, "partitions", "", 4, base.Range{Min: 1, Max: 64}, "partitions that are read at the same time")
	fl.BoolVar(&d.Live.AcceptLoss, "accept-loss", false, "take what can be read where rows are missing or files are damaged")
	fl.BoolVar(&d.DryRun, "dry-run", false, "say what is there, and write nothing")
	return c
}
