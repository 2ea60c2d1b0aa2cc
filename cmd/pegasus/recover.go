package main

import (
	"context"

	"github.com/spf13/cobra"

	"pegasus/cli"
	"pegasus/client"
)

func recoverCmd() *cobra.Command {
	f := &clientFlags{}
	var nodes []string
	var o client.RecoverOptions
	c := &cobra.Command{Use: "recover", Short: "Rebuild the tables of meta servers that lost their state from the replica servers", Args: wantArgs(0, 0),
		Long: "Rebuild the tables of meta servers that lost their state from what the replica servers have.\n\n" +
			"Start the meta servers with empty data directories, and all replica servers; then run this before any table is created.\n" +
			"Of each partition the replica with the newest ballot that has prepared most becomes the primary; the others catch up.\n" +
			"Tables that were dropped and whose data is still there come back, too. Not known to replica servers, and to be set again:\n" +
			"atomic_idempotent, and the function level.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Recover(ctx, nodes, o) })
		}}
	f.add(c)
	c.Flags().StringSliceVar(&nodes, "nodes", nil, "addresses of the replica servers to ask; without it all that live")
	c.Flags().BoolVar(&o.SkipBadNodes, "skip-bad-nodes", false, "go on without servers that can't be asked: what only they have is lost")
	c.Flags().BoolVar(&o.SkipLostPartitions, "skip-lost-partitions", false, "make partitions that no server has empty, leave tables out that no server knows the name of")
	return c
}
