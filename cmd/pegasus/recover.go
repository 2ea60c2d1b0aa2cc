package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"pegasus/cli"
	"pegasus/client"
)

func recoverCmd() *cobra.Command {
	f := &clientFlags{}
	var nodes []string
	var o client.RecoverOptions
	var loss, with string
	var dry bool
	c := &cobra.Command{Use: "recover", Short: "Rebuild the meta servers' lost state from the replica servers", Args: wantArgs(0, 0),
		Long: "Rebuild the meta servers' lost state from the replica servers.\n\n" +
			"Start the meta servers with empty data directories, and all replica servers. Run this before any table is created.\n" +
			"For each partition, the replica with the newest ballot and the most prepared writes becomes the primary; the others\ncatch up.\n" +
			"Dropped tables whose data still exists come back, too. Replica servers don't know the function level and\n" +
			"atomic_idempotent: set them again.\n\n" +
			"With --accept-loss the command repairs partitions without a usable member instead: they continue with the replica that\n" +
			"has the most data, or with the one on the server --with. Data that this replica lacks is lost. `pegasus table show TABLE\n" +
			"--why` shows which partitions are down, and their replicas.",
		RunE: func(c *cobra.Command, _ []string) error {
			if loss == "" && (with != "" || dry) {
				return errors.New("--with and --dry-run need --accept-loss TABLE[.PARTITION]")
			}
			if loss != "" {
				return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.AcceptLoss(ctx, loss, with, dry) })
			}
			return f.with(c, func(ctx context.Context, e *cli.Env) error { return e.Recover(ctx, nodes, o) })
		}}
	f.add(c)
	c.Flags().StringSliceVar(&nodes, "nodes", nil, "addresses of the replica servers to ask (default: all live ones)")
	c.Flags().BoolVar(&o.SkipBadNodes, "skip-bad-nodes", false, "continue without servers that don't answer: data that only they have is lost")
	c.Flags().BoolVar(&o.SkipLostPartitions, "skip-lost-partitions", false, "create partitions that no server has as empty ones, and skip tables whose name no server knows")
	c.Flags().StringVar(&loss, "accept-loss", "", "the table, or the partition TABLE.PARTITION, to repair although acknowledged rows may be lost")
	c.Flags().StringVar(&with, "with", "", "address of the replica server whose replica is used (default: the one with the most data)")
	c.Flags().BoolVar(&dry, "dry-run", false, "only show what --accept-loss would do")
	return c
}
