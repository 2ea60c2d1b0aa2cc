package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"pegasus/base"
	"pegasus/cli"
	"pegasus/gen/bulkload"
)

// loadCmds are the commands of `bulkload` that ask a cluster.
func loadCmds() []*cobra.Command {
	var a cli.BulkLoad
	f := &clientFlags{}
	start := &cobra.Command{Use: "start TABLE", Short: "Load files into a table of a cluster while it is used", Args: wantArgs(1, 1),
		Long: "Load files into a table of a cluster while it is used. Each server reads the files of its partitions; when all of them have, the partitions\n" +
			"take the rows, and writes of a partition wait meanwhile. Until then the load can be paused and canceled, and leaves the table as it was.\n" +
			"Rows of the files take the place of those that are there; with --ingest-behind those that are there are kept.",
		RunE: func(c *cobra.Command, args []string) error {
			if a.Table = args[0]; a.From == "" || a.Cluster == "" {
				return errors.New("--from or --cluster is missing: the files are in NAME/ROOT/CLUSTER/TABLE, see `pegasus bulkload build --help`")
			}
			if wait := a.Wait; !c.Flags().Changed("timeout") {
				f.timeout = wait + 20*time.Second // the meta looks at the files before it answers
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return cli.BulkLoads{Env: e}.Start(ctx, a) })
		}}
	f.add(start)
	start.Flags().StringVar(&a.From, "from", "", "NAME/ROOT: a store of the servers' configurations ([blob.NAME]), and the directory in it")
	start.Flags().StringVar(&a.Cluster, "cluster", "", "the cluster's name, as it is in the place of the files")
	start.Flags().BoolVar(&a.Behind, "ingest-behind", false, "keep rows that are there; the table needs the setting rocksdb.allow_ingest_behind=true")
	numberVar(start.Flags(), &a.Rate, "rate", "", 0, base.Range{Min: 0, Max: 1 << 40}, "bytes per second at which each server reads the files of this load; 0: as the servers are configured")
	durationVar(start.Flags(), &a.Wait, "wait", time.Hour, 0, "how long to wait for the end; 0 doesn't wait")

	of := func(use, short string, do func(context.Context, *cli.Env, string) error) *cobra.Command {
		f := &clientFlags{}
		c := &cobra.Command{Use: use + " TABLE", Short: short, Args: wantArgs(1, 1), RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return do(ctx, e, args[0]) })
		}}
		f.add(c)
		return c
	}
	control := func(do bulkload.BulkLoadControlType) func(context.Context, *cli.Env, string) error {
		return func(ctx context.Context, e *cli.Env, table string) error {
			return cli.BulkLoads{Env: e}.Control(ctx, table, do)
		}
	}
	status := of("status", "Show how far a load is, or what came of the last one", func(ctx context.Context, e *cli.Env, table string) error {
		return cli.BulkLoads{Env: e}.Status(ctx, table, 0)
	})
	force := false
	cancel := of("cancel", "End a load; the table is as it was, unless partitions took their rows", func(ctx context.Context, e *cli.Env, table string) error {
		if force {
			return cli.BulkLoads{Env: e}.Control(ctx, table, bulkload.BLC_FORCE_CANCEL)
		}
		return cli.BulkLoads{Env: e}.Control(ctx, table, bulkload.BLC_CANCEL)
	})
	cancel.Flags().BoolVar(&force, "force", false, "also while partitions take their rows: those that did keep them, the status tells which")
	return []*cobra.Command{start, status, of("pause", "Stop reading for now", control(bulkload.BLC_PAUSE)), of("resume", "Go on after a pause", control(bulkload.BLC_RESTART)), cancel,
		of("clear", "Forget what came of the last load", (func(ctx context.Context, e *cli.Env, table string) error {
			return cli.BulkLoads{Env: e}.Clear(ctx, table)
		}))}
}
